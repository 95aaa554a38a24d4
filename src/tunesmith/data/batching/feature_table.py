"""Features read straight from their memory-mapped file: numbers of a list without a copy."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset

Features = dict[str, Any]


class FeatureTable:
    """The features of a split, as `datasets` gives them but quicker.

    A list of numbers comes as a read-only numpy array (T,), everything else as Python values. As
    of a data set, `table["labels"]` is a column.
    """

    def __init__(self, features: Dataset) -> None:
        self._features, table = features, features.data.table
        self._names = table.column_names
        self._columns = [column.chunks for column in table.columns]
        sizes = [len(chunk) for chunk in self._columns[0]] if self._columns else []
        self._starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
        self._readers: list[list[Callable[[int], Any]] | None] = [None] * len(sizes)

    def __reduce__(self) -> tuple[Any, ...]:
        return FeatureTable, (self._features,)  # a data set is sent as the name of its file

    @property
    def rows(self) -> np.ndarray:
        """The number of each feature's row in the split (F,)."""
        return self._features.data.column("row").to_numpy()

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, str):
            return self._features.data.column(index).to_pylist()
        if not 0 <= index < len(self):
            raise IndexError(f"feature {index} of {len(self)}")
        return self.__getitems__([index])[0]

    def __iter__(self) -> Iterator[Features]:
        return (self[index] for index in range(len(self)))

    def __getitems__(self, indices: Sequence[int]) -> list[Features]:
        chunks = np.searchsorted(self._starts, indices, side="right") - 1
        return [
            dict(zip(self._names, [read(at) for read in self._readers_of(chunk)], strict=True))
            for chunk, at in zip(
                chunks.tolist(), (np.asarray(indices) - self._starts[chunks]).tolist(), strict=True
            )
        ]

    def _readers_of(self, chunk: int) -> list[Callable[[int], Any]]:
        readers = self._readers[chunk]
        if readers is None:
            readers = [_reader(column[chunk]) for column in self._columns]
            self._readers[chunk] = readers
        return readers


def _reader(column: pa.Array) -> Callable[[int], Any]:
    """Return what gives one entry of a column's part."""
    kind = column.type
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    if not is_list or not _is_number(kind.value_type) or column.null_count:
        return lambda at: column[at].as_py()
    values, offsets = column.values, column.offsets.to_numpy()
    if values.null_count:
        return lambda at: column[at].as_py()
    numbers = values.to_numpy()
    return lambda at: numbers[offsets[at] : offsets[at + 1]]


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)
