"""Rows under our names, with what later checks need of each."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tunesmith.data.columns import MEDIA, TABULAR, TEXTUAL, Column, ColumnType, SourceName, names_of
from tunesmith.data.prepare.choices import resolve_choice
from tunesmith.data.prepare.media import digest_of
from tunesmith.data.prepare.parse_cells import cell_of, converter
from tunesmith.data.prepare.row_source import RowSource
from tunesmith.data.row_hashes import digests
from tunesmith.data.sources.files import Raw
from tunesmith.errors import DataError

# Nothing to read: white space, control characters, zero-width marks.
EMPTY = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u200b-\u200f\u2060\ufeff]*")
HAS_EMPTY, HAS_NUL, IS_MISPLACED = 1, 2, 4  # bits of `_flags`
MANY, SIZE = 1000, 8_000_000  # rows that are read at once; of long ones, characters and bytes
Columns = dict[str, Any]  # {column: one value a row}


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
    for batch in batches(source.rows()):
        try:
            yield reading.columns_of(batch, position)
        except DataError:
            for i, one in enumerate(batch):
                reading.columns_of([one], position + i)
            raise
        position += len(batch)


def batches(rows: Iterable[Raw]) -> Iterator[list[Raw]]:
    """Group rows so that neither many nor long ones need much memory."""
    batch: list[Raw] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += sum(map(size_of, row[1].values()))
        if len(batch) >= MANY or size >= SIZE:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def size_of(cell: Any) -> int:
    """Return about how much of the memory a cell takes, of those that can take much."""
    if isinstance(cell, Mapping):
        cell = cell.get("bytes")
    return len(cell) if isinstance(cell, str | bytes) else 0


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
