"""From stored rows to finished ones, a frozen value per step.

Complete (each row has what the task needs) -> Divided (who trains, validates, tests) ->
Labeled (the labels have their names) -> the rows of a split.
"""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow
from datasets import Dataset

from tunesmith.data.columns import NAMED, Column, ColumnType
from tunesmith.data.lazy_rows import values_of
from tunesmith.data.options import DataOptions
from tunesmith.data.prepare.few_shot import counts, sample_per_class
from tunesmith.data.prepare.label_column import KnownLabels, LabelColumn
from tunesmith.data.prepare.labels import (
    choose_names,
    differ_in_case,
    indices_note,
    is_indices,
    spelling,
    unknown_labels,
)
from tunesmith.data.prepare.quality import SplitRows, check_ids, conflicting_labels, filtered, leaks
from tunesmith.data.prepare.split import sample, split_rows
from tunesmith.data.row_hashes import hash_of_rows
from tunesmith.errors import DataError, TunesmithError, raise_all

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Target:
    """The column that is to be predicted, and what its cells are; None where there is none."""

    name: str | None
    kind: ColumnType | None

    @classmethod
    def of(cls, columns: Mapping[str, Column]) -> "Target":
        name = next((name for name, column in columns.items() if column.target), None)
        return cls(name, columns[name].kind if name is not None else None)


@dataclass(frozen=True)
class Complete:
    """Rows that have a label and a text, as the options say."""

    parts: Mapping[str, SplitRows]  # by split, as all that follows
    labels: Mapping[str, LabelColumn]
    hidden: frozenset[str]  # splits whose labels are withheld
    notes: tuple[str, ...]  # warnings, already logged


@dataclass(frozen=True)
class Divided(Complete):
    """Rows of the splits that there are to be."""


@dataclass(frozen=True)
class Labeled(Divided):
    """Rows whose labels have their names."""

    names: Sequence[str] | None = None  # None: numbers, or nothing to predict
    spell: Mapping[str, Callable[[str], str]] = field(default_factory=dict)  # label -> its name


def known_labels(options: DataOptions, of_run: Sequence[str] | None) -> KnownLabels:
    """Return the labels that the options declare, else those of a finished run."""
    if options.labels is not None:
        return KnownLabels([str(name) for name in options.labels], True)
    return KnownLabels(of_run, False)


def without_gaps(
    parts: Mapping[str, SplitRows], target: Target, options: DataOptions, known: KnownLabels
) -> Complete:
    """Leave out rows without a label or a text, as the options say; check ids."""
    left: dict[str, SplitRows] = {}
    labels: dict[str, LabelColumn] = {}
    notes: list[str] = []
    errors: list[TunesmithError] = []
    hidden = set()
    for split, part in parts.items():
        try:
            missing, found = _missing_labels(part, split, target, known)
            if found is not None:
                labels[split] = found
                notes += noted(_bio_notes(part, found, target.kind))
                if split == "train" and known.names is None and target.kind is not None:
                    known = KnownLabels(_classes(found), False)
                    notes += noted(_minus_one_notes(part, found, target.kind))
            if missing is None:
                hidden.add(split)
                notes += noted(
                    [f"{split} has hidden labels (-1 or none): predict only, not evaluate"]
                )
                missing = np.zeros(len(part.data), dtype=bool)
            left[split], said = filtered(
                part, split, missing, options.on_missing_label, options.on_empty_text
            )
            check_ids(left[split])
            notes += noted(said)
        except DataError as error:
            errors.append(error)
    raise_all(errors)
    return Complete(left, labels, frozenset(hidden), tuple(notes))


def _classes(labels: LabelColumn) -> list[str]:
    """Return what occurs as a label; the mark of a hidden one is one too where others occur."""
    occurring = [labels.values[code] for code in np.unique(labels.codes[labels.codes >= 0])]
    return list(dict.fromkeys(label for value in occurring for label in value if label != "-100"))


