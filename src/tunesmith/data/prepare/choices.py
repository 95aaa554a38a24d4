"""Which of several texts of a row is the right one."""

import re
from collections.abc import Sequence
from typing import Any

INDEX = re.compile(r"[+-]?\d+(\.0*)?")
WITHHELD = (-1, -100)  # as hub data sets and torch mark an answer that is not told


def right_one(cell: Any, choices: Sequence[str], names: Sequence[Any] | None) -> int | None:
    """Return which choice a cell means, from 0; None where it tells none (nothing, or -1).

    A number is an index. A text is one of the `names` that the choices carry; without them an
    index, a letter, or the text of a choice. Raises ValueError where it means none, or two.
    """
    text = "" if cell is None else str(cell).strip()
    index = int(float(text)) if INDEX.fullmatch(text) and not isinstance(cell, bool) else None
    if not text or index in WITHHELD:
        return None
    places = range(len(choices))
    if names is not None:
        meant = {i for i, name in enumerate(names) if str(name) == text}
    elif isinstance(cell, str):
        meant = {i for i, choice in enumerate(choices) if choice.strip() == text}
        meant |= {i for i in places if i in (index, _letter(text))}
    else:
        meant = {i for i in places if i == index}
    if len(meant) == 1:
        return meant.pop()
    if meant:
        both = " and ".join(map(str, sorted(meant)[:2]))
        raise ValueError(f"{text!r} may be choice {both} (from 0), by number, letter or text")
    raise ValueError(f"{text[:40]!r} is none of {len(choices)} choices: index from 0, letter, text")


def _letter(text: str) -> int | None:
    return ord(text.upper()) - ord("A") if len(text) == 1 and text.isascii() else None
