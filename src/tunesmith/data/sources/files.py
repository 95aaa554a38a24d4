"""Rows of one file, in whatever format, row by row; one JSON document at once."""

import json
from collections.abc import Iterable, Iterator
from contextlib import closing
from difflib import get_close_matches
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from tunesmith.data.columns import LONGEST_ROW, Raw
from tunesmith.data.sources import conll, csv, json_document
from tunesmith.data.sources.file_layout import MARK, FileFormat, FileLayout, layout_of
from tunesmith.errors import DataError

USUAL = FileFormat()


def stream(path: str | Path, form: FileFormat = USUAL) -> Iterator[Raw]:
    """Yield (line number, row with all columns) of a file; where no line is a row, its number.

    Cells of csv are always text. Raises DataError at the line that is broken.
    """
    path = readable(path)
    layout = layout_of(path, form)
    if layout.kind == "parquet":
        yield from parquet_rows(path)
    elif layout.kind in ("squad", "json"):
        yield from json_document.rows(path)
    else:
        with closing(layout.lines(path)) as lines:
            yield from _rows_of_lines(path, lines, layout)


def _rows_of_lines(path: Path, lines: Iterable[str], layout: FileLayout) -> Iterator[Raw]:
    if layout.kind == "jsonl":
        return json_rows(path, lines)
    if layout.kind == "conll":
        return conll.sentences(path, lines, layout.sep, LONGEST_ROW)
    if layout.kind == "conllu":
        return conll.universal(path, lines, LONGEST_ROW)
    if layout.kind == "labeled_lines":
        return labeled_lines(path, lines)
    if layout.kind == "text":
        return documents(path, lines)
    return csv.csv_rows(path, lines, layout.sep or ",", layout.has_quotes, layout.names)


def columns_of(path: str | Path, form: FileFormat = USUAL) -> list[str]:
    """Return the names of a file's columns; of json lines, the keys of the first one."""
    path = readable(path)
    layout = layout_of(path, form)
    if layout.kind == "parquet":
        return list(parquet(path).schema_arrow.names)
    if layout.kind in ("squad", "json"):
        return json_document.columns(path)
    fixed = {"text": ["text"], "labeled_lines": ["label", "text"], "conllu": conll.UNIVERSAL}
    if layout.kind in fixed:
        return list(fixed[layout.kind])
    if layout.names is not None:
        return csv.names_in(layout.names)
    with closing(layout.lines(path)) as lines:
        if layout.kind == "jsonl":
            return list(next((row for _, row in json_rows(path, lines)), {}))
        if layout.kind == "conll":
            return conll.columns(path, lines, layout.sep)
        records = csv.records(path, lines, layout.sep or ",", layout.has_quotes)
        return csv.names_in(csv.header(path, records))


def keys_of_all_rows(path: Path, form: FileFormat) -> list[str]:
    """Return every key that a row of json lines has."""
    return list(dict.fromkeys(key for _, row in stream(path, form) for key in row))


def readable(path: str | Path) -> Path:
    """Return the path of a file that is there and holds something."""
    path = Path(path)
    if path.is_dir():
        raise DataError("DATA-404", str(path), "a folder, not a file", "set data.path to it")
    if not path.is_file():
        if path.exists():
            raise DataError("DATA-404", str(path), "not a regular file", "write rows into a file")
        raise missing(path)
    if path.stat().st_size == 0:
        raise DataError("DATA-EMPTY", str(path), "file is empty")
    return path


def missing(path: Path) -> DataError:
    """Say that a file is not there, and which one may be meant."""
    where = "" if path.is_absolute() else f" (cwd {Path.cwd()})"
    siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    near = get_close_matches(path.name, siblings, n=1, cutoff=0.5)
    fix = f"nearest: {path.parent / near[0]}" if near else ""
    return DataError("DATA-404", str(path), f"no such file{where}", fix)


def json_rows(path: Path, lines: Iterable[str]) -> Iterator[Raw]:
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield number, json_object(f"{path}:{number}", line.rstrip())


def json_object(location: str, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        what = f"invalid JSON at column {error.colno}"
        raise DataError("DATA-JSON", location, what, "one object a line") from None
    except (ValueError, RecursionError):  # a number of thousands of digits; deep nesting
        raise DataError("DATA-JSON", location, "JSON too deep or too long a number") from None
    if not isinstance(row, dict):
        what = f"a JSON {'list' if isinstance(row, list) else 'value'}, not an object"
        raise DataError("DATA-JSON", location, what, "one object a line")
    if "\\u" in line:
        json_document.refuse_half_characters(location, row)
    return row


def labeled_lines(path: Path, lines: Iterable[str]) -> Iterator[Raw]:
    """Yield the label and the text of each line; fastText marks labels, of which there may be many.

    A label is what stands before the first white space.
    """
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        label, _, text = line.strip().partition(" ") if "\t" not in line else line.partition("\t")
        labels = [label.strip().removeprefix(MARK)]
        while label.startswith(MARK) and text.startswith(MARK):
            more, _, text = text.partition(" ")
            labels.append(more.removeprefix(MARK))
        if not text.strip():
            raise DataError("DATA-ROW", f"{path}:{number}", "a label without a text")
        yield number, {"label": labels[0] if len(labels) == 1 else labels, "text": text.strip()}


def documents(path: Path, lines: Iterable[str]) -> Iterator[Raw]:
    """Yield the documents of a plain text, which blank lines part; a line break inside is kept."""
    first, document, size = 0, [""], 0
    for number, line in enumerate(chain(lines, [""]), start=1):
        if line.strip():
            first = first or number
            document.append(line)
            size += len(line)
        elif first:
            yield first, {"text": "".join(document).rstrip()}
            first, document, size = 0, [""], 0
        if size > LONGEST_ROW:
            what = f"one document of more than {LONGEST_ROW // 10**6} MB"
            raise DataError("DATA-ROW", f"{path}:{first}", what, "part documents by blank lines")


def parquet(path: Path) -> pyarrow.parquet.ParquetFile:
    try:
        return pyarrow.parquet.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20)
    except (pyarrow.ArrowException, OSError) as error:
        what = f"not a whole parquet file: {str(error).splitlines()[0]}"
        raise DataError("DATA-PARQUET", str(path), what) from None


def parquet_rows(path: Path) -> Iterator[Raw]:
    number = 0
    try:
        with parquet(path) as file:
            for batch in file.iter_batches(batch_size=100):  # a row may hold an image
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except (pyarrow.ArrowException, OSError) as error:
        what = f"cannot be read: {str(error).splitlines()[0]}"
        raise DataError("DATA-PARQUET", f"{path}: row {number + 1}", what) from None
