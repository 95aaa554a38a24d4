"""What is odd about the rows of the splits: copies, conflicting_labels, empty texts, ids."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pyarrow
from datasets import Dataset

from tunesmith.data.prepare.label_column import LabelColumn
from tunesmith.data.prepare.normalize import HAS_EMPTY, HAS_NUL, IS_MISPLACED, misplaced
from tunesmith.data.prepare.row_source import RowSource
from tunesmith.data.row_hashes import digest
from tunesmith.errors import DataError

GROUP = "_group"  # our name for what rows have in common that share a split
STRATA = "_strata"  # our name for a label that rows are only cut by


@dataclass(frozen=True)
class SplitRows:
    """Some rows of a stored source: those that one split takes."""

    source: RowSource
    data: Dataset
    rows: np.ndarray  # indices into `data`, ascending

    def column(self, name: str) -> np.ndarray:
        """Return a column of numbers, of these rows."""
        return self.whole(name)[self.rows]

    def whole(self, name: str) -> np.ndarray:
        return self.data.data.column(name).to_numpy()

    def position_of(self, index: int) -> str:
        """Say where row `index` of the stored rows stands."""
        return self.source.line_of(int(self.data.data.column("_line")[index].as_py()))

    def strata(self) -> list[str] | None:
        """Return the labels of these rows by which they are cut, where the task reads none."""
        if STRATA not in self.data.column_names:
            return None
        return self.data.data.column(STRATA).take(self.rows).to_pylist()

    def groups(self) -> np.ndarray:
        """Return a hash (N,) for each of these rows, equal for those that must share a split.

        That of the group where the options name one, else that of the text.
        """
        if GROUP not in self.data.column_names:
            return self.column("_loose")
        coded = self.data.data.column(GROUP).combine_chunks().dictionary_encode()
        coded = coded.combine_chunks() if isinstance(coded, pyarrow.ChunkedArray) else coded
        hashes = np.array([digest(name) for name in coded.dictionary.to_pylist()], dtype=np.uint64)
        return hashes[coded.indices.to_numpy(zero_copy_only=False)[self.rows]]

    def keep(self, limit: np.ndarray) -> "SplitRows":
        return SplitRows(self.source, self.data, self.rows[limit])


def filtered(
    part: SplitRows, split: str, missing: np.ndarray, on_missing_label: str, on_empty_text: str
) -> tuple[SplitRows, list[str]]:
    """Drop or refuse rows without a label or a text; return the rest and what to warn of.

    `missing` (N,) tells which rows of the source have no label. An answer that is not in its
    context is none.
    """
    empty = (part.column("_flags") & HAS_EMPTY) > 0
    wrong = (part.column("_flags") & IS_MISPLACED) > 0
    lacking = missing[part.rows] | wrong
    notes = []
    if wrong.any() and on_missing_label == "error":
        raise with_misplaced(part, wrong)
    if lacking.any() and on_missing_label == "error":
        raise without_label(part, lacking)
    if empty.any() and on_empty_text == "error":
        what = f"{rows(empty.sum())} with empty text (first: {first(part, empty)})"
        fix = "data.on_empty_text=drop or keep"
        raise DataError("DATA-TEXT", part.source.name, what, fix)
    if empty.any() and on_empty_text == "keep":
        note = f"{rows(empty.sum())} with empty text (first: {first(part, empty)})"
        notes.append(f"{part.source.name}: {note}; data.on_empty_text=drop leaves them out")
    dropped = lacking | (empty if on_empty_text == "drop" else np.zeros_like(empty))
    if dropped.any():
        why = reasons(empty & dropped & ~lacking, lacking, on_empty_text)
        if dropped.all():
            what = f"0 of {len(dropped)} rows left after: {why}"
            raise DataError("DATA-EMPTY", split, what)
        notes.append(f"{split}: {dropped.sum()} of {len(dropped)} rows dropped: {why}")
    return part.keep(~dropped), notes + nul_notes(part)


def reasons(empty: np.ndarray, lacking: np.ndarray, on_empty_text: str) -> str:
    counts = {"empty text": int(empty.sum()), "missing label": int(lacking.sum())}
    return ", ".join(f"{why} {count}" for why, count in counts.items() if count)


def without_label(part: SplitRows, lacking: np.ndarray) -> DataError:
    what = f"{rows(lacking.sum())} without label (first: {first(part, lacking)})"
    fix = "drop with data.on_missing_label=drop"
    return DataError("DATA-LABEL", part.source.name, what, fix)


def with_misplaced(part: SplitRows, wrong: np.ndarray) -> DataError:
    index = int(part.rows[int(np.argmax(wrong))])
    answer = next(misplaced(part.data[index]))
    where = f"{part.position_of(index)}: {answer['text'][:40]!r} at {answer['start']}"
    what = f"{rows(wrong.sum())} with an answer that is not in the context there (first: {where})"
    return DataError("DATA-CELL", part.source.name, what, "drop with data.on_missing_label=drop")


def nul_notes(part: SplitRows) -> list[str]:
    nul = (part.column("_flags") & HAS_NUL) > 0
    if not nul.any():
        return []
    what = f"{rows(nul.sum())} with a NUL character (first: {first(part, nul)}), kept"
    return [f"{part.source.name}: {what}"]


def first(part: SplitRows, chosen: np.ndarray) -> str:
    return part.position_of(int(part.rows[int(np.argmax(chosen))]))


def rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"


def check_same_source(sources: Mapping[str, RowSource]) -> list[DataError]:
    """Find splits that are the same file, by content."""
    found = []
    for one, other in combinations(sources, 2):
        if sources[one].identity == sources[other].identity:
            sha = sources[one].identity[:8]
            what = f"{one} and {other} are the same file (sha {sha}…)"
            found.append(DataError("DATA-LEAK", "", what, "data.leakage=ignore allows it"))
    return found


def check_ids(part: SplitRows) -> None:
    """Refuse an id that occurs twice in a split."""
    if "_id" not in part.data.column_names:
        return
    ids = part.column("_id")
    values, counts = np.unique(ids, return_counts=True)
    if (counts == 1).all():
        return
    twice = np.isin(ids, values[counts > 1])
    same = part.rows[ids == ids[int(np.argmax(twice))]]
    name = part.data.data.column("id")[int(same[0])].as_py()
    places = f"{part.position_of(int(same[0]))} and {part.position_of(int(same[1])).split()[-1]}"
    more = f"; {(counts > 1).sum()} such ids" if (counts > 1).sum() > 1 else ""
    what = f"id {name!r} occurs {len(same)} times ({places}){more}"
    raise DataError("DATA-ID", part.source.name, what, "ids must be unique, or data.id=null")


def leaks(parts: Mapping[str, SplitRows]) -> list[str]:
    """Count the texts of a split that another one has, exactly or but for case and spaces."""
    found = []
    for one, other in combinations(parts, 2):
        exact = np.isin(parts[other].column("_text"), parts[one].column("_text"))
        loose = np.isin(parts[other].column("_loose"), parts[one].column("_loose"))
        if not loose.any():
            continue
        what = f"{loose.sum()} of {len(loose)} {other} texts are also in {one}"
        nearly = int((loose & ~exact).sum())
        but = f" ({nearly} of them but for case and spaces)" if nearly else ""
        found.append(f"{what}{but}, first: {first(parts[other], loose)}")
    return found


def conflicting_labels(part: SplitRows, split: str, labels: LabelColumn) -> list[str]:
    """Count texts that stand in a split under two labels."""
    texts = part.column("_text")
    codes = labels.codes[part.rows]
    order = np.lexsort((part.rows, codes, texts))
    texts, codes = texts[order], codes[order]
    differ = (texts[1:] == texts[:-1]) & (codes[1:] != codes[:-1])
    if not differ.any():
        return []
    count = len(np.unique(texts[1:][differ]))
    pairs = [sorted(map(int, part.rows[order[[i, i + 1]]])) for i in np.flatnonzero(differ)]
    one, other = min(pairs)
    names = [", ".join(labels.values[labels.codes[i]]) for i in (one, other)]
    many = "1 text has" if count == 1 else f"{count} texts have"
    two = "two labels" if all(len(value) == 1 for value in labels.values) else "two sets of labels"
    what = f"{split}: {many} {two}, first: {names[0]!r} ({part.position_of(one)})"
    return [f"{what} and {names[1]!r} ({part.position_of(other)})"]
