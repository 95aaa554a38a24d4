"""Rows of csv and tsv: cells between separators, in quotes or as they stand."""

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tunesmith.data.columns import LONGEST_ROW, Raw
from tunesmith.errors import ConfigError, DataError

NOT_QUOTED = "set data.quoting=none if quotes are text"
DIRECTIVE = re.compile(r"sep=(.)", re.IGNORECASE)  # Excel's first line
DATA = re.compile(r"[-+]?[\d.,]+%?")  # no name of a column
SEPARATORS = "\t;|,"


def checked_sep(sep: str | None) -> str | None:
    """Return data.sep, checked."""
    sep = "\t" if sep == r"\t" else sep  # as typed in a shell
    if sep is not None and len(sep) != 1:
        raise ConfigError("CONF-VALUE", "data.sep", f"{sep!r} is not one character")
    return sep


def separator_in(lines: Sequence[str]) -> str:
    """Return the character that each line has equally often, or ""."""
    for sep in SEPARATORS:
        counts = {line.count(sep) for line in lines}
        if len(counts) == 1 and counts != {0}:
            return sep
    # Cells may hold the character, or lack their ends: a tab is in no text, and a header tells.
    tabs = [line.count("\t") for line in lines]
    if tabs and min(tabs) > 0:
        return "\t"
    head = lines[0] if lines else ""
    return next((s for s in ";|," if s in head and all(s in line for line in lines)), "")


def csv_rows(
    path: Path, lines: Iterable[str], sep: str, has_quotes: bool, names: Sequence[str] | None
) -> Iterator[Raw]:
    """Yield (number of its first line, row) of each record; `names` where no row says them.

    Columns without a name are not read, and neither are the cells beyond those that `names` has.
    """
    rows = records(path, lines, sep, has_quotes)
    head = header(path, rows) if names is None else list(names)
    named = [number for number, name in enumerate(head) if name.strip()]
    width, all_named = len(head), len(named) == len(head)
    for number, cells in rows:
        if not any(cells):
            continue  # as Excel leaves rows that were emptied
        if len(cells) == width and all_named:
            yield number, dict(zip(head, cells, strict=True))
            continue
        extra = cells[len(head) :]
        if len(cells) < len(head) or (names is None and any(extra)):
            many = "1 field" if len(cells) == 1 else f"{len(cells)} fields"
            what = f"{many}, expected {len(head)}"
            raise DataError("DATA-CSV", f"{path}:{number}", what)
        yield number, {head[n]: cells[n] for n in named}


def header(path: Path, rows: Iterator[tuple[int, list[str]]]) -> list[str]:
    """Take the first record; its names must differ, and one may be empty as often as it likes."""
    _, names = next(rows, (0, None))
    if not names:
        raise DataError("DATA-EMPTY", str(path), "file is empty")
    for name in names:
        if name.strip() and names.count(name) > 1:
            many = "twice" if names.count(name) == 2 else f"{names.count(name)} times"
            fix = "" if not DATA.fullmatch(name) else "data.header=none if it is no header"
            raise DataError("DATA-COL", str(path), f"column {name!r} occurs {many}", fix)
    return names


def looks_like_data(rows: Sequence[Sequence[str]]) -> bool:
    """Tell whether the first row is none of names: it has numbers, long texts, or later values."""
    first, later = rows[0], rows[1:]
    for number, cell in enumerate(first):
        column = [row[number] for row in later if number < len(row)]
        if cell and (DATA.fullmatch(cell) or len(cell.split()) > 5):
            return True
        if cell and column.count(cell) >= max(2, len(column) / 10):
            return True
    return False


def suggested_names(rows: Sequence[Sequence[str]], text: str, label: str, pair: str) -> list[str]:
    """Name the columns of rows without a header: the longest is the text, the second its pair.

    The label is the column, of the others, whose values repeat most; else one of numbers.
    """
    width = min(map(len, rows))
    columns = [[row[number] for row in rows] for number in range(width)]
    words = [sum(len(cell.split()) for cell in column) / len(column) for column in columns]
    order = sorted(range(width), key=lambda number: -words[number])
    names = {order[0]: text}
    if width > 2 and words[order[1]] > max(3, words[order[0]] / 2):
        names[order[1]] = pair
        first, second = sorted(names)
        names = {first: text, second: pair}
    rest = [number for number in range(width) if number not in names and _varies(columns[number])]
    if rest:
        names[min(rest, key=lambda number: len(set(columns[number])))] = label
    return [names.get(number, f"column_{number + 1}") for number in range(width)]


def _varies(column: Sequence[str]) -> bool:
    """Tell whether values are neither all alike nor, texts, all different."""
    different = len(set(column))
    numbers = all(not cell or DATA.fullmatch(cell) for cell in column)
    return different > 1 and (different < len(column) or (numbers and len(column) > 1))


def names_in(cells: Iterable[str]) -> list[str]:
    """Return the columns of a header; those without a name are not read."""
    return [name for name in cells if name.strip()]


def header_options(names: Sequence[str]) -> str:
    """Return the options that read a file without a header, as one types them in a shell."""
    return f'data.header=none "data.column_names=[{",".join(names)}]"'


def records(
    path: Path, lines: Iterable[str], sep: str, has_quotes: bool
) -> Iterator[tuple[int, list[str]]]:
    """Yield (number of its first line, cells) of each record; blank lines are skipped."""
    csv.field_size_limit(LONGEST_ROW + 1)
    how: dict[str, Any] = {} if has_quotes else {"quoting": csv.QUOTE_NONE}
    last = size = 0  # line of the record before; characters of this one

    def fed() -> Iterator[str]:
        """Give the parser lines, for one record no more than a row may have."""
        nonlocal size
        for line in lines:
            size += len(line)
            if size > LONGEST_ROW:
                raise never_closed(path, last + 1)
            yield line

    reader = csv.reader(fed(), delimiter=sep, strict=True, **how)
    try:
        for cells in reader:
            first, last, size = last + 1, reader.line_num, 0
            if sep == "\t" and last > first:
                refuse_swallowed(path, first, last, cells)
            if cells and not (first == 1 and DIRECTIVE.fullmatch(sep.join(cells).strip())):
                yield first, cells
    except csv.Error as error:
        raise broken_record(path, last + 1, reader.line_num, str(error)) from None


def refuse_swallowed(path: Path, first: int, last: int, cells: list[str]) -> None:
    """Refuse a quoted cell of several lines with tabs in them: whole rows, one may be sure."""
    if any("\t" in cell and ("\n" in cell or "\r" in cell) for cell in cells):
        what = f"quoted cell swallows rows up to line {last}"
        raise DataError("DATA-CSV", f"{path}:{first}", what, NOT_QUOTED)


def broken_record(path: Path, first: int, last: int, error: str) -> DataError:
    # A quote that stays open swallows lines until the next quote, which then stands wrong.
    if last > first or "unexpected end" in error:
        return never_closed(path, first)
    what = "text after a closing quote"
    fix = f'write a quote in a cell as "", or {NOT_QUOTED}'
    return DataError("DATA-CSV", f"{path}:{first}", what, fix)


def never_closed(path: Path, number: int) -> DataError:
    what = "quote opened here never closes"
    return DataError("DATA-CSV", f"{path}:{number}", what, NOT_QUOTED)
