"""What one file is: its format, separator, quotes and header; each guess is said in one line."""

import json
import re
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import Any

from tunesmith.data.options import DataOptions
from tunesmith.data.sources import conll, csv
from tunesmith.data.sources.text_lines import head_of, lines_of
from tunesmith.errors import DataError

SUFFIXES = {
    ".csv": "csv",
    ".tsv": "csv",
    ".tab": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".conll": "conll",
    ".bio": "conll",
    ".iob": "conll",
    ".conllu": "conllu",
    ".txt": "text",
}
SPREADSHEETS = (".xls", ".xlsx", ".xlsm", ".ods")
IN_LINES = ("csv", "jsonl", "conll", "conllu", "labeled_lines", "text")  # rows are numbered by them
SAMPLE = 200  # rows that a guess looks at
DATA_CELL = re.compile(r"[-+]?[\d.,]+%?|")  # a number or nothing: no header has such names
TAG = re.compile(r"O|[BIESLU]-\S+")


@dataclass(frozen=True)
class FileFormat:
    """How files are read, as the options say; what they leave open is guessed per file."""

    format: str | None = None
    sep: str | None = None
    quoting: str = "auto"
    header: str = "auto"
    column_names: tuple[str, ...] | None = None
    encoding: str = "utf-8"
    encoding_errors: str = "strict"

    @classmethod
    def of(cls, options: DataOptions) -> "FileFormat":
        values = {name: getattr(options, name) for name in cls.__dataclass_fields__}
        names = values["column_names"]
        return cls(**values | {"column_names": tuple(names) if names is not None else None})


@dataclass(frozen=True)
class FileLayout:
    """How one file is read."""

    kind: str
    encoding: str
    encoding_errors: str
    sep: str | None = None
    has_quotes: bool = True  # of csv: a quote at a cell's start quotes it
    names: tuple[str, ...] | None = None  # of csv: the columns, where no row says them
    guesses: tuple[str, ...] = ()
    first_rows: tuple[tuple[str, ...], ...] = ()  # where the header looks like one of them

    @property
    def in_lines(self) -> bool:
        return self.kind in IN_LINES

    def lines(self, path: Path) -> Any:
        return lines_of(path, self.encoding, self.encoding_errors)


def layout_of(path: Path, form: FileFormat) -> FileLayout:
    """Tell how a file is read. Raises DataError where its content fits no format."""
    stat = path.stat()
    return _layout(path.absolute(), path, form, (stat.st_size, stat.st_mtime_ns))


@lru_cache(maxsize=64)
def _layout(_: Path, path: Path, form: FileFormat, state: tuple[int, int]) -> FileLayout:
    kind, guesses = _kind(path, form)
    layout = FileLayout(kind, form.encoding, form.encoding_errors, csv.checked_sep(form.sep))
    layout = replace(layout, guesses=tuple(guesses))
    return _csv_layout(path, layout, form) if kind == "csv" else layout


# The format


def _kind(path: Path, form: FileFormat) -> tuple[str, list[str]]:
    """Return the format: that which is set, else by the extension, else by the content."""
    known = SUFFIXES.get(path.suffix.lower())
    if form.format is not None:
        return ("jsonl" if form.format == "json" else form.format), []
    if known == "parquet":
        return known, []
    if known == "text" and form.sep is not None:
        return "csv", []
    if known == "jsonl":
        return _kind_of_json(path, form), []
    if known is not None:
        return known, []
    if path.suffix.lower() in SPREADSHEETS:
        what = "a spreadsheet"
        raise DataError("DATA-FORMAT", str(path), what, "save the sheet as csv or tsv")
    kind = _kind_by_content(path, form)
    name = {"csv": "csv", "jsonl": "json lines", "labeled_lines": "a label and a text per line"}
    guess = f"no extension that is known: read as {name.get(kind, kind)}"
    return kind, [f"{guess}; data.format says otherwise"]


def _kind_of_json(path: Path, form: FileFormat) -> str:
    """Tell json lines from one list or object, which may be SQuAD's."""
    head = head_of(path, form.encoding, form.encoding_errors)
    lines = [line for line in head if line.strip()]
    if not lines or lines[0].lstrip().startswith("["):
        return "json" if lines else "jsonl"
    try:
        first = json.loads(lines[0])
    except json.JSONDecodeError:
        # Of a document whose lines are no objects, the next one is indented or closes it.
        goes_on = len(lines) > 1 and lines[1][:1] in (" ", "\t", "}", '"')
        return "json" if lines[0].lstrip().startswith("{") and goes_on else "jsonl"
    except (ValueError, RecursionError):  # told of its line when rows are read
        return "jsonl"
    holds_rows = isinstance(first, dict) and isinstance(first.get("data"), list)
    return "json" if len(lines) == 1 and holds_rows else "jsonl"


def _kind_by_content(path: Path, form: FileFormat) -> str:
    with path.open("rb") as handle:
        if handle.read(4) == b"PAR1":
            return "parquet"
    head = head_of(path, form.encoding, form.encoding_errors)
    if any("\0" in line for line in head):
        known = ", ".join(SUFFIXES)
        what = f"unknown extension {path.suffix!r}, and no text"
        raise DataError("DATA-FORMAT", str(path), what, f"data.format, or one of {known}")
    lines = [line for line in head if line.strip()]
    if lines and lines[0].lstrip()[:1] in ("{", "["):
        return _kind_of_json(path, form)
    if conll.looks_like_conllu(head):
        return "conllu"
    if _looks_like_conll(head):
        return "conll"
    if form.sep is not None or csv.separator_in(lines):
        return "csv"
    firsts = [line.split(maxsplit=1) for line in lines]
    labels = {parts[0] for parts in firsts if len(parts) == 2}
    if all(len(parts) == 2 for parts in firsts) and 1 < len(labels) <= len(firsts) / 3:
        return "labeled_lines"
    if firsts and all(parts[0].startswith("__label__") for parts in firsts):
        return "labeled_lines"
    return "text"


