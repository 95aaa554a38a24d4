"""The names of the labels: read, sorted, spelled one way, and checked over the splits."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pyarrow
import pyarrow.compute

from tunesmith.data.columns import ColumnType
from tunesmith.data.prepare.normalize import RowSource
from tunesmith.data.prepare.parse_cells import BITS, INTEGRAL, normal_form
from tunesmith.errors import ConfigError, DataError

NUMERIC = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
WITHHELD = ("-1", "-100")  # as GLUE and torch mark a hidden label
NAN = ("nan", "NaN")  # in a file of texts alone
MANY = (ColumnType.CLASSES, ColumnType.TAGS)  # several labels a row
BETWEEN = "\x1f"  # between the labels of a row, where they are compared as one

Spell = Callable[[str], str]


class Seen(NamedTuple):
    """How often a label occurs, and the number of its first row in its source."""

    rows: int
    first: int


@dataclass(frozen=True)
class KnownLabels:
    """The names of the labels as they are known before a row is read."""

    names: Sequence[str] | None  # None: train tells
    declared: bool  # by the user, in this order: an integer may be a place in it

    def has(self, label: str) -> bool:
        return self.names is not None and normal_form(label) in map(normal_form, self.names)


@dataclass(frozen=True)
class LabelColumn:
    """The labels of N rows as codes, so that millions of them stay small."""

    codes: np.ndarray  # (N,) indices into `values`; -1: no label
    values: list[tuple[str, ...]]  # one label, or all the labels of a row
    is_changed: bool = False  # `values` are no longer what the stored rows hold

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

    def with_indicators(self, known: KnownLabels, source: RowSource) -> "LabelColumn":
        """Read rows of noughts and ones, all equally long, as which of the declared labels hold.

        Raises DataError where nobody declared as many labels. Other rows lose their repeats.
        """
        rows = [value for value in self.values if value]
        lengths = {len(value) for value in rows}
        bits = all(normal_form(label) in BITS for value in rows for label in value)
        declared = known.names if known.declared else None
        if not bits or len(lengths) != 1 or lengths == {1} != {len(declared or ())}:
            unique = [tuple(dict.fromkeys(value)) for value in self.values]
            return replace(self, values=unique, is_changed=unique != self.values)
        size = lengths.pop()
        if declared is None or len(declared) != size:
            count = "" if declared is None else f", and data.labels has {len(declared)}"
            what = f"each row has {size} labels 0 or 1, as an indicator per label{count}"
            raise DataError("DATA-LABEL", source.name, what, "name all in data.labels, in order")
        held = [
            tuple(n for n, bit in zip(declared, value, strict=False) if BITS[normal_form(bit)])
            for value in self.values
        ]
        return replace(self, values=held, is_changed=True)

    def in_bio(self) -> "LabelColumn":
        """Return tags of IOB1, where I- may begin an entity, as BIO; all other tags as they are.

        In IOB1 (CoNLL-2003 as published) B- stands only between two entities of one type.
        """
        tags = {tag for value in self.values for tag in value}
        if not all(tag == "O" or tag[:2] in ("B-", "I-") for tag in tags):
            return self
        pairs = [
            (before, tag)
            for value in self.values
            for before, tag in zip(("O", *value), value, strict=False)
        ]
        begins = [(before, tag) for before, tag in pairs if before[2:] != tag[2:] or before == "O"]
        if any(tag.startswith("B-") for _, tag in begins) or not any(
            tag.startswith("I-") for _, tag in begins
        ):
            return self
        return replace(self, values=[_begun(value) for value in self.values], is_changed=True)

    def without_nan(self, known: KnownLabels) -> "LabelColumn":
        """Take the text "nan" for no label, as csv files have it, unless a label is called so."""
        nothing = [
            code
            for code, value in enumerate(self.values)
            if len(value) == 1 and value[0] in NAN and not known.has(value[0])
        ]
        return replace(self, codes=np.where(np.isin(self.codes, nothing), -1, self.codes))

    def missing(self, known: KnownLabels) -> np.ndarray:
        """Return which rows (N,) have no label: -100 is none, and -1 where labels have names."""
        marks = [*WITHHELD] if known.names is not None else ["-100"]
        ignored = [code for code in range(len(self.values)) if self._is_mark(code, marks, known)]
        return (self.codes < 0) | np.isin(self.codes, ignored)

    def _is_mark(self, code: int, marks: Collection[str], known: KnownLabels) -> bool:
        value = self.values[code]
        return len(value) == 1 and normal_form(value[0]) in marks and not known.has(value[0])

    def has_any(self) -> bool:
        return bool((self.codes >= 0).any())

    def withheld(self, known: KnownLabels) -> bool:
        """Tell whether no row says its label: none at all, or the mark of none everywhere."""
        present = np.unique(self.codes[self.codes >= 0]).tolist()
        return all(self._is_mark(code, WITHHELD, known) for code in present)

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


def _begun(tags: tuple[str, ...]) -> tuple[str, ...]:
    """Write B- where an entity begins; after another one of its type it is there already."""
    return tuple(
        f"B-{tag[2:]}" if tag.startswith("I-") and before[2:] != tag[2:] else tag
        for before, tag in zip(("O", *tags), tags, strict=False)
    )


def choose_names(
    known: KnownLabels,
    train: Mapping[str, Seen] | None,
    kind: ColumnType,
    source: RowSource | None,
    order: Sequence[str] | None,
) -> list[str]:
    """Return the known labels, else those of the train split, spelled one way and sorted.

    `order` is that of the source, where it has one. Raises DataError where those in train are of
    two kinds, look alike, or are too few to tell apart.
    """
    least = 2 if kind is ColumnType.CLASS else 1
    values = list(known.names) if known.names is not None else None
    if values is not None and (len(set(values)) < len(values) or len(values) < least):
        what = f"{len(values)} names, {len(set(values))} different; need >= {least}, all different"
        raise ConfigError("CONF-VALUE", "data.labels", what)
    if train is not None and source is not None:
        if values is None:
            check_one_kind(train, source)
            refuse_look_alikes(train, source)
        spell = spelling(known, train)
        used = in_order({spell(label): seen for label, seen in train.items()})
        if len(used) < least:
            what = f"only label {used[0]!r} in train" if used else "no label in train"
            raise DataError("DATA-LABEL", source.name, f"{what}; need >= {least}")
        return values or ([name for name in order if name in used] if order else used)
    return values or []


def visible(label: str) -> str:
    """Return what one sees of a label: composed, without marks of no width, spaces as one."""
    composed = unicodedata.normalize("NFC", label)
    kept = [c for c in composed if unicodedata.category(c) not in ("Cf", "Cc")]
    return " ".join("".join(kept).split())


def refuse_look_alikes(labels: Mapping[str, Seen], source: RowSource) -> None:
    """Raise DataError for labels that differ, and by nothing that one can see."""
    alike: dict[str, list[str]] = defaultdict(list)
    for label in labels:
        alike[visible(label)].append(label)
    for group in alike.values():
        if len(group) > 1:
            group.sort(key=lambda label: labels[label].first)
            shown = " and ".join(
                f"{label!a} ({source.line_of(labels[label].first)})" for label in group[:2]
            )
            what = f"labels look the same and are not: {shown}"
            fix = "mend the file, or name all in data.labels if both are meant"
            raise DataError("DATA-LABEL", source.name, what, fix)


def differ_in_case(names: Sequence[str]) -> str | None:
    """Return what to say of labels that differ in case alone; None where there are none."""
    by_case: dict[str, list[str]] = defaultdict(list)
    for name in names:
        by_case[" ".join(name.casefold().split())].append(name)
    pair = next((group for group in by_case.values() if len(group) > 1), None)
    return f"labels {pair[0]!r} and {pair[1]!r} differ in case alone" if pair else None


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


def spelling(known: KnownLabels, labels: Mapping[str, Seen]) -> Spell:
    """Return how the labels found in a split are to be spelled.

    A number or a truth value of several spellings (1, 1.0) has that of the known names; without
    any, 1.0 is 1 where all are integral. Where the user declared the names, and all labels found
    are integers that are none of them but could be their indices, they are.
    """
    integral = all(INTEGRAL.fullmatch(label) for label in labels)
    if known.names is None:
        # "1" and "007" stay as they are; only a fraction of nothing is dropped.
        return normal_form if integral and any("." in label for label in labels) else str
    names = known.names
    if all(label in names for label in labels):
        return str
    if is_indices(known, labels):
        return lambda label: names[int(float(label))] if INTEGRAL.fullmatch(label) else label
    one_spelling: dict[str, list[str]] = defaultdict(list)
    for name in names:
        one_spelling[normal_form(name)].append(name)
    ours = {spelled: theirs[0] for spelled, theirs in one_spelling.items() if len(theirs) == 1}
    return lambda label: label if label in names else ours.get(normal_form(label), label)


def is_indices(known: KnownLabels, labels: Mapping[str, Seen]) -> bool:
    """Tell whether the labels of a split are places in the names that the user declared."""
    if not known.declared or known.names is None or not labels:
        return False
    return all(
        INTEGRAL.fullmatch(label)
        and not known.has(label)
        and 0 <= int(float(label)) < len(known.names)
        for label in labels
    )


def indices_note(known: KnownLabels, labels: Mapping[str, Seen], split: str) -> str:
    """Say which names the integers of a split were taken for."""
    names, indices = known.names or (), sorted({int(float(label)) for label in labels})
    shown = ", ".join(f"{index} is {names[index]}" for index in indices[:5])
    more = ", …" if len(indices) > 5 else ""
    return f"{split}: integers are places in data.labels, from 0: {shown}{more}"


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
    fix: str = "",
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
    alike = next((name for name in names if visible(name) == visible(first)), None)
    if alike is not None:
        what += f"; it looks like {alike!a} and is {first!a}"
    return DataError("DATA-LABEL", source.name, what, fix)
