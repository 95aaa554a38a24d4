"""Encoded rows on disk: made once per (rows, tokenizer, length), memory-mapped, shared by runs."""

import fcntl
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from datasets import Dataset
from datasets.arrow_writer import ArrowWriter

from tunesmith.errors import DataError, MachineError
from tunesmith.runtime.atomic_files import written_whole

log = logging.getLogger(__name__)

MUCH = 0.05  # of a split's features

Encode = Callable[[dict[str, Any]], list[dict[str, Any]]]


class Encoded(NamedTuple):
    """The features of one split; each has `row`, the index of its row in the split.

    A row may have several features; they stand side by side.
    """

    features: Dataset
    lengths: np.ndarray  # (F,) tokens of each feature, after truncation
    full_lengths: np.ndarray  # (F,) tokens before truncation


def encode(rows: Dataset, encode_row: Encode, key: str, cache: Path) -> Encoded:
    """Encode a split, or open what an earlier run encoded under the same key.

    `key` names everything that the result depends on. Two processes that build the same key
    at once wait for each other; a file that cannot be read is built again.
    """
    path = cache / "encoded" / f"{key}.arrow"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path.with_suffix(".lock")):
            opened = _open(path)
            if opened is None:
                _write(rows, encode_row, path)
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
        row = int(encoded.features[int(np.argmax(cut))]["row"])
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
            features.remove_columns(["length", "full_length"]),
            table["length"].to_numpy(),
            table["full_length"].to_numpy(),
        )
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        log.warning("encoded data %s is damaged (%s): made anew", path.name, error)
        path.unlink()
        return None


def _write(rows: Dataset, encode_row: Encode, path: Path) -> None:
    with written_whole(path) as temporary:
        writer = ArrowWriter(path=str(temporary))
        for i, row in enumerate(rows):
            for features in encode_row(row):
                writer.write({**features, "row": i})
        writer.finalize()
        writer.close()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # released with the process, however it ends
        yield
