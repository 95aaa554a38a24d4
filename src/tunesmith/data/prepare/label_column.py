"""The labels of many rows as codes: how a cell's labels are read once the whole column is known."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pyarrow
import pyarrow.compute

from tunesmith.data.columns import ColumnType
from tunesmith.data.prepare.parse_cells import BITS, normal_form
from tunesmith.data.prepare.row_source import RowSource
from tunesmith.errors import DataError

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
