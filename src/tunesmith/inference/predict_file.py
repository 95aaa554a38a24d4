"""Predictions for a file: the same rows, each with its answer."""

import csv
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain, count, islice
from pathlib import Path
from typing import IO, Any

from tunesmith.data.columns import Column, SourceName, names_of
from tunesmith.data.prepare.normalize import read_cells
from tunesmith.data.prepare.parse_cells import nested_names, reader
from tunesmith.data.sources.file_layout import FileFormat, layout_of
from tunesmith.data.sources.files import columns_of, readable, stream
from tunesmith.errors import ConfigError, DataError, MachineError, did_you_mean
from tunesmith.inference.finished_run import FinishedRun
from tunesmith.runtime.atomic_files import written_whole
from tunesmith.runtime.spreadsheet import quoted_formula
from tunesmith.tasks.base import Answer

CSV, JSON_LINES = (".csv", ".tsv"), (".jsonl", ".ndjson", ".json")  # what can be written


def predict_file(
    run: FinishedRun, source: Path, output: Path | None, out: IO[str], excel_safe: bool = False
) -> int:
    """Answer each row of a file; write the same rows plus the answers, to `out` as json lines.

    The columns are settled before the first row is written: those of the file (of json lines,
    which are read twice for it, every key of any row), then the answer's, under names that no
    column has. Streams: memory does not grow with the file. `output` appears whole or not at
    all. Returns the number of rows.
    """
    check_output(output)
    options = FileFormat.of(run.config.data)
    read = columns_read(run, source, options)
    needed = [name for named in read.values() for name in names_of(named)]
    columns = _columns(source, needed, options)
    rows = 0
    with _whole_file(output, out) as file:
        as_csv = output is not None and output.suffix.lower() in CSV
        writer = _CsvRows(file, output, excel_safe) if as_csv else _JsonRows(file)
        writer.begin(columns)
        for row, answer in _paired(run, source, columns, read, options):
            writer.write(row, answer)
            rows += 1
        writer.close()
    return rows


def columns_read(run: FinishedRun, source: Path, options: FileFormat) -> dict[str, SourceName]:
    """Return {our name: the file's name, or names} of what is read; a plain text has one column."""
    read = dict(run.columns)
    if len(read) == 1 and layout_of(readable(source), options).kind == "text":
        return dict.fromkeys(read, "text")
    return read


def check_output(output: Path | None) -> None:
    """Refuse what cannot be written before anything is loaded."""
    if output is None:
        return
    if output.is_dir() or not output.name:
        raise ConfigError("CLI", f"--output {output}", "is a folder", "name a file in it")
    if output.suffix.lower() not in CSV + JSON_LINES:
        what = f"unknown extension {output.suffix!r}"
        raise ConfigError("CLI", f"--output {output}", what, ", ".join(CSV + JSON_LINES))
    if not output.parent.is_dir():
        raise ConfigError("CLI", f"--output {output}", f"no folder {output.parent}")


# Reading


def _columns(source: Path, needed: Iterable[str], options: FileFormat) -> list[str]:
    """Return every column of a file; raise DataError where one that is needed is missing."""
    needed = list(needed)
    if layout_of(readable(source), options).kind != "jsonl":
        columns = columns_of(source, options)
        within = [n for n in needed if n not in columns and n.partition(".")[0] in columns]
        first = next(stream(source, options), (0, {}))[1] if within else {}
        _need({**dict.fromkeys(columns), **first}, needed, f"{source}:1")
        return columns
    seen: dict[str, None] = {}
    for line, row in stream(source, options):
        _need(row, needed, f"{source}:{line}")
        seen |= dict.fromkeys(row)
    return list(seen)


def _need(row: Mapping[str, Any], needed: Iterable[str], location: str) -> None:
    roots = {name: name.partition(".")[0] for name in needed if name not in row}
    below = {root: nested_names(root, row[root]) for root in roots.values() if root in row}
    have = [*row, *(name for names in below.values() for name in names)]
    empty = {root for root in below if row[root] is None}  # a row without the whole object
    missing = [name for name, root in roots.items() if name not in have and root not in empty]
    if missing:
        what = f"no column {missing[0]!r}; columns: {', '.join(have)}"
        raise DataError("DATA-COL", location, what, did_you_mean(missing[0], have))


