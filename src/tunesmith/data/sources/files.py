"""Rows of one file: csv, tsv, json lines, parquet, CoNLL, plain text row by row, SQuAD at once."""

import codecs
import json
import re
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from difflib import get_close_matches
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from tunesmith.data.columns import LONGEST_ROW, Raw
from tunesmith.data.sources import conll, squad
from tunesmith.data.sources.csv import checked_sep, csv_rows, header, records, separator
from tunesmith.errors import ConfigError, DataError

SUFFIXES = {
    ".csv": "csv",
    ".tsv": "csv",
    ".tab": "csv",
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".parquet": "parquet",
    ".conll": "conll",
    ".bio": "conll",
    ".iob": "conll",
    ".txt": "text",
}

HALF = re.compile(r"[\ud800-\udfff]")  # of a pair of surrogates; a whole one is one character


def stream(
    path: str | Path,
    *,
    sep: str | None = None,
    quoting: str = "csv",
    encoding: str = "utf-8",
    encoding_errors: str = "strict",
) -> Iterator[Raw]:
    """Yield (line number, row with all columns) of a file; where no line is a row, its number.

    Cells of csv are always text. `quoting` is one of `QUOTING`. Raises DataError at the line
    that is broken.
    """
    path = readable(path)
    if kind_of(path) == "parquet":
        yield from parquet_rows(path)
    elif kind_of(path) == "squad":
        yield from squad.rows(path)
    elif kind_of(path) == "json":
        yield from json_rows(path, lines_of(path, encoding, encoding_errors))
    elif kind_of(path) == "conll":
        lines = lines_of(path, encoding, encoding_errors)
        yield from conll.sentences(path, lines, checked_sep(sep), LONGEST_ROW)
    elif kind_of(path) == "text":
        yield from documents(path, lines_of(path, encoding, encoding_errors))
    else:
        lines = lines_of(path, encoding, encoding_errors)
        yield from csv_rows(path, lines, separator(path, sep), quoting)


def columns_of(
    path: str | Path,
    *,
    sep: str | None = None,
    quoting: str = "csv",
    encoding: str = "utf-8",
    encoding_errors: str = "strict",
) -> list[str]:
    """Return the names of a file's columns; of json lines, the keys of the first one."""
    path = readable(path)
    if kind_of(path) == "parquet":
        return list(parquet(path).schema_arrow.names)
    if kind_of(path) == "squad":
        return squad.columns(path)
    if kind_of(path) == "text":
        return ["text"]
    with closing(lines_of(path, encoding, encoding_errors)) as lines:
        if kind_of(path) == "json":
            return list(next((row for _, row in json_rows(path, lines)), {}))
        if kind_of(path) == "conll":
            return conll.columns(path, lines, checked_sep(sep))
        return header(path, records(path, lines, separator(path, sep), quoting))


def readable(path: str | Path) -> Path:
    """Return the path of a file that is there and holds something."""
    path = Path(path)
    if path.is_dir():
        raise DataError("DATA-404", str(path), "a folder, not a file", "set data.path to it")
    if not path.is_file():
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


def kind_of(path: Path) -> str:
    """Tell the format: "csv", "json" (lines), "parquet", "conll", "text", "squad" (one object)."""
    if path.suffix.lower() not in SUFFIXES:
        known = ", ".join(SUFFIXES)
        raise DataError("DATA-FORMAT", str(path), f"unknown extension {path.suffix!r}", known)
    kind = SUFFIXES[path.suffix.lower()]
    return "squad" if kind == "json" and squad.is_one(path) else kind


def lines_of(path: Path, encoding: str, errors: str) -> Generator[str, None, None]:
    """Yield the lines with their ends; a byte-order mark of UTF-8 is no part of them."""
    codec = checked_codec(path, encoding)
    # newline="" keeps a line break inside a quoted cell as it is.
    with path.open(encoding=codec, errors=errors, newline="") as handle:
        number = 0
        try:
            while line := handle.readline(LONGEST_ROW + 1):
                number += 1
                if len(line) > LONGEST_ROW:
                    raise too_long(path, number)
                yield line
        except UnicodeError:
            raise undecodable(path, str(path), codec) from None


def too_long(path: Path, number: int) -> DataError:
    return DataError(
        "DATA-ROW", f"{path}:{number}", f"one row of more than {LONGEST_ROW // 10**6} MB"
    )


def checked_codec(path: Path, encoding: str) -> str:
    """Return the codec that reads the file, or say what its first bytes say against it."""
    try:
        codec = codecs.lookup(encoding).name
    except LookupError:
        raise ConfigError("CONF-VALUE", "data.encoding", f"no encoding {encoding!r}") from None
    with path.open("rb") as handle:
        start = handle.read(2)
    if codec.startswith("utf-8") and start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        what = "UTF-16 byte-order mark"
        raise DataError("DATA-ENC", str(path), what, "set data.encoding=utf-16")
    return "utf-8-sig" if codec == "utf-8" else codec


def undecodable(path: Path, name: str, codec: str) -> DataError:
    """Find the first bytes that the codec does not know; called once reading has failed."""
    if not codec.startswith("utf-8"):
        return DataError("DATA-ENC", name, f"not {codec.upper()}", "set data.encoding")
    with path.open("rb") as handle:
        for number, line in enumerate(iter(lambda: handle.readline(LONGEST_ROW + 1), b""), 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                where = f"{name}:{number} byte {error.start + 1}"
                what = f"not UTF-8 (0x{line[error.start]:02x})"
                return DataError("DATA-ENC", where, what, "set data.encoding=latin-1")
    return DataError("DATA-ENC", name, "not UTF-8", "set data.encoding=latin-1")


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
        refuse_half_characters(location, row)
    return row


def refuse_half_characters(location: str, row: dict[str, Any]) -> None:
    r"""Raise DataError for a lone `\ud800`, which is no text and can be written nowhere."""
    for name, cell in row.items():
        if HALF.search(json.dumps([name, cell], ensure_ascii=False)):
            what = f"{name} holds half a character (a lone surrogate)"
            raise DataError("DATA-CELL", location, what, "write both halves, or neither")


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
