"""Rows kept in Arrow files: streamed in once per content, then memory-mapped."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow
from datasets import Dataset

from tunesmith.data.columns import Column, ColumnType, SourceName
from tunesmith.errors import MachineError
from tunesmith.runtime.atomic_files import sha256

VERSION = 3  # of what is stored; a higher one leaves older files alone
FILE = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
TYPES = {
    ColumnType.TEXT: pyarrow.string(),
    ColumnType.CLASS: pyarrow.string(),
    ColumnType.CLASSES: pyarrow.list_(pyarrow.string()),
    ColumnType.NUMBER: pyarrow.float64(),
    ColumnType.GROUP: pyarrow.string(),
    ColumnType.IMAGE: FILE,
    ColumnType.AUDIO: FILE,
    ColumnType.NUMBERS: pyarrow.list_(pyarrow.float64()),
    ColumnType.CATEGORIES: pyarrow.list_(pyarrow.string()),
    ColumnType.WORDS: pyarrow.list_(pyarrow.string()),
    ColumnType.TAGS: pyarrow.list_(pyarrow.string()),
    ColumnType.TEXTS: pyarrow.list_(pyarrow.string()),
    ColumnType.CHOICES: pyarrow.list_(pyarrow.string()),
    ColumnType.CHOICE: pyarrow.int64(),
    ColumnType.SPANS: pyarrow.list_(
        pyarrow.struct([("text", pyarrow.string()), ("start", pyarrow.int64())])
    ),
}


def key_of(*parts: Any) -> str:
    """Return a name for what the parts make."""
    text = json.dumps([VERSION, *parts], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def schema_of(columns: Mapping[str, Column], chosen: Mapping[str, SourceName]) -> pyarrow.Schema:
    kinds = {c: columns[c].kind if c in columns else ColumnType.TEXT for c in chosen}
    marks = ["_text", "_loose"] + (["_id"] if "id" in chosen else [])
    return pyarrow.schema(
        [("row", pyarrow.int64()), ("_line", pyarrow.int64()), ("_flags", pyarrow.int8())]
        + [(name, pyarrow.uint64()) for name in marks]
        + [(name, TYPES[kind]) for name, kind in kinds.items()]
    )


def cached_dataset(
    rows: Iterator[dict[str, Any]], schema: pyarrow.Schema, key: str, cache: Path
) -> Dataset:
    """Open the rows stored under the key; store them first if they are not, or damaged.

    `rows` yields {column: values} of some rows at once.
    Processes that store the same key at once each write a folder of their own; the first to
    finish gives it its name, the others take that one. Memory stays constant.
    """
    place = cache / "rows" / key[:40]
    if intact(place):
        return opened(place)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=place.parent))
    except OSError as error:
        raise unwritable(cache, error) from error
    try:
        write(rows, schema, fresh)
        publish(fresh, place)
    except OSError as error:
        raise unwritable(cache, error) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return opened(place)


def unwritable(cache: Path, error: OSError) -> MachineError:
    reason = error.strerror or str(error)
    return MachineError(
        "ENV-DIR", str(cache), f"rows cannot be stored: {reason}", "set paths.cache"
    )


def write(rows: Iterator[dict[str, Any]], schema: pyarrow.Schema, folder: Path) -> None:
    """Write rows.arrow and, last, its hash and the stamp of the files that its cells name."""
    path = folder / "rows.arrow"
    with path.open("wb") as handle, pyarrow.ipc.new_stream(handle, schema) as writer:
        for columns in rows:
            arrays = [pyarrow.array(columns[field.name], field.type) for field in schema]
            writer.write_batch(pyarrow.RecordBatch.from_arrays(arrays, schema=schema))
    (folder / "rows.sha256").write_text(f"{sha256(path)} {media_fingerprint(opened(folder))}")


def publish(fresh: Path, folder: Path) -> None:
    """Give a folder its final name, unless a whole one has it already."""
    for _ in range(3):
        try:
            os.rename(fresh, folder)  # noqa: PTH104 - Path.rename would say the same
            return
        except OSError:
            if intact(folder):
                return
            aside = Path(tempfile.mkdtemp(prefix=".bad-", dir=folder.parent))
            if folder.exists():
                folder.rename(aside / "damaged")
            shutil.rmtree(aside, ignore_errors=True)
    raise OSError(f"{folder} cannot be replaced")


def intact(folder: Path) -> bool:
    """Tell whether the stored rows, and the files that they name, are what was written."""
    try:
        hashed, _, stamped = (folder / "rows.sha256").read_text().partition(" ")
        return (
            sha256(folder / "rows.arrow") == hashed and media_fingerprint(opened(folder)) == stamped
        )
    except (OSError, UnicodeDecodeError):
        return False


def media_fingerprint(rows: Dataset) -> str:
    """Return a hash of when the files that cells name were written, and how long they are.

    Raises OSError where one is gone.
    """
    digest = hashlib.sha256()
    for name, kind in zip(rows.data.column_names, rows.data.schema.types, strict=True):
        chunks = rows.data.column(name).chunks if kind == FILE else ()
        for path in (path for chunk in chunks for path in chunk.field("path").to_pylist() if path):
            state = Path(path).stat()
            digest.update(f"{path} {state.st_size} {state.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def opened(folder: Path) -> Dataset:
    return Dataset.from_file(str(folder / "rows.arrow"))
