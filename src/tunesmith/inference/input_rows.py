"""Rows handed over in Python: one text, its values in order, or a mapping under our names."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from tunesmith.data.columns import TABULAR, Column
from tunesmith.data.prepare.parse_cells import reader
from tunesmith.errors import DataError

Given = str | Sequence[Any] | Mapping[str, Any]


def check_is_row_list(rows: Any) -> None:
    """Raise TypeError for one row, or a table, where rows are meant: it would be cut into parts."""
    if isinstance(rows, str | bytes | Mapping):
        kind = type(rows).__name__
        raise TypeError(f"predict takes a list of rows, and this is one {kind}: put it into [...]")
    if hasattr(rows, "columns"):  # iterating over a data frame gives the names of its columns
        raise TypeError("predict takes a list of rows, and this is a table: to_dict('records')")


def input_row(
    row: Given,
    columns: Mapping[str, Column],
    unread: Collection[str],
    separator: str | None,
    number: int,
    folder: Path = Path(),
) -> dict[str, Any]:
    """Return the cells of exactly these columns, as a file's would be read.

    `unread` are columns that the task knows and this run was not trained on: they are refused,
    what else a mapping holds is left alone. `number` is the row's, from 1.
    """
    where = f"row {number}"
    cells = named_cells(row, columns, where)
    for name in unread:
        if name in cells:
            what = f"has {name!r}; the run was trained on {', '.join(columns)} alone"
            raise DataError("DATA-COL", where, what)
    made = {}
    for name, column in columns.items():
        try:
            made[name] = read_cell(column, cells[name], separator, folder)
        except ValueError as error:
            raise DataError("DATA-CELL", where, f"{name} {error}") from None
    return made


def read_cell(column: Column, cell: Any, separator: str | None, folder: Path) -> Any:
    """Read a cell as a file's would be; raise ValueError for what it cannot be."""
    read = reader(column, separator, folder)
    if column.kind not in TABULAR:
        return read(cell)
    if not isinstance(cell, list | tuple):
        raise ValueError("must be a list: a value for each column that the run names")
    return [read(value) for value in cell]


def named_cells(row: Given, columns: Collection[str], location: str) -> Mapping[str, Any]:
    """Put the columns' names to a row's values; all of them must be there, and no more."""
    reads = f"the run reads {', '.join(columns)}"
    if isinstance(row, Mapping):
        missing = [name for name in columns if name not in row]
        if missing:
            there = ", ".join(map(str, row)) or "none"
            raise DataError("DATA-COL", location, f"no {missing[0]!r}; columns: {there}", reads)
        return row
    if isinstance(row, bytes) or not hasattr(row, "__getitem__"):
        what = f"is a {type(row).__name__}, not a text, values or a mapping"
        raise DataError("DATA-COL", location, what, reads)
    values = [row] if isinstance(row, str) else list(row)
    if len(values) != len(columns):
        many = "1 value" if len(values) == 1 else f"{len(values)} values"
        raise DataError("DATA-COL", location, many, reads)
    return dict(zip(columns, values, strict=True))
