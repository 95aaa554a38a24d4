"""Values of a run as a table shows them."""

from collections.abc import Mapping
from typing import Any

from rich.text import Text

from tunesmith.errors import printable

SPLITS = ("val", "test")  # as scores are named


def scores(metrics: Mapping[str, Any], of: str = "scores") -> dict[str, tuple[Any, Any]]:
    """Return a score's name without its split -> (validation, test), None where there is none.

    `of` is the key of metrics.json: the run's own "scores", or those of its "baseline". What is
    no number on either split is left out.
    """
    found: dict[str, list[Any]] = {}
    named = metrics.get(of)
    for full_name, value in (named if isinstance(named, Mapping) else {}).items():
        split, _, name = str(full_name).partition("/")
        if split in SPLITS and (value is None or isinstance(value, (int, float))):
            found.setdefault(name, [None, None])[SPLITS.index(split)] = value
    return {name: (pair[0], pair[1]) for name, pair in found.items() if pair != [None, None]}


def number(value: Any) -> str:
    return f"{value:z.4f}" if isinstance(value, float) else str("-" if value is None else value)


def cell(value: Any) -> Text:
    """Text from a file is no markup, drives no terminal, and does not fill a screen."""
    text = printable(str(value))
    return Text(text if len(text) <= 300 else f"{text[:299]}…", overflow="fold")
