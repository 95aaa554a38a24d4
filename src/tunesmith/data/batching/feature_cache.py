"""Encoded rows on disk: made once per (rows, tokenizer, length), memory-mapped, shared by runs."""

import fcntl
import logging
import multiprocessing
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate, groupby
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from datasets import Dataset
from datasets.arrow_writer import ArrowWriter

from tunesmith.data.batching.feature_table import Features, FeatureTable
from tunesmith.errors import DataError, MachineError, explain, is_debugging
from tunesmith.runtime.atomic_files import written_whole
from tunesmith.runtime.environment import variables
from tunesmith.runtime.processes import die_with_parent

log = logging.getLogger(__name__)

MUCH = 0.05  # of a split's features
Encode = Callable[[Sequence[dict[str, Any]]], list[list[Features]]]
AT_ONCE, CHARACTERS = 256, 500_000  # rows that are encoded together, of long texts fewer
WRITTEN = 1_000  # features that are written together
ENOUGH = 4_000  # rows of a process: fewer are encoded before it would have begun


class Encoded(NamedTuple):
    """The features of one split; each has `row`, the index of its row in the split.

    A row may have several features; they stand side by side.
    """

    features: FeatureTable
    lengths: np.ndarray  # (F,) tokens of each feature, after truncation
    full_lengths: np.ndarray  # (F,) tokens before truncation


def encode(rows: Dataset, encode_batch: Encode, key: str, cache: Path, processes: int) -> Encoded:
    """Encode a split in so many processes, or open what was encoded under the same key before.

    `key` names everything that the result depends on; their number is none of it. Who builds the
    same key at the same time waits; a file that cannot be read is built again.
    """
    path = cache / "encoded" / f"{key}.arrow"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.with_suffix(".lock")):
            opened = _open(path)
            if opened is None:
                _write(rows, encode_batch, path, processes)
                opened = _open(path)
    except OSError as error:
        raise MachineError("ENV-DIR", str(cache), f"cannot write encoded data: {error}") from error
    if opened is None:
        raise MachineError("ENV-DIR", str(path), "encoded data cannot be read back")
    return opened


def report_truncation(encoded: Encoded, split: str, limit: str, on_truncation: str) -> None:
    """Say how many features were cut, or refuse them if asked to; `limit` says what and where.

    Much is a warning, which is seen on the screen too.
    """
    cut = encoded.full_lengths > encoded.lengths
    if not cut.any():
        return
    share = float(cut.mean())
    longest = int(encoded.full_lengths.max())
    part = "under 1%" if share < 0.01 else f"{share:.0%}"
    what = f"{part} of {limit} (longest {longest})"
    if on_truncation == "error":
        row = encoded.features.rows[int(np.argmax(cut))]
        raise DataError(
            "DATA-LONG",
            split,
            f"{what}, first: row {row}",
            "set data.max_length or data.on_truncation",
        )
    log.log(logging.WARNING if share >= MUCH else logging.INFO, "%s: %s", split, what)


def _open(path: Path) -> Encoded | None:
    """Map the file into memory; None where there is none, or it is damaged."""
    if not path.exists():
        return None
    try:
        features = Dataset.from_file(str(path))
        table = features.data.table
        return Encoded(
            FeatureTable(features.remove_columns(["length", "full_length"])),
            table["length"].to_numpy(),
            table["full_length"].to_numpy(),
        )
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        log.warning("encoded data %s is damaged (%s): made anew", path.name, error)
        path.unlink()
        return None


