"""What files hold, as tables of a terminal."""

from collections.abc import Sequence

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tunesmith.data.inspect_files import ColumnSummary, FileSummary
from tunesmith.reporting.terminal.cells import cell

SHOWN = 8  # values of labels


def file_tables(files: Sequence[FileSummary]) -> RenderableType:
    parts: list[RenderableType] = []
    for file in files:
        how = file.layout.kind.replace("_", " ")
        how += f", cells parted by {file.layout.sep!r}" if file.layout.kind == "csv" else ""
        parts.append(Text(f"{file.path}: {how}, {file.rows:,} rows, as {file.split}", style="bold"))
        parts += [Text(f"  guessed: {guess}") for guess in file.layout.guesses]
        parts += [_columns(file), Text("")]
    return Group(*parts)


def _columns(file: FileSummary) -> Table:
    table = Table("column", "cells", "missing", "words", "values, or examples", box=None)
    for column in file.columns.values():
        missing = f"{column.missing:,}" if column.missing else "-"
        table.add_row(
            cell(column.name), cell(column.kind), missing, _lengths(column), _values(column)
        )
    return table


def _lengths(column: ColumnSummary) -> str:
    """Return the shortest, the middle and the longest cell, in words."""
    if column.kind == "number" or not column.words:
        return "-"
    return f"{min(column.words)}/{int(np.median(column.words))}/{max(column.words)}"


def _values(column: ColumnSummary) -> Text:
    if not column.is_of_labels:
        shown = [e if len(e) <= 60 else f"{e[:59]}…" for e in column.examples]
        different = len(column.counts)
        repeats = different < 0.9 * len(column.words)
        return cell((f"{different:,} different: " if repeats else "") + " | ".join(shown))
    common = column.counts.most_common(SHOWN)
    more = f", … {len(column.counts) - SHOWN} more" if len(column.counts) > SHOWN else ""
    return cell(", ".join(f"{value} {count:,}" for value, count in common) + more)