def _paired(
    run: FinishedRun,
    source: Path,
    columns: Collection[str],
    named: Mapping[str, SourceName],
    options: FileFormat,
) -> Iterator[tuple[dict[str, Any], Answer]]:
    """Pair each raw row with its answer, a chunk in memory at a time."""
    raw = stream(source, options)
    kinds, separator = run.task.columns, run.config.data.label_separator
    folder = Path(run.config.data.media or source.absolute().parent).expanduser()
    read = {
        ours: (kinds[ours], theirs, reader(kinds[ours], separator, folder))
        for ours, theirs in named.items()
    }
    known = set(columns)
    while chunk := list(islice(raw, run.chunk)):
        for line, row in chunk:
            if not row.keys() <= known:
                raise DataError("DATA-COL", f"{source}:{line}", "changed while it was read")
        wanted = [_converted(row, read, f"{source}:{line}") for line, row in chunk]
        yield from zip((row for _, row in chunk), run.predict_stream(wanted), strict=True)


def _converted(
    row: Mapping[str, Any], read: Mapping[str, tuple[Column, SourceName, Any]], location: str
) -> dict[str, Any]:
    cells = {}
    for ours, (column, named, convert) in read.items():
        try:
            cells[ours] = read_cells(row, named, column, convert)
        except ValueError as error:
            raise DataError("DATA-CELL", location, str(error)) from None
    return cells


# Writing


@contextmanager
def _whole_file(output: Path | None, out: IO[str]) -> Iterator[IO[str]]:
    if output is None:
        yield out
        return
    try:
        with (
            written_whole(output, private=False) as temporary,
            temporary.open("w", encoding="utf-8", newline="") as file,
        ):
            yield file
    except OSError as error:
        raise MachineError("ENV-DISK", str(output), f"cannot be written: {error}") from error


def _free_names(answer: Answer, columns: Iterable[str]) -> dict[str, str]:
    """Name each key of the answer as no column is called, nor any cell of another key."""
    taken, names = set(columns), {}
    for key, value in answer.items():
        more = (f"predicted_{key}_{n}" for n in count(2))
        wanted = chain([key, f"predicted_{key}"], more)
        name = next(n for n in wanted if taken.isdisjoint({n, *_flat(n, value)}))
        taken |= {name, *_flat(name, value)}
        names[key] = name
    return names


class _JsonRows:
    def __init__(self, file: IO[str]) -> None:
        self.file = file
        self.columns: list[str] = []
        self.names: dict[str, str] = {}

    def begin(self, columns: list[str]) -> None:
        self.columns = columns

    def write(self, row: Mapping[str, Any], answer: Answer) -> None:
        self.names = self.names or _free_names(answer, self.columns)
        named = _without_bytes(row) | {self.names[key]: value for key, value in answer.items()}
        self.file.write(json.dumps(named, ensure_ascii=False, default=str) + "\n")

    def close(self) -> None:
        pass


class _CsvRows:
    def __init__(self, file: IO[str], output: Path | None, excel_safe: bool) -> None:
        tab = output is not None and output.suffix.lower() == ".tsv"
        how: dict[str, Any] = {"delimiter": "\t" if tab else ",", "lineterminator": "\n"}
        self.writer: csv.DictWriter[str] = csv.DictWriter(file, [], restval="", **how)
        self.excel_safe = excel_safe
        self.names: dict[str, str] = {}

    def begin(self, columns: list[str]) -> None:
        self.writer.fieldnames = columns

    def write(self, row: Mapping[str, Any], answer: Answer) -> None:
        if not self.names:
            self.names = _free_names(answer, self.writer.fieldnames)
            flat = self._flat_answer(answer)
            self.writer.fieldnames = [*self.writer.fieldnames, *flat]
            self.writer.writeheader()
        cells = {name: _cell(value) for name, value in _without_bytes(row).items()}
        cells |= self._flat_answer(answer)
        self.writer.writerow({name: self._safe(value) for name, value in cells.items()})

    def close(self) -> None:
        if not self.names:  # no rows: the header says what there would be
            self.writer.writeheader()

    def _flat_answer(self, answer: Answer) -> dict[str, Any]:
        flat: dict[str, Any] = {}
        for key, value in answer.items():
            flat |= _flat(self.names[key], value)
        return flat

    def _safe(self, value: Any) -> Any:
        return quoted_formula(value) if self.excel_safe else value


def _flat(name: str, value: Any) -> dict[str, Any]:
    """Give each label of a mapping a column of its own: `probabilities:pos`."""
    if isinstance(value, dict):
        return {f"{name}:{label}": _cell(part) for label, part in value.items()}
    return {name: _cell(value)}


def _without_bytes(value: Any) -> Any:
    """Return a cell, or a row of them, without the bytes of files: they are no text to write."""
    if isinstance(value, Mapping):
        return {key: _without_bytes(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_without_bytes(part) for part in value]
    return None if isinstance(value, bytes) else value


def _cell(value: Any) -> Any:
    """Write what is nested as JSON, which every column of several values is read from."""
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return value
