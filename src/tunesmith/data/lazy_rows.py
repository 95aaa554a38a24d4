"""Rows as a task scores them: only the columns that it asks for are read into memory."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, overload

import numpy as np
import pyarrow as pa
from datasets import Dataset

AT_ONCE = 10_000  # values


def values_of(rows: Any, name: str, chosen: np.ndarray | None = None) -> Iterator[Any]:
    """Yield the values of a column of a dataset, or of {column: values}, in the order of the rows.

    Many are read at once, yet few are in memory: one by one, as `rows[name]` of a dataset yields
    them, takes 20 microseconds each. `chosen` (N,) are rows of a dataset that nothing was selected
    from, by their numbers in its file; by default all.
    """
    if chosen is not None:
        column = rows.data.column(name)
        for start in range(0, len(chosen), AT_ONCE):
            yield from column.take(chosen[start : start + AT_ONCE]).to_pylist()
        return
    if not isinstance(rows, Dataset):
        yield from rows[name]
        return
    for batch in rows.select_columns(name).iter(AT_ONCE):
        yield from batch[name]


class LazyRows(Sequence[Mapping[str, Any]]):
    """The rows of a dataset; each is read from its file, value by value, when it is asked for.

    A column that no one asks for, such as the texts of a classification, takes no memory.
    """

    def __init__(self, rows: Dataset) -> None:
        self._rows = rows.with_format("arrow")
        self.names = list(rows.column_names)
        self._columns: dict[str, pa.ChunkedArray] = {}

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> "LazyRow": ...

    @overload
    def __getitem__(self, index: slice) -> "list[LazyRow]": ...

    def __getitem__(self, index: int | slice) -> "LazyRow | list[LazyRow]":
        if isinstance(index, slice):
            return [LazyRow(self, i) for i in range(*index.indices(len(self)))]
        return LazyRow(self, range(len(self))[index])

    def value(self, name: str, index: int) -> Any:
        """Return one value as plain Python; raises KeyError for a column that is not there."""
        if name not in self._columns:
            if name not in self.names:
                raise KeyError(name)
            self._columns[name] = self._rows.select_columns([name])[:][name]
        return self._columns[name][index].as_py()


class LazyRow(Mapping[str, Any]):
    """One of them, {column: value}."""

    __slots__ = ("_index", "_rows")

    def __init__(self, rows: LazyRows, index: int) -> None:
        self._rows, self._index = rows, index

    def __getitem__(self, name: str) -> Any:
        return self._rows.value(name, self._index)

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows.names)

    def __len__(self) -> int:
        return len(self._rows.names)
