"""Rows under our names: which columns a source has, and what later checks need of each row."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tunesmith.data.columns import MEDIA, TABULAR, TEXTUAL, Column, ColumnType, SourceName, names_of
from tunesmith.data.prepare.choices import resolve_choice
from tunesmith.data.prepare.media import digest_of
from tunesmith.data.prepare.parse_cells import cell_of, converter, is_nothing, nested_names
from tunesmith.data.row_hashes import digests
from tunesmith.data.sources.csv import header_options, suggested_names
from tunesmith.data.sources.files import Raw
from tunesmith.errors import DataError, did_you_mean, raise_all

# Nothing to read: white space, control characters, zero-width marks.
EMPTY = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u200b-\u200f\u2060\ufeff]*")
HAS_EMPTY, HAS_NUL, IS_MISPLACED = 1, 2, 4  # bits of `_flags`
MANY, FEW, CHARACTERS = 1000, 16, 8_000_000  # rows that are read at once; few where cells are files
Columns = dict[str, Any]  # {column: one value a row}


@dataclass(frozen=True)
class RowSource:
    """The rows of one split where they come from."""

    name: str  # as messages name it
    identity: str  # changes whenever a row does
    columns: list[str]
    rows: Callable[[], Iterator[Raw]]
    in_lines: bool = True  # rows are numbered by lines of a file, else by themselves from 1
    is_text: bool = False  # every cell is a text, also a number and what is missing (csv)
    classes: Mapping[str, list[str]] = field(default_factory=dict)  # names behind integers
    folder: Path = Path()  # what the paths in its cells are relative to
    guesses: tuple[str, ...] = ()  # how it is read, where no option says so
    first_rows: Sequence[Sequence[str]] = ()  # of a file whose header looks like one of them
    all_columns: Callable[[], list[str]] | None = None  # reads all rows; None: `columns` are all

    def at(self, number: int) -> str:
        """Return where a row stands, as a message begins: `train.csv:3`."""
        return f"{self.name}:{number}" if self.in_lines else f"{self.name}: row {number}"

    def known_columns(self) -> list[str]:
        """Return the columns of all rows, where `columns` are those of the first one alone."""
        return self.columns if self.all_columns is None else self.all_columns()

    def has_column(self, name: str) -> bool:
        if name in self.columns:
            return True
        known = self.known_columns()
        return name in known or name in self.nested_columns([name], known)

    def nested_columns(self, names: Iterable[str], known: Sequence[str]) -> list[str]:
        """Return the dotted names below the columns that these begin with, by their first cells."""
        roots = {name.partition(".")[0] for name in names if name not in known}.intersection(known)
        found: dict[str, list[str]] = {}
        for _, raw in self.rows() if roots and not self.is_text else ():
            there = [root for root in roots - found.keys() if not is_nothing(raw.get(root))]
            found |= {root: nested_names(root, raw[root]) for root in there}
            if len(found) == len(roots):
                break
        return [name for root in sorted(found) for name in found[root]]

    def line_of(self, number: int) -> str:
        return f"line {number}" if self.in_lines else f"row {number}"


def present_columns(
    source: RowSource,
    columns: Mapping[str, Column],
    names: Mapping[str, SourceName | None],
    split: str,
) -> dict[str, SourceName]:
    """Return {our name: the source's name, or names} of the columns to read.

    A column named in the config must be there; only test may lack its labels, and all but train
    what is of use in learning alone. Raises DataError naming what is missing and what there is.
    """
    may_lack = {
        ours
        for ours, column in columns.items()
        if (column.target and split == "test") or (column.learning and split != "train")
    }
    chosen = {ours: theirs for ours, theirs in names.items() if theirs}
    known = source.columns
    absent = _absent(chosen, known)
    if absent:  # a later row of json lines may have them, or the cells of a column
        known = source.known_columns()
        asked = [name for theirs in chosen.values() for name in names_of(theirs)]
        known = [*known, *source.nested_columns(asked, known)]
        absent = _absent(chosen, known)
    wrong = [
        (ours, name)
        for ours, missing in absent.items()
        for name in missing
        if ours not in may_lack or did_you_mean(name, known)
    ]
    # Two columns missing in a file of one column have one reason: the separator.
    wrong = wrong[:1] if looks_split(source) or source.first_rows else wrong
    raise_all([no_column(source, name, ours, known, names) for ours, name in wrong])
    return {ours: theirs for ours, theirs in chosen.items() if ours not in absent}


def _absent(chosen: Mapping[str, SourceName], known: Sequence[str]) -> dict[str, list[str]]:
    """Return {our name: the source's names that it lacks}."""
    lacking = {
        ours: [name for name in names_of(theirs) if name not in known]
        for ours, theirs in chosen.items()
    }
    return {ours: missing for ours, missing in lacking.items() if missing}


def read_cells(
    raw: Mapping[str, Any], named: SourceName, column: Column | None, convert: Callable[[Any], Any]
) -> Any:
    """Read the cell of a column; of those of a table a list. Raises ValueError with the name.

    Several columns of texts make one, with a space between those that are not empty.
    """
    kind = column.kind if column is not None else None
    parts = kind is ColumnType.TEXT and not isinstance(named, str)
    try:
        if kind not in TABULAR and not parts:
            return convert(cell_of(raw, named))
    except ValueError as error:
        raise ValueError(f"{', '.join(names_of(named))} {error}") from None
    cells = [read_cells(raw, name, None, convert) for name in names_of(named)]
    return " ".join(filter(None, cells)) if parts else cells


def roots_of(named: SourceName) -> set[str]:
    """Return the keys of a row that a column may be read from."""
    names = names_of(named)
    return {*names, *(name.partition(".")[0] for name in names)}


def looks_split(source: RowSource) -> str:
    """Return the character that seems to separate a file read as one column, or ""."""
    there = source.columns
    return next((s for s in ";\t|," if len(there) == 1 and s in there[0]), "")


def no_column(
    source: RowSource,
    name: str,
    ours: str,
    known: Sequence[str],
    names: Mapping[str, SourceName | None],
) -> DataError:
    """Say that a column is missing, and the option that most likely helps."""
    if looks_split(source):
        mark = repr(looks_split(source))
        what = f"one column {source.columns[0]!r}; file looks {mark}-separated"
        return DataError("DATA-COL", source.name, what, f'set "data.sep={mark}"')  # for a shell
    what = f"no column {name!r}; columns: {', '.join(known)}"
    if source.first_rows:
        what = f"no column {name!r}, and the first row looks like data"
        return DataError("DATA-COL", source.name, what, without_header(source.first_rows, names))
    fix = did_you_mean(name, known) or f"data.{ours}=COLUMN names it"
    return DataError("DATA-COL", source.name, what, fix)


def without_header(rows: Sequence[Sequence[str]], names: Mapping[str, SourceName | None]) -> str:
    """Return the options that read a file without a header, its columns named as is likely."""
    text, label = (names_of(names.get(ours) or ours)[0] for ours in ("text", "label"))
    pair = names.get("text_pair")
    columns = suggested_names(rows, text, label, str(pair or "text_pair"))
    more = " data.text_pair=text_pair" if pair is None and "text_pair" in columns else ""
    return header_options(columns) + more


def normalized_rows(
    source: RowSource,
    columns: Mapping[str, Column],
    chosen: Mapping[str, SourceName],
    separator: str | None,
    media: str | None = None,
    label_from: int = 0,
) -> Iterator[Columns]:
    """Yield the rows under our names, some at once, with what later checks need to know of each.

    `media` is the folder that paths in cells are relative to; None: the source's own.
    `label_from` is the number of the first choice. Raises DataError for the first bad row.
    """
    folder = source.folder if media is None else Path(media).expanduser()
    convert = {
        ours: converter(columns.get(ours), source.classes.get(str(theirs)), separator, folder)
        for ours, theirs in chosen.items()
    }
    reading = Reading(source, columns, chosen, convert, label_from)
    position = 0
    for batch in batches(source.rows(), FEW if reading.has_media else MANY):
        try:
            yield reading.columns_of(batch, position)
        except DataError:
            for i, one in enumerate(batch):
                reading.columns_of([one], position + i)
            raise
        position += len(batch)


def batches(rows: Iterable[Raw], count: int) -> Iterator[list[Raw]]:
    """Group rows so that neither many nor long ones need much memory."""
    batch: list[Raw] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += sum([len(cell) for cell in row[1].values() if isinstance(cell, str)])
        if len(batch) >= count or size >= CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


@dataclass(frozen=True)
class Reading:
    """How rows of a source become columns under our names."""

    source: RowSource
    columns: Mapping[str, Column]
    chosen: Mapping[str, SourceName]
    convert: Mapping[str, Callable[[Any], Any]]
    label_from: int

    @property
    def known(self) -> dict[str, Column]:
        return {c: self.columns[c] for c in self.chosen if c in self.columns}

    @property
    def has_media(self) -> bool:
        return any(column.kind in MEDIA for column in self.known.values())

    def columns_of(self, rows: Sequence[Raw], position: int) -> Columns:
        """Return {column: values} of rows, of which the first is number `position` of the source.

        Raises DataError, which names the row where there is but one.
        """
        source, known = self.source, self.known
        numbers, raws = [number for number, _ in rows], [raw for _, raw in rows]
        location = source.at(numbers[0])
        texts = {
            c: column.kind
            for c, column in known.items()
            if column.kind in TEXTUAL and not column.target
        }
        cells: Columns = {}
        for ours, theirs in self.chosen.items():
            roots = roots_of(theirs)
            if ours in texts and any(raw.keys().isdisjoint(roots) for raw in raws):
                raise DataError("DATA-COL", location, f"key {theirs!r} missing")
            try:
                cells[ours] = self._read(raws, ours)
            except ValueError as error:
                raise DataError("DATA-CELL", location, str(error)) from None
        wrong = [0] * len(rows)
        kinds = {column.kind for column in known.values()}
        if kinds & {ColumnType.CHOICE, ColumnType.TAGS} or "answers" in cells:
            for i, raw in enumerate(raws):
                row = {name: values[i] for name, values in cells.items()}
                where = source.at(numbers[i])
                resolve_choice(row, raw, known, self.chosen, where, self.label_from)
                check_lengths(row, known, where)
                wrong[i] = IS_MISPLACED * any(misplaced(row))
                for name in cells:
                    cells[name][i] = row[name]
        # What is of use to the train split alone makes no other row: a copy in test lacks it.
        telling = [c for c in texts if not known[c].learning]
        others = [c for c in known if known[c].kind in (*MEDIA, *TABULAR)]
        odd = zip(flags(cells, texts, len(rows)), wrong, strict=True)
        marks = {"_flags": [one | more for one, more in odd]}
        numbered = {"row": list(range(position, position + len(rows))), "_line": numbers}
        return numbered | cells | identities(cells, telling, others, len(rows)) | marks

    def _read(self, raws: Sequence[Mapping[str, Any]], ours: str) -> list[Any]:
        """Return the cells of a column; a label that stands in many rows is read once."""
        theirs, convert, column = self.chosen[ours], self.convert[ours], self.columns.get(ours)
        if column is None or column.kind is not ColumnType.CLASS or not isinstance(theirs, str):
            return [read_cells(raw, theirs, column, convert) for raw in raws]
        values = [cell_of(raw, theirs) for raw in raws]
        if not all(type(value) is str for value in values):
            return [read_cells(raw, theirs, column, convert) for raw in raws]
        first = dict(zip(values, raws, strict=True))
        read = {value: read_cells(raw, theirs, column, convert) for value, raw in first.items()}
        return [read[value] for value in values]


def check_lengths(row: Mapping[str, Any], columns: Mapping[str, Column], location: str) -> None:
    """Raise DataError where a row has not one tag a word."""
    kinds = {column.kind: name for name, column in columns.items()}
    if ColumnType.WORDS not in kinds or ColumnType.TAGS not in kinds:
        return
    words, tags = row[kinds[ColumnType.WORDS]], row[kinds[ColumnType.TAGS]]
    if tags is not None and len(words) != len(tags):
        what = f"{len(tags)} tags for {len(words)} words"
        mark = next((m for m in "|,;/" if len(tags[0].split(m)) == len(words)), "") if tags else ""
        fix = f"set \"data.label_separator='{mark}'\"" if mark else "one tag a word"
        raise DataError("DATA-CELL", location, what, fix)


def misplaced(row: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the answers that are not in the row's context where they say, or say nothing."""
    for answer in row.get("answers") or ():
        text, start = answer["text"], answer["start"]
        if not text.strip() or start < 0 or not row["context"].startswith(text, start):
            yield answer


def identities(
    cells: Columns, texts: Sequence[str], others: Sequence[str], count: int
) -> dict[str, np.ndarray]:
    """Return hashes (N,) of the texts (and of the id), by which rows are compared and split.

    `others` are columns of files and of tables: the same text with others is another row.
    """
    exact, loose = [], []
    for i, own in enumerate(texts_of_rows(cells, texts, count)):
        values = [cells[c][i] for c in others]
        beside = [digest_of(v) if isinstance(v, dict | None) else str(v) for v in values]
        exact.append("\0".join([*own, *beside]))
        loose.append("\0".join([*[" ".join(t.casefold().split()) for t in own], *beside]))
    found = {"_text": digests(exact), "_loose": digests(loose)}
    return found | ({"_id": digests(cells["id"])} if "id" in cells else {})


def flags(cells: Columns, texts: Mapping[str, ColumnType], count: int) -> Iterator[int]:
    """Yield the bits of what is odd in the texts of a row, those of use in learning alone too."""
    words = [c for c in texts if texts[c] is ColumnType.WORDS]
    for i, own in enumerate(texts_of_rows(cells, list(texts), count)):
        # One odd word empties no sentence.
        whole = [" ".join(cells[c][i]) for c in words] or own
        is_empty = any([EMPTY.fullmatch(text) is not None for text in whole])
        yield HAS_EMPTY * is_empty | HAS_NUL * any(["\0" in text for text in own])


def texts_of_rows(cells: Columns, names: Sequence[str], count: int) -> Iterator[list[str]]:
    """Yield the texts of each row's columns, whether a cell holds one or several; none: [""]."""
    for i in range(count):
        values = [cells[name][i] for name in names]
        own = [t for value in values for t in ([value] if isinstance(value, str) else value)]
        yield own or [""]
