"""What one file is: its format, separator, quotes and header; each guess is said in one line."""

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, fields, replace
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import Any

from tunesmith.data.options import DataOptions
from tunesmith.data.sources import conll, csv
from tunesmith.data.sources.text_lines import head_of, lines_of
from tunesmith.errors import ConfigError, DataError

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
MARK = "__label__"  # as fastText marks labels


@dataclass(frozen=True)
class FileFormat:
    """How files are read, as the options say; what they leave open is guessed per file."""

    format: str | None = None
    sep: str | None = None
    quoting: str = "auto"
    header: str = "auto"
    column_names: Sequence[str] | None = None
    encoding: str = "utf-8"
    encoding_errors: str = "strict"

    @classmethod
    def of(cls, options: DataOptions) -> "FileFormat":
        return cls(**{field.name: getattr(options, field.name) for field in fields(cls)})

    def __post_init__(self) -> None:
        if self.column_names is not None:  # options have a list; layouts are kept by their form
            object.__setattr__(self, "column_names", tuple(self.column_names))


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
    sep, guessed = csv.checked_sep(form.sep), tuple(guesses)
    layout = FileLayout(kind, form.encoding, form.encoding_errors, sep, guesses=guessed)
    return _csv_layout(path, layout, form) if kind == "csv" else layout


# The format


def _kind(path: Path, form: FileFormat) -> tuple[str, list[str]]:
    """Return the format: that which is set, else by the extension, else by the content."""
    known = SUFFIXES.get(path.suffix.lower())
    if form.format is not None:
        return form.format, []
    if known == "parquet":
        return known, []
    if known == "text" and (form.sep is not None or form.column_names is not None):
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
    if conll.looks_like_conll(head):
        return "conll"
    if form.sep is not None or csv.separator_in(lines):
        return "csv"
    firsts = [line.split(maxsplit=1) for line in lines]
    labels = {parts[0] for parts in firsts if len(parts) == 2}
    if all(len(parts) == 2 for parts in firsts) and 1 < len(labels) <= len(firsts) / 3:
        return "labeled_lines"
    if firsts and all(parts[0].startswith(MARK) for parts in firsts):
        return "labeled_lines"
    return "text"


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
    if form.header == "first" and form.column_names is not None:
        what = "names the columns of files without a header"
        raise ConfigError("CONF-BOTH", "data.column_names", what, "data.header=none, or no names")
    if form.header == "none" or form.column_names is not None:
        return _without_header(path, layout, form.column_names, min(map(len, rows)))
    if form.header == "auto" and csv.looks_like_data(rows):
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
    path: Path, layout: FileLayout, names: Sequence[str] | None, width: int
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
    return replace(layout, names=tuple(names))


def _with_guess(layout: FileLayout, guess: str) -> FileLayout:
    return replace(layout, guesses=(*layout.guesses, guess)) if guess else layout