def _write(rows: Dataset, encode_batch: Encode, path: Path, processes: int) -> None:
    can_fork = sys.platform == "linux"  # elsewhere libraries do not survive it
    count = max(1, min(processes, len(rows) // ENOUGH)) if can_fork else 1
    with written_whole(path) as whole:
        if count == 1:
            _write_part(rows, range(len(rows)), encode_batch, whole)
            return
        bounds = [len(rows) * i // count for i in range(count + 1)]
        parts = {
            whole.with_name(f"{whole.name}.{i}"): range(*bounds[i : i + 2]) for i in range(count)
        }
        try:
            _in_processes(rows, parts, encode_batch)
            _join(list(parts), whole)
        finally:
            for part in parts:
                part.unlink(missing_ok=True)


def _write_part(rows: Dataset, numbers: range, encode_batch: Encode, path: Path) -> None:
    """Encode rows and write their features; few are in memory at a time."""
    writer = ArrowWriter(path=str(path))
    encoded: list[Features] = []
    for batch in _batches(rows, numbers):
        by_row = encode_batch([row for _, row in batch])
        for (i, _), several in zip(batch, by_row, strict=True):
            encoded += [features | {"row": i} for features in several]
        if encoded and (len(encoded) >= WRITTEN or batch[-1][0] == numbers[-1]):
            writer.write_batch({name: [one[name] for one in encoded] for name in encoded[0]})
            encoded = []
    writer.finalize()
    writer.close()


def _batches(rows: Dataset, numbers: range) -> Iterator[list[tuple[int, dict[str, Any]]]]:
    """Yield (number, row) of those that are encoded together."""
    for start in numbers[::AT_ONCE]:
        columns = rows[start : min(start + AT_ONCE, numbers.stop)]
        some = [
            dict(zip(columns, values, strict=True))
            for values in zip(*columns.values(), strict=True)
        ]
        ends = accumulate(sum(len(v) for v in row.values() if isinstance(v, str)) for row in some)
        numbered = zip(ends, enumerate(some, start), strict=True)
        for _, part in groupby(numbered, lambda one: one[0] // CHARACTERS):
            yield [row for _, row in part]


# Several processes


def _in_processes(rows: Dataset, parts: dict[Path, range], encode_batch: Encode) -> None:
    """Write each part in a process of its own; raises what the first of them raised.

    They are forked: a task and its tokenizer need not be sent. None of them computes with torch,
    whose threads do not survive a fork.
    """
    context = multiprocessing.get_context("fork")
    started = []
    try:
        with variables({"TOKENIZERS_PARALLELISM": "false"}):  # so that the forked one may be used
            for path, numbers in parts.items():
                ours, theirs = context.Pipe(duplex=False)
                work = (rows, numbers, encode_batch, path, theirs)
                process = context.Process(target=_work, args=work, daemon=True)
                process.start()
                theirs.close()
                started.append((process, ours))
        for process, answer in started:
            try:
                error = answer.recv()
            except EOFError:
                process.join()
                what = f"a process that encodes rows ended with exit code {process.exitcode}"
                fix = "trainer.num_threads=1 encodes them in one"
                raise MachineError("ENV-PROCESS", "encoding", what, fix) from None
            if error is not None:
                raise error
    finally:
        for process, _ in started:
            process.kill()
            process.join()


def _work(
    rows: Dataset, numbers: range, encode_batch: Encode, path: Path, answer: Connection
) -> None:
    die_with_parent()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # not what this process does at one
    try:
        _write_part(rows, numbers, encode_batch, path)
        answer.send(None)
    except Exception as error:
        if is_debugging():
            traceback.print_exc()
        answer.send(explain(error))


def _join(parts: Sequence[Path], whole: Path) -> None:
    """Put the files of several processes together, in order."""
    maps = [pa.memory_map(str(part)) for part in parts]
    tables = [pa.ipc.open_stream(each).read_all() for each in maps]
    schemas = [table.schema.remove_metadata() for table in tables]
    schema = pa.unify_schemas(schemas, promote_options="permissive")
    with pa.OSFile(str(whole), "wb") as file, pa.ipc.new_stream(file, schema) as stream:
        for table in tables:
            stream.write_table(table.cast(schema))


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait until no other process holds the file, and hold it."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # released with the process, however it ends
        yield
