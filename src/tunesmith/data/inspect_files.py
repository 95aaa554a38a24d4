"""What files hold, as they would be read: columns, labels, lengths, and the command to train."""

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from tunesmith.data.prepare.labels import NUMERIC
from tunesmith.data.prepare.parse_cells import INTEGRAL, is_nothing, list_in, spelled
from tunesmith.data.sources import csv
from tunesmith.data.sources.file_layout import FileFormat, FileLayout, layout_of
from tunesmith.data.sources.files import columns_of, readable, stream

FEW = 50  # different values that a column may have to be one of labels
KEPT = 1000  # different values that are counted
LABEL_NAMES = (
    "label",
    "labels",
    "class",
    "category",
    "target",
    "tag",
    "tags",
    "sentiment",
    "answer",
)
SPLIT_WORDS = {"validation": ("valid", "val", "dev"), "test": ("test",)}


@dataclass
class ColumnSummary:
    """What the cells of a column are, over all rows."""

    name: str
    kind: str = "empty"  # text, number, list of texts, list of numbers, object, bytes, mixed
    missing: int = 0
    examples: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)  # of the first KEPT different values
    words: list[int] = field(default_factory=list)  # per cell that is a text, or a list
    kinds: set[str] = field(default_factory=set)

    def add(self, cell: Any) -> None:
        if is_nothing(cell) or cell == "":
            return
        self.kinds.add(_kind_of(cell))
        values = cell if isinstance(cell, list) else [cell]
        self.words.append(len(values) if isinstance(cell, list) else len(str(cell).split()))
        for value in values:
            shown = spelled(value) if isinstance(value, bool) else str(value)
            if shown in self.counts or len(self.counts) < KEPT:
                self.counts[shown] += 1
        if len(self.examples) < 2:
            self.examples.append(str(cell))

    def finish(self, rows: int) -> None:
        """Name the kind of all cells (numbers and texts are texts); the others are missing."""
        self.missing = rows - len(self.words)
        kinds = self.kinds
        if len(kinds) == 1:
            self.kind = next(iter(kinds))
        elif kinds:
            self.kind = "text" if kinds <= {"text", "number"} else "mixed"

    @property
    def is_of_labels(self) -> bool:
        """Whether few values come again and again."""
        return 1 < len(self.counts) <= FEW and len(self.counts) <= max(2, len(self.words) / 3)

    @property
    def is_integral(self) -> bool:
        return all(INTEGRAL.fullmatch(value) for value in self.counts)

    @property
    def mean_words(self) -> float:
        return float(np.mean(self.words)) if self.words else 0.0


@dataclass(frozen=True)
class FileSummary:
    """A file as it would be read."""

    path: Path
    layout: FileLayout
    rows: int
    columns: Mapping[str, ColumnSummary]

    @property
    def split(self) -> str:
        """The split that the file's name says it is of; train where it says none."""
        name = self.path.name.lower()
        found = (s for s, words in SPLIT_WORDS.items() if any(word in name for word in words))
        return next(found, "train")


def summarize(path: Path, form: FileFormat) -> FileSummary:
    """Read a file once; its rows are counted, not kept. Raises DataError as a training would."""
    path = readable(path)
    layout = layout_of(path, form)
    if layout.first_rows:  # read as the fix would read it: the first row is one of data
        names = csv.suggested_names(layout.first_rows, "text", "label", "text_pair")
        form = replace(form, header="none", column_names=tuple(names))
        guess = f"the first row looks like data: {csv.header_options(names)}"
        layout = layout_of(path, form)
        layout = replace(layout, guesses=(*layout.guesses, guess))
    columns = {name: ColumnSummary(name) for name in columns_of(path, form)}
    count = 0
    for _, row in stream(path, form):
        count += 1
        for name, cell in row.items():  # of json lines a later row may have other keys
            columns.setdefault(name, ColumnSummary(name)).add(cell)
    for column in columns.values():
        column.finish(count)
    return FileSummary(path, layout, count, columns)


