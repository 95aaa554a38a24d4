"""A value as Hydra's grammar writes it, so that Hydra reads the same value back."""

import re
from typing import Any

PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")  # needs no quotes
RESERVED = ("true", "false", "null", "inf", "nan")  # words that are not texts, in any case
BACKSLASHES_BEFORE_QUOTE = re.compile(r"(\\*)('|$)")


def quoted(value: Any) -> str:
    """Write None, a boolean, a number, a text, or a list of them, as the value of an override."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{','.join(map(quoted, value))}]"
    if not isinstance(value, str):
        raise TypeError(f"an override takes no {type(value).__name__}")
    if PLAIN.fullmatch(value) and value.lower() not in RESERVED:
        return value
    return f"'{BACKSLASHES_BEFORE_QUOTE.sub(_escaped, value)}'"


def _escaped(match: re.Match[str]) -> str:
    """Double the backslashes before a quote or the end, where they would escape it."""
    backslashes, quote = match.groups()
    return backslashes * 2 + (f"\\{quote}" if quote else "")