def _bio_notes(part: SplitRows, labels: LabelColumn, kind: ColumnType | None) -> list[str]:
    if kind is not ColumnType.TAGS or not labels.is_changed:
        return []
    return [f"{part.source.name}: tags are IOB1 (I- begins an entity): read as BIO"]


def _minus_one_notes(part: SplitRows, labels: LabelColumn, kind: ColumnType) -> list[str]:
    """Say that -1 is taken for a class: it often marks rows whose labels are hidden."""
    marked = [code for code, value in enumerate(labels.values) if value in (("-1",), ("-1.0",))]
    count = int(np.isin(labels.codes, marked).sum())
    if kind is ColumnType.NUMBER or not count:
        return []
    what = f"label -1 is a class like others ({count} of {len(labels.codes)} rows)"
    return [f"{part.source.name}: {what}; data.labels without it makes it no label"]


def _missing_labels(
    part: SplitRows, split: str, target: Target, known: KnownLabels
) -> tuple[np.ndarray | None, LabelColumn | None]:
    """Return which rows (N,) of the source have no label, and the labels that have names.

    None for the rows where all labels are withheld.
    """
    if target.name is None or target.kind is None:
        return np.zeros(len(part.data), dtype=bool), None
    if target.name not in part.data.features:
        return None, None
    column = part.data.data.column(target.name)
    if target.kind not in (*NAMED, ColumnType.NUMBER):  # a text of its own, spans
        missing = column.is_null().to_numpy()
        return (None if missing.all() and split == "test" else missing), None
    labels = LabelColumn.of(column, target.kind)
    if target.kind is ColumnType.CLASSES:
        labels = labels.with_indicators(known, part.source)
    if target.kind is ColumnType.TAGS:
        labels = labels.in_bio()
    if part.source.is_text and target.kind is not ColumnType.NUMBER:
        labels = labels.without_nan(known)
    if labels.withheld(known):
        if split == "test":
            return None, None
        if labels.has_any():
            what = "no row has a usable label: all are withheld (-1)"
            raise DataError("DATA-LABEL", part.source.name, what, f"check data.{target.name}")
    if target.kind is ColumnType.NUMBER:
        return labels.codes < 0, labels
    return labels.missing(known), labels


def divided(
    complete: Complete, target: Target, options: DataOptions, to_make: Mapping[str, bool]
) -> Divided:
    """Cut from train what the source does not give; an empty split is an error."""
    known = Divided(**vars(complete))
    if not any(to_make.values()) or "train" not in complete.parts:
        return known
    train, labels = complete.parts["train"], dict(complete.labels)
    labelled = target.kind in (ColumnType.CLASS, ColumnType.CLASSES)
    strata = labels["train"].joined(train.rows) if labelled else train.strata()
    # Texts that differ only in case and spaces are copies too: they share a split, and so do
    # questions on one passage.
    pieces, notes = split_rows(train.groups(), strata, options.split, to_make)
    said = noted(notes)
    for split, rows in pieces.items():
        if not len(rows):
            what = f"{split} has 0 of the {len(train.rows)} rows of {train.source.name}"
            raise DataError("DATA-EMPTY", "", what, "more rows, or another data.split")
        if labels:
            labels[split] = labels["train"]
    parts = dict(complete.parts) | {name: train.keep(rows) for name, rows in pieces.items()}
    return replace(known, parts=parts, labels=labels, notes=(*known.notes, *said))


