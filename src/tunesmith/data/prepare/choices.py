"""Which of a row's choices is the right one: by number, letter, text, or name."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tunesmith.data.columns import Column, ColumnType, Raw, SourceName
from tunesmith.data.prepare.parse_cells import INTEGRAL, cell_of, converter, is_nothing
from tunesmith.errors import DataError

BOTH = {ColumnType.CHOICE, ColumnType.CHOICES}
WITHHELD = (-1, -100)  # as hub data sets and torch mark a hidden answer


def resolve_choice(
    row: dict[str, Any],
    raw: Mapping[str, Any],
    columns: Mapping[str, Column],
    chosen: Mapping[str, SourceName],
    location: str,
    label_from: int,
) -> None:
    """Put the number of the right choice for what a row calls it, in place."""
    kinds = {column.kind: name for name, column in columns.items()}
    if not kinds.keys() >= BOTH:
        return
    ours, choices = kinds[ColumnType.CHOICE], kinds[ColumnType.CHOICES]
    names = _names_of_choices(raw, chosen[choices])
    try:
        row[ours] = right_one(row[ours], row[choices], names, label_from)
    except ValueError as error:
        raise DataError("DATA-CELL", location, f"{chosen[ours]} {error}") from None


def is_counted_from_one(
    rows: Iterable[Raw],
    columns: Mapping[str, Column],
    chosen: Mapping[str, SourceName],
    separator: str | None,
) -> bool:
    """Tell whether right choices are numbered 1 to n: 0 is none of them, and n is one."""
    kinds = {columns[ours].kind: ours for ours in chosen if ours in columns}
    if not kinds.keys() >= BOTH:
        return False
    label, choices = chosen[kinds[ColumnType.CHOICE]], chosen[kinds[ColumnType.CHOICES]]
    read = converter(columns[kinds[ColumnType.CHOICES]], None, separator)
    has_last = False
    for _, raw in rows:
        cell, offered = cell_of(raw, label), cell_of(raw, choices)
        text = "" if is_nothing(cell) else str(cell).strip()
        if not text:
            continue
        if not INTEGRAL.fullmatch(text) or _names_of_choices(raw, choices) is not None:
            return False
        index = int(float(text))
        if index == 0:
            return False
        try:
            has_last = has_last or index == len(read(offered))
        except ValueError:  # told of its row when it is read
            return False
    return has_last


def _names_of_choices(raw: Mapping[str, Any], named: SourceName) -> Sequence[Any] | None:
    """Return what the choices are called, where their texts stand beside names."""
    column = named.removesuffix(".text") if isinstance(named, str) and named not in raw else named
    cell = cell_of(raw, column)
    return cell.get("label") if isinstance(cell, Mapping) else None


def right_one(
    cell: Any, choices: Sequence[str], names: Sequence[Any] | None, label_from: int = 0
) -> int | None:
    """Return which choice a cell means, from 0; None where it tells none (nothing, or -1).

    A number is an index, from `label_from`. A text is one of the `names` that the choices carry;
    without them an index, a letter, or the text of a choice. Raises ValueError where it means
    none, or two.
    """
    text = "" if is_nothing(cell) else str(cell).strip()
    index = int(float(text)) if INTEGRAL.fullmatch(text) and not isinstance(cell, bool) else None
    if not text or index in WITHHELD:
        return None
    if index is not None:
        index -= label_from
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
    what = f"{text[:40]!r} is none of {len(choices)} choices: index from {label_from}, letter, text"
    hint = "; data.label_from=1 counts from 1" if index == len(choices) and not label_from else ""
    raise ValueError(what + hint)


def _letter(text: str) -> int | None:
    return ord(text.upper()) - ord("A") if len(text) == 1 and text.isascii() else None