def _kind_of(cell: Any) -> str:
    if isinstance(cell, str):
        if list_in(cell) is not None:
            return "list in a text"
        return "number" if NUMERIC.fullmatch(cell.strip()) else "text"
    if isinstance(cell, list):
        inner = {_kind_of(value) for value in cell} or {"text"}
        return f"list of {next(iter(inner))}s" if len(inner) == 1 else "list"
    if isinstance(cell, bool | int | float):
        return "number"
    return "bytes" if isinstance(cell, bytes) else "object"


# The command


def command(
    files: Sequence[FileSummary], defaults: Mapping[str, Any], options: Sequence[str] = ()
) -> str:
    """Return the command that trains on these files; the one that is no other split is train's.

    `defaults` are those of `data`: what they say already is not written.
    """
    by_split: dict[str, FileSummary] = {}
    for file in files:
        by_split.setdefault(file.split if file.split not in by_split else "train", file)
    train = by_split.get("train", files[0])
    parts = ["tunesmith train data=files", *(shlex.quote(option) for option in options)]
    for split, file in ({"train": train} | by_split).items():
        if file is not train or split == "train":
            parts.append(shlex.quote(f"data.{split}_file={file.path}"))
    if train.layout.names is not None and not any("column_names" in o for o in options):
        parts.append(csv.header_options(train.layout.names))
    for key, value in task_options(train):
        if key == "task" or defaults.get(key.removeprefix("data.")) != value:
            parts.append(shlex.quote(f"{key}={value}"))
    if "validation" not in by_split:
        parts.append("data.split.validation=0.1")
    return " ".join(parts)


def task_options(file: FileSummary) -> Iterator[tuple[str, str]]:
    """Yield (key, value) of the options that name the task and its columns, as these look."""
    columns = file.columns
    if {"question", "context"} <= columns.keys():
        yield "task", "question_answering"
        return
    tags = _pair_of_lists(columns)
    if tags is not None:
        yield "task", "token_classification"
        yield from zip(("data.words", "data.tags"), tags, strict=True)
        if not all(tag == "O" or tag[1:2] == "-" for tag in columns[tags[1]].counts):
            yield "task.entities", "false"
        return
    texts = sorted(
        (c for c in columns.values() if c.kind == "text" and not c.is_of_labels),
        key=lambda column: -column.mean_words,
    )
    label = _label_column(columns, [text.name for text in texts[:1]])
    if label is None:
        if len(columns) == 1 and texts:
            yield "task", "mlm"
            yield "data.text", texts[0].name
        return
    if label.kind in ("list of texts", "list of numbers", "list in a text"):
        yield "task", "multi_label"
    elif label.kind == "number" and not (label.is_of_labels and label.is_integral):
        yield "task", "regression"
    text = next((text.name for text in texts if text.name != label.name), None)
    if text is not None:
        yield "data.text", "text" if "text" in columns else text
    if "text_pair" in columns:
        yield "data.text_pair", "text_pair"
    yield "data.label", label.name


def _pair_of_lists(columns: Mapping[str, ColumnSummary]) -> tuple[str, str] | None:
    """Return the columns of words and of their tags, which are lists of equal lengths."""
    lists = [c for c in columns.values() if c.kind in ("list of texts", "list in a text")]
    for words in lists:
        for tags in lists:
            are_parallel = words is not tags and words.words == tags.words
            if are_parallel and tags.is_of_labels and len(tags.counts) < len(words.counts):
                return words.name, tags.name
    return None


def _label_column(
    columns: Mapping[str, ColumnSummary], texts: Sequence[str]
) -> ColumnSummary | None:
    """Return the column that looks like labels: by its name, else by its values."""
    free = [c for c in columns.values() if c.name not in texts and c.kind not in ("empty", "bytes")]
    named = [c for c in free if c.name.lower() in LABEL_NAMES]
    return next(iter(named), None) or next((c for c in free if c.is_of_labels), None)
