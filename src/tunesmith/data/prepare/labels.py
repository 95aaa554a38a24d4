"""The names of the labels: read, sorted, spelled one way, and checked over the splits."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow
import pyarrow.compute

from tunesmith.data.columns import ColumnType
from tunesmith.data.prepare.normalize import RowSource
from tunesmith.errors import ConfigError, DataError

INTEGER = re.compile(r"[+-]?\d+")
INTEGRAL = re.compile(r"[+-]?\d+\.?0*")  # also 1.0
NUMERIC = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
WITHHELD = ("-1", "-1.0", "-100", "-100.0")  # as GLUE and torch mark a hidden label
MANY = (ColumnType.CLASSES, ColumnType.TAGS)  # several labels a row
BETWEEN = "\x1f"  # between the labels of a row, where they are compared as one

Spell = Callable[[str], str]


class Seen(NamedTuple):
    """How often a label occurs, and the number of its first row in its source."""

    rows: int
    first: int


@dataclass(frozen=True)
class LabelColumn:
    """The labels of N rows as codes, so that millions of them stay small."""

    codes: np.ndarray  # (N,) indices into `values`; -1: no label
    values: list[tuple[str, ...]]  # one label, or all the labels of a row

    @classmethod
    def of(cls, column: pyarrow.ChunkedArray, kind: ColumnType) -> "LabelColumn":
        if kind in MANY:
            column = pyarrow.compute.binary_join(column, BETWEEN)
        elif kind is ColumnType.NUMBER:
            column = column.cast(pyarrow.string())
        coded = column.combine_chunks().dictionary_encode()
        coded = coded.combine_chunks() if isinstance(coded, pyarrow.ChunkedArray) else coded
        codes = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        words = coded.dictionary.to_pylist()
        if kind in MANY:
            return cls(codes, [tuple(word.split(BETWEEN)) if word else () for word in words])
        return cls(codes, [(word,) for word in words])

    def missing(self, kind: ColumnType) -> np.ndarray:
        """Return which rows (N,) have no label; -100 is none either, except as a number."""
        ignored = [i for i, v in enumerate(self.values) if v in (("-100",), ("-100.0",))]
        ignored = [] if kind is ColumnType.NUMBER else ignored
        return (self.codes < 0) | np.isin(self.codes, ignored)

    def has_any(self) -> bool:
        return bool((self.codes >= 0).any())

    def withheld(self) -> bool:
        """Tell whether no row says its label: none at all, or -1 everywhere."""
        present = np.unique(self.codes[self.codes >= 0]).tolist()
        return all(self.values[code] in [(mark,) for mark in WITHHELD] for code in present)

    def joined(self, rows: np.ndarray) -> list[str]:
        """Return one text for the labels of each row, as stratification takes them."""
        words = [BETWEEN.join(value) for value in self.values]
        return [words[code] if code >= 0 else "" for code in self.codes[rows].tolist()]

    def tally(self, rows: np.ndarray, numbers: np.ndarray) -> dict[str, Seen]:
        """Count each label over `rows`; `numbers` (N,) say where rows stand in their source."""
        codes, first, counts = np.unique(self.codes[rows], return_index=True, return_counts=True)
        found: dict[str, Seen] = {}
        for code, at, count in zip(codes.tolist(), first.tolist(), counts.tolist(), strict=True):
            number = int(numbers[rows[at]])
            for label in dict.fromkeys(self.values[code] if code >= 0 else ()):
                old = found.get(label, Seen(0, number))
                found[label] = Seen(old.rows + count, min(old.first, number))
        return found

    def spelled(self, spell: Spell, kind: ColumnType | None) -> pyarrow.Array:
        """Return the column (N,) under the names that the model knows."""
        named = [tuple(map(spell, value)) for value in self.values]
        if kind is ColumnType.CLASSES:
            named = [tuple(dict.fromkeys(value)) for value in named]
        if kind in MANY:
            values = pyarrow.array([list(v) for v in named], pyarrow.list_(pyarrow.string()))
        else:
            values = pyarrow.array([v[0] for v in named], pyarrow.string())
        return values.take(pyarrow.array(self.codes, mask=self.codes < 0))


def choose_names(
    values: list[str] | None,
    train: Mapping[str, Seen] | None,
    kind: ColumnType,
    source: RowSource | None,
) -> list[str]:
    """Return the configured labels, else those of the train split, spelled one way and sorted.

    Raises DataError where those in train are of two kinds, or too few to tell apart.
    """
    least = 2 if kind is ColumnType.CLASS else 1
    if values is not None and (len(set(values)) < len(values) or len(values) < least):
        what = f"{len(values)} names, {len(set(values))} different; need >= {least}, all different"
        raise ConfigError("CONF-VALUE", "data.labels", what)
    if train is not None and source is not None:
        if values is None:
            check_one_kind(train, source)
        used = in_order({spelling(values, train)(label): seen for label, seen in train.items()})
        if len(used) < least:
            what = f"only label {used[0]!r} in train" if used else "no label in train"
            raise DataError("DATA-LABEL", source.name, f"{what}; need >= {least}")
        return values or used
    return values or []


def check_one_kind(train: Mapping[str, Seen], source: RowSource) -> None:
    place, where = source.line_of, source.name
    numbers = {label for label in train if NUMERIC.fullmatch(label)}
    words = set(train) - numbers
    if numbers and words:
        first = [min(kind, key=lambda label: train[label].first) for kind in (words, numbers)]
        text, number = (f"({label!r}, {place(train[label].first)})" for label in first)
        what = f"labels are text {text} and numbers {number}"
        raise DataError("DATA-LABEL", where, what, "name all in data.labels if both are meant")
    broken = [label for label in numbers if not INTEGRAL.fullmatch(label)]
    if broken:
        label = min(broken, key=lambda label: train[label].first)
        what = f"label {label!r} ({place(train[label].first)}) is a fraction, not a class"
        raise DataError("DATA-LABEL", where, what, "set task=regression, or data.labels")


def spelling(names: Sequence[str] | None, labels: Mapping[str, Seen]) -> Spell:
    """Return how the labels found in a split are to be spelled.

    1.0 is 1 where all are integral. Where names are configured and all labels found are
    integers that could be their indices, they are.
    """
    if any(not INTEGRAL.fullmatch(label) for label in labels):
        return str
    if names is None:
        # "1" and "007" stay as they are; only a fraction of nothing is dropped.
        return without_fraction if any("." in label for label in labels) else str
    if all(label in names for label in labels):
        return str
    indices = {label: int(float(label)) for label in labels}
    if any(str(index) in names for index in indices.values()):
        return without_fraction
    if all(0 <= index < len(names) for index in indices.values()):
        return lambda label: names[indices[label]] if label in indices else label
    return without_fraction


def without_fraction(label: str) -> str:
    return label.partition(".")[0] if INTEGRAL.fullmatch(label) else label


def in_order(labels: Mapping[str, Seen]) -> list[str]:
    """Sort labels, by value where all are integers."""
    if all(INTEGRAL.fullmatch(label) for label in labels):
        return sorted(labels, key=lambda label: (float(label), label))
    return sorted(labels)


def unknown_labels(
    labels: Mapping[str, Seen],
    names: Sequence[str],
    split: str,
    against: str,
    spell: Spell,
    source: RowSource,
) -> DataError | None:
    """Return what to say of labels that the model will not know; None where there are none."""
    strange = {label: seen for label, seen in labels.items() if spell(label) not in names}
    if not strange:
        return None
    first = min(strange, key=lambda label: strange[label].first)
    many = "1 label" if len(strange) == 1 else f"{len(strange)} labels"
    total = sum(seen.rows for seen in strange.values())
    rows = "1 row" if total == 1 else f"{total} rows"
    what = f"{split} has {many} not in {against}: {first!r} "
    what += f"({rows}, first {source.line_of(strange[first].first)})"
    return DataError("DATA-LABEL", source.name, what)