def labeled(
    rows: Divided,
    target: Target,
    options: DataOptions,
    requested: Collection[str],
    known: KnownLabels,
) -> Labeled:
    """Name the labels, by the train split alone unless they are known; refuse all others."""
    if target.kind not in NAMED or target.name is None:
        return Labeled(**vars(rows))
    found = {
        split: rows.labels[split].tally(part.rows, part.whole("_line"))
        for split, part in rows.parts.items()
        if split in rows.labels
    }
    source = rows.parts["train"].source if "train" in rows.parts else None
    order = source.classes.get(getattr(options, target.name)) if source is not None else None
    names = choose_names(known, found.get("train"), target.kind, source, order)
    of_train = KnownLabels(names, False) if known.names is None else known
    spell = {
        split: spelling(known if split == "train" else of_train, seen)
        for split, seen in found.items()
    }
    against, fix = _label_source(known, names)
    stratify = "data.split.method=stratified keeps each label in train"
    errors = [
        unknown_labels(
            seen,
            names,
            split,
            against,
            spell[split],
            rows.parts[split].source,
            stratify if split != "train" and rows.parts[split].source is source else fix,
        )
        for split, seen in found.items()
        if split in requested
    ]
    raise_all(error for error in errors if error is not None)
    notes = [indices_note(known, s, split) for split, s in found.items() if is_indices(known, s)]
    by_case = differ_in_case(names)
    notes += [by_case] if by_case is not None and known.names is None else []
    shown = ", ".join(f"{name}={i}" for i, name in enumerate(names[:20]))
    log.info("%d labels: %s", len(names), shown)
    said = {**vars(rows), "notes": (*rows.notes, *noted(notes))}
    return Labeled(**said, names=names, spell=spell)


def _label_source(known: KnownLabels, names: Sequence[str]) -> tuple[str, str]:
    """Return where the names of labels stand, and what to do about another label."""
    if known.declared:
        return "data.labels", ""
    if known.names is None:
        return "train", ""
    shown = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
    return "the run", f"its labels are {shown}"


def few(rows: Labeled, target: Target, options: DataOptions, requested: Collection[str]) -> Labeled:
    """Keep the requested splits, and of some a few rows of each class."""
    kept = {name: part for name, part in rows.parts.items() if name in requested}
    for split, count in counts(options).items():
        if split in kept:
            named = rows.labels[split].spelled(rows.spell[split], target.kind)
            classes = named.take(pyarrow.array(kept[split].rows)).to_pylist()
            draw = options.shot_seed or 0
            kept[split] = sample_per_class(
                kept[split], split, classes, rows.names or [], count, draw
            )
    return replace(rows, parts=kept)


def without_copies(rows: Labeled, leakage: str) -> Labeled:
    """Warn of the same text in two splits, or refuse it, and warn of texts under two labels."""
    found = leaks(rows.parts) if leakage != "ignore" else []
    if leakage == "error":
        raise_all(DataError("DATA-LEAK", "", leak) for leak in found)
    notes = noted([f"{leak}; data.leakage=error refuses" for leak in found])
    for split, part in rows.parts.items():
        if split in rows.labels and split not in rows.hidden:
            notes += noted(conflicting_labels(part, split, rows.labels[split]))
    return replace(rows, notes=(*rows.notes, *notes))


def finished(
    rows: Labeled, split: str, target: Target, options: DataOptions
) -> tuple[Dataset, str]:
    """Return the rows of a split, with the labels' final names and our columns only.

    The text returned with them is their hash.
    """
    part, name = rows.parts[split], target.name or ""
    data, spell = part.data, rows.spell.get(split, str)
    if split in rows.hidden and name in data.column_names:
        data = data.remove_columns(name)
    elif spell is not str or (split in rows.labels and rows.labels[split].is_changed):
        named = rows.labels[split].spelled(spell, target.kind)
        feature = data.features[name]
        data = data.remove_columns(name).add_column(name, named.to_pylist(), feature=feature)
    data = data.remove_columns([c for c in data.column_names if c.startswith("_")])
    chosen = part.rows[sample(part.column("_text"), options.limit, options.split.seed)]
    answers = values_of(data, name, chosen) if name in data.column_names else ()
    return data.select(chosen), hash_of_rows(part.whole("_text")[chosen], answers)


def noted(notes: Sequence[str]) -> list[str]:
    """Warn of each; return them for who asks later."""
    for text in notes:
        log.warning("%s", text)
    return list(notes)