def _looks_like_conll(head: Sequence[str]) -> bool:
    """Tell whether lines are words with their tags last, and blank lines part sentences."""
    rows = [conll.fields_of(line, None) for line in head if not line.startswith(("#", "-DOC"))]
    words = [row for row in rows if row]
    widths = {len(row) for row in words}
    are_tags = all(TAG.fullmatch(row[-1]) for row in words)
    return len(widths) == 1 and widths != {1} and [] in rows and are_tags


# csv: separator, quotes, header


def _csv_layout(path: Path, layout: FileLayout, form: FileFormat) -> FileLayout:
    head = head_of(path, form.encoding, form.encoding_errors)
    sep, guess = _separator(path, layout.sep, head)
    layout = _with_guess(replace(layout, sep=sep), guess)
    layout = _with_quotes(path, layout, form.quoting)
    with closing(layout.lines(path)) as lines:
        records = csv.records(path, lines, sep, layout.has_quotes)
        rows = [tuple(cells) for _, cells in islice(records, SAMPLE)]
    if not rows:
        raise DataError("DATA-EMPTY", str(path), "file is empty")
    if form.header == "none" or (form.column_names is not None and form.header == "auto"):
        return _without_header(path, layout, form.column_names, min(map(len, rows)))
    if form.header == "auto" and looks_like_data(rows):
        layout = replace(layout, first_rows=tuple(rows))
    return layout


def _separator(path: Path, sep: str | None, head: Sequence[str]) -> tuple[str, str]:
    """Return the character between the cells, and what was guessed of it."""
    if sep is not None:
        return sep, ""
    said = csv.DIRECTIVE.fullmatch(head[0].strip("\ufeff")) if head else None
    if said is not None:
        return said.group(1), ""
    usual = "," if path.suffix.lower() == ".csv" else "\t"
    found = csv.separator_in([line for line in head if line.strip()])
    if not found or found == usual or (head and usual in head[0]):
        return usual, ""
    return found, f"cells are parted by {found!r}; data.sep says otherwise"


def _with_quotes(path: Path, layout: FileLayout, quoting: str) -> FileLayout:
    """Decide whether quotes are text: where the file breaks the rules of csv by them."""
    assert layout.sep is not None
    if quoting != "auto":
        return replace(layout, has_quotes=quoting == "csv")
    if not _has_quotes(path):
        return layout
    try:
        with closing(layout.lines(path)) as lines:
            for _ in csv.records(path, lines, layout.sep, True):
                pass
    except DataError as error:
        if error.code != "DATA-CSV" or not _fits_without_quotes(path, layout):
            raise
        where = error.where.removeprefix(f"{path}:")
        guess = f"quotes are text (line {where}: {error.what}); data.quoting=csv refuses"
        return _with_guess(replace(layout, has_quotes=False), guess)
    return layout


def _fits_without_quotes(path: Path, layout: FileLayout) -> bool:
    """Tell whether every line has as many cells as the first, quotes being text."""
    assert layout.sep is not None
    if layout.sep == "\t":
        return True
    with closing(layout.lines(path)) as lines:
        widths = {len(cells) for _, cells in csv.records(path, lines, layout.sep, False)}
    return len(widths) == 1 and widths != {1}


def _has_quotes(path: Path) -> bool:
    with path.open("rb") as handle:
        return any(b'"' in block for block in iter(partial(handle.read, 1 << 20), b""))


def _without_header(
    path: Path, layout: FileLayout, names: tuple[str, ...] | None, width: int
) -> FileLayout:
    if names is None:
        names = tuple(f"column_{number}" for number in range(1, width + 1))
        guess = f"no header: columns are {', '.join(names)}; data.column_names names them"
        return _with_guess(replace(layout, names=names), guess)
    if len(set(names)) < len(names):
        raise DataError("DATA-COL", "data.column_names", "a name occurs twice")
    if width < len(names):
        what = f"{width} columns, and data.column_names has {len(names)}"
        raise DataError("DATA-COL", str(path), what)
    return replace(layout, names=names)


def _with_guess(layout: FileLayout, guess: str) -> FileLayout:
    return replace(layout, guesses=(*layout.guesses, guess)) if guess else layout


def looks_like_data(rows: Sequence[Sequence[str]]) -> bool:
    """Tell whether the first row is none of names: it has numbers, long texts, or later values."""
    first, later = rows[0], rows[1:]
    for number, cell in enumerate(first):
        column = [row[number] for row in later if number < len(row)]
        if cell and (DATA_CELL.fullmatch(cell) or len(cell.split()) > 5):
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
    numbers = all(DATA_CELL.fullmatch(cell) for cell in column)
    return different > 1 and (different < len(column) or (numbers and len(column) > 1))


def names_in(cells: Iterable[str]) -> list[str]:
    """Return the columns of a header; those without a name are not read."""
    return [name for name in cells if name.strip()]
