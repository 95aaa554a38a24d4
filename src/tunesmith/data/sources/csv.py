"""Rows of csv and tsv: cells between separators, in quotes or as they stand."""

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tunesmith.data.columns import LONGEST_ROW, Raw
from tunesmith.errors import ConfigError, DataError

QUOTING = ("csv", "none")  # what a quote at a cell's start does: it quotes the cell, or nothing
NOT_QUOTED = "set data.quoting=none if quotes are text"


def separator(path: Path, sep: str | None) -> str:
    """Return the character between the cells: the one that is set, else by the extension."""
    return checked_sep(sep) or ("," if path.suffix.lower() == ".csv" else "\t")


def checked_sep(sep: str | None) -> str | None:
    """Return data.sep, checked."""
    sep = "\t" if sep == r"\t" else sep  # as typed in a shell
    if sep is not None and len(sep) != 1:
        raise ConfigError("CONF-VALUE", "data.sep", f"{sep!r} is not one character")
    return sep


def csv_rows(path: Path, lines: Iterable[str], sep: str, quoting: str) -> Iterator[Raw]:
    rows = records(path, lines, sep, quoting)
    names = header(path, rows)
    for number, cells in rows:
        if len(cells) != len(names):
            many = "1 field" if len(cells) == 1 else f"{len(cells)} fields"
            what = f"{many}, expected {len(names)}"
            raise DataError("DATA-CSV", f"{path}:{number}", what)
        yield number, dict(zip(names, cells, strict=True))


def header(path: Path, rows: Iterator[tuple[int, list[str]]]) -> list[str]:
    """Take the first record; its names must differ."""
    _, names = next(rows, (0, None))
    if not names:
        raise DataError("DATA-EMPTY", str(path), "file is empty")
    for name in names:
        if names.count(name) > 1:
            many = "twice" if names.count(name) == 2 else f"{names.count(name)} times"
            raise DataError("DATA-COL", str(path), f"column {name!r} occurs {many}")
    return names


class Feed:
    """Lines for the csv parser, which may not pull more than one longest row for a record."""

    def __init__(self, path: Path, lines: Iterable[str]) -> None:
        self.path, self.lines = path, iter(lines)
        self.first = self.number = 0  # lines, from 1
        self.size = 0  # characters of this record

    def begin(self) -> None:
        self.first, self.size = self.number + 1, 0

    def __iter__(self) -> "Feed":
        return self

    def __next__(self) -> str:
        line = next(self.lines)
        self.number += 1
        self.size += len(line)
        if self.size > LONGEST_ROW:
            raise never_closed(self.path, self.first)
        return line


def records(
    path: Path, lines: Iterable[str], sep: str, quoting: str
) -> Iterator[tuple[int, list[str]]]:
    """Yield (number of its first line, cells) of each record; blank lines are skipped."""
    csv.field_size_limit(LONGEST_ROW + 1)
    feed = Feed(path, lines)
    how: dict[str, Any] = {} if quoting == "csv" else {"quoting": csv.QUOTE_NONE}
    reader = csv.reader(feed, delimiter=sep, strict=True, **how)
    while True:
        feed.begin()
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise broken_record(path, feed, str(error)) from None
        if cells is None:
            return
        if sep == "\t" and feed.number > feed.first:
            refuse_swallowed(path, feed, cells)
        if cells:
            yield feed.first, cells


def refuse_swallowed(path: Path, feed: Feed, cells: list[str]) -> None:
    """Refuse a quoted cell of several lines with tabs in them: whole rows, one may be sure."""
    if any("\t" in cell and ("\n" in cell or "\r" in cell) for cell in cells):
        what = f"quoted cell swallows rows up to line {feed.number}"
        raise DataError("DATA-CSV", f"{path}:{feed.first}", what, NOT_QUOTED)


def broken_record(path: Path, feed: Feed, error: str) -> DataError:
    # A quote that stays open swallows lines until the next quote, which then stands wrong.
    if feed.number > feed.first or "unexpected end" in error:
        return never_closed(path, feed.first)
    what = "text after a closing quote"
    fix = f'write a quote in a cell as "", or {NOT_QUOTED}'
    return DataError("DATA-CSV", f"{path}:{feed.first}", what, fix)


def never_closed(path: Path, number: int) -> DataError:
    what = "quote opened here never closes"
    return DataError("DATA-CSV", f"{path}:{number}", what, NOT_QUOTED)
