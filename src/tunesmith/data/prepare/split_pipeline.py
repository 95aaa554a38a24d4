"""From the stored rows of the sources to the finished rows of the splits."""

import logging
from collections.abc import Callable, Collection, Mapping

import numpy as np
import pyarrow
from datasets import Dataset

from tunesmith.data.columns import NAMED, ColumnType
from tunesmith.data.prepare.few_shot import FewShotSpec, sample_per_class
from tunesmith.data.prepare.labels import LabelColumn, choose_names, spelling, unknown_labels
from tunesmith.data.prepare.quality import SplitRows, check_ids, conflicting_labels, filtered, leaks
from tunesmith.data.prepare.split import SplitSpec, sample, split_rows
from tunesmith.data.row_hashes import hash_of_rows
from tunesmith.errors import DataError, TunesmithError, raise_all

log = logging.getLogger(__name__)


class SplitPipeline:
    """What is found out about the splits on the way from stored rows to the finished ones."""

    def __init__(
        self,
        target: str | None,
        kind: ColumnType | None,
        declared_labels: list[str] | None,
        requested: Collection[str],
    ) -> None:
        self.target, self.kind, self.wanted = target, kind, requested
        self.names = declared_labels if kind in NAMED else None
        self.notes: list[str] = []
        self.hidden: set[str] = set()
        self.labels: dict[str, LabelColumn] = {}  # by split
        self.spell: dict[str, Callable[[str], str]] = {}

    def note(self, notes: Collection[str]) -> None:
        for text in notes:
            self.notes.append(text)
            log.warning("%s", text)

    def without_gaps(
        self, parts: Mapping[str, SplitRows], on_missing_label: str, on_empty_text: str
    ) -> dict[str, SplitRows]:
        """Leave out rows without a label or a text, as the options say; check ids."""
        left: dict[str, SplitRows] = {}
        errors: list[TunesmithError] = []
        for split, part in parts.items():
            try:
                missing = self.missing_labels(part, split)
                left[split], notes = filtered(part, split, missing, on_missing_label, on_empty_text)
                check_ids(left[split])
                self.note(notes)
            except DataError as error:
                errors.append(error)
        raise_all(errors)
        return left

    def missing_labels(self, part: SplitRows, split: str) -> np.ndarray:
        """Return which rows (N,) of the source have no label; none where all are withheld."""
        none = np.zeros(len(part.data), dtype=bool)
        if self.target is None or self.kind is None:
            return none
        if self.target not in part.data.features:
            return self.hide(split, none)
        column = part.data.data.column(self.target)
        if self.kind not in (*NAMED, ColumnType.NUMBER):  # a text of its own, spans
            missing = column.is_null().to_numpy()
            return self.hide(split, none) if missing.all() and split == "test" else missing
        labels = LabelColumn.of(column, self.kind)
        if labels.withheld():
            if split == "test":
                return self.hide(split, none)
            if labels.has_any():
                what = "no row has a usable label: all are withheld (-1)"
                raise DataError("DATA-LABEL", part.source.name, what, f"check data.{self.target}")
        self.labels[split] = labels
        return labels.missing(self.kind)

    def hide(self, split: str, missing: np.ndarray) -> np.ndarray:
        self.hidden.add(split)
        self.note([f"{split} has hidden labels (-1 or none): predict only, not evaluate"])
        return missing

    def divided(
        self, parts: Mapping[str, SplitRows], options: SplitSpec, to_make: Mapping[str, bool]
    ) -> dict[str, SplitRows]:
        """Cut from train what the source does not give; an empty split is an error."""
        if not any(to_make.values()) or "train" not in parts:
            return dict(parts)
        train = parts["train"]
        labelled = self.kind in (ColumnType.CLASS, ColumnType.CLASSES)
        labels = self.labels["train"].joined(train.rows) if labelled else train.strata()
        # Texts that differ only in case and spaces are copies too: they share a split.
        pieces, notes = split_rows(train.column("_loose"), labels, options, to_make)
        self.note(notes)
        for split, rows in pieces.items():
            if not len(rows):
                what = f"{split} has 0 of the {len(train.rows)} rows of {train.source.name}"
                fix = "more rows, or another data.split"
                raise DataError("DATA-EMPTY", "", what, fix)
            if self.labels:
                self.labels[split] = self.labels["train"]
        return dict(parts) | {name: train.keep(rows) for name, rows in pieces.items()}

    def check_labels(self, parts: Mapping[str, SplitRows]) -> None:
        """Name the labels, by the train split alone unless configured; refuse all others."""
        if self.kind not in NAMED:
            return
        found = {
            split: self.labels[split].tally(part.rows, part.whole("_line"))
            for split, part in parts.items()
            if split in self.labels
        }
        against = "train" if self.names is None else "data.labels"
        given = self.names
        source = parts["train"].source if "train" in parts else None
        self.names = choose_names(given, found.get("train"), self.kind, source)
        for split, seen in found.items():
            # Without configured names all splits are spelled as train is.
            self.spell[split] = spelling(given, seen if given is not None else found["train"])
        raise_all(
            error
            for split, seen in found.items()
            if split in self.wanted
            and (
                error := unknown_labels(
                    seen, self.names, split, against, self.spell[split], parts[split].source
                )
            )
            is not None
        )
        shown = ", ".join(f"{name}={i}" for i, name in enumerate(self.names[:20]))
        log.info("%d labels: %s", len(self.names), shown)

    def few(self, parts: Mapping[str, SplitRows], shots: FewShotSpec) -> dict[str, SplitRows]:
        """Keep of some splits a few rows of each class, as the options say."""
        kept = dict(parts)
        for split in shots.counts.keys() & parts.keys():
            named = self.labels[split].spelled(self.spell[split], self.kind)
            labels = named.take(pyarrow.array(parts[split].rows)).to_pylist()
            kept[split] = sample_per_class(parts[split], split, labels, self.names or [], shots)
        return kept

    def check_copies(self, parts: Mapping[str, SplitRows], leakage: str) -> None:
        """Warn of the same text in two splits, and of texts under two labels."""
        found = leaks(parts) if leakage != "ignore" else []
        if leakage == "error":
            raise_all(DataError("DATA-LEAK", "", leak) for leak in found)
        self.note([f"{leak}; data.leakage=error refuses" for leak in found])
        for split, part in parts.items():
            if split in self.labels and split not in self.hidden:
                self.note(conflicting_labels(part, split, self.labels[split]))

    def finished(
        self, part: SplitRows, split: str, limit: int | None, seed: int
    ) -> tuple[Dataset, str]:
        """Return the rows of a split, with the labels' final names and our columns only.

        The text beside them is their hash.
        """
        data = part.data
        target = self.target or ""
        if split in self.hidden and target in data.column_names:
            data = data.remove_columns(target)
        elif split in self.spell and self.spell[split] is not str:
            named = self.labels[split].spelled(self.spell[split], self.kind)
            feature = data.features[target]
            data = data.remove_columns(target).add_column(
                target, named.to_pylist(), feature=feature
            )
        data = data.remove_columns([c for c in data.column_names if c.startswith("_")])
        chosen = part.rows[sample(part.column("_text"), limit, seed)]
        data = data.select(chosen)
        labels = data.select_columns(target) if target in data.column_names else None
        parts = labels.iter(10_000) if labels is not None else ()
        wanted = (label for batch in parts for label in batch[target])
        return data, hash_of_rows(part.whole("_text")[chosen], wanted)
