"""Rows from anywhere, under our names: read, checked, split, memory-mapped."""

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset

from tunesmith.data.cells import Source, canonical_rows, present_columns
from tunesmith.data.checks import (
    STRATA,
    Part,
    check_ids,
    check_same_source,
    contradictions,
    filtered,
    leaks,
)
from tunesmith.data.labels import LabelColumn, choose_names, spelling, unknown_labels
from tunesmith.data.locate import Opener, Reading, openers
from tunesmith.data.rows import NAMED, Column, Kind, Rows
from tunesmith.data.split import Cut, cut, sample
from tunesmith.data.store import key_of, schema_of, stored
from tunesmith.errors import ConfigError, DataError, TunesmithError, raise_all

log = logging.getLogger(__name__)

SPLITS = ("train", "validation", "test")
CHOICES = {
    "encoding_errors": ("strict", "replace"),
    "on_missing_label": ("error", "drop"),
    "on_empty_text": ("keep", "drop", "error"),
    "leakage": ("warn", "error", "ignore"),
}


def read(
    columns: Mapping[str, Column],
    *,
    train_file: str | None,
    validation_file: str | None,
    test_file: str | None,
    path: str | None,
    config: str | None,
    revision: str | None,
    splits: Mapping[str, str | None],
    names: Mapping[str, str | None],
    labels: Collection[str] | None,
    label_separator: str | None,
    sep: str | None,
    encoding: str,
    encoding_errors: str,
    limit: int | None,
    on_missing_label: str,
    on_empty_text: str,
    leakage: str,
    split: Mapping[str, Any],
    cache: Path,
    need_validation: bool = True,
    only: Collection[str] | None = None,
) -> Rows:
    """Read the splits under our column names; the options are the keys of `data`.

    `columns` is what the task reads, `names` what they and `id` are called in the source, `only`
    the splits to return: no file is opened that they do not need. Rows are stored below `cache`
    once per content and mapped into memory.
    Raises DataError for rows, ConfigError for options, MachineError for a missing package.
    """
    how = Cut(**split)
    asked = {
        "encoding_errors": encoding_errors,
        "on_missing_label": on_missing_label,
        "on_empty_text": on_empty_text,
        "leakage": leakage,
    }
    raise_all(how.mistakes() + wrong_choices(asked) + wrong_limit(limit))
    wanted = [name for name in SPLITS if only is None or name in only]
    reading = Reading(sep, encoding, encoding_errors)
    files = {"train": train_file, "validation": validation_file, "test": test_file}
    found = openers(files, path, config, revision, splits, reading)
    to_cut = splits_to_cut(found, how)
    check_validation(found, to_cut, need_validation and "validation" in wanted)
    target = next((name for name, column in columns.items() if column.target), None)
    kind = columns[target].kind if target is not None else None
    given = [str(name) for name in labels] if labels is not None else None
    named = given is not None or kind not in NAMED
    sources = opened(sources_needed(wanted, found, to_cut, named), found)
    if leakage != "ignore":
        raise_all(check_same_source(sources))
    chosen = choose(sources, columns, {name: names[name] for name in [*columns, "id"]})
    strata = strata_of(how, columns, names["label"], sources)
    if strata is not None:
        chosen["train"][STRATA] = strata
    parts = store_all(sources, columns, chosen, label_separator, reading, cache)
    work = Work(target, kind, given, wanted)
    parts = work.without_gaps(parts, on_missing_label, on_empty_text)
    parts = work.divided(parts, how, to_cut)
    work.check_labels(parts)
    parts = {name: part for name, part in parts.items() if name in wanted}
    work.check_copies(parts, leakage)
    options = [asdict(how), to_cut, chosen, label_separator, work.names, limit, asdict(reading)]
    options += [{name: c.kind for name, c in columns.items()}, on_missing_label, on_empty_text]
    return Rows(
        splits={name: work.finished(p, name, limit, how.seed) for name, p in parts.items()},
        labels=work.names,
        fingerprint=key_of({name: s.identity for name, s in sources.items()}, options),
        notes=work.notes,
        hidden_labels=frozenset(work.hidden & set(parts)),
    )


def wrong_choices(asked: Mapping[str, str]) -> list[TunesmithError]:
    return [
        ConfigError("CONF-VALUE", f"data.{key}={value}", f"one of {', '.join(CHOICES[key])}")
        for key, value in asked.items()
        if value not in CHOICES[key]
    ]


def wrong_limit(limit: int | None) -> list[TunesmithError]:
    if limit is None or limit >= 1:
        return []
    return [ConfigError("CONF-RANGE", f"data.limit={limit}", "must be >= 1")]


def splits_to_cut(found: Mapping[str, Opener], how: Cut) -> dict[str, bool]:
    """Tell of "validation" and "test" whether they are cut from train."""
    if how.folds is not None and "validation" in found:
        what = "folds cut validation from train, but the source has a validation split"
        fix = "set data.splits.validation=null and data.validation_file=null"
        raise ConfigError("CONF-SPLIT", f"data.split.folds={how.folds}", what, fix)
    validation = how.validation > 0 or how.folds is not None
    return {
        "validation": "validation" not in found and validation,
        "test": "test" not in found and how.test > 0,
    }


def check_validation(found: Mapping[str, Opener], to_cut: Mapping[str, bool], need: bool) -> None:
    if need and "validation" not in found and not to_cut["validation"]:
        what = "no validation split, and none is cut from train"
        raise DataError("DATA-SPLIT", "data", what, "set data.split.validation=0.1")


def sources_needed(
    wanted: Collection[str], found: Mapping[str, Opener], to_cut: Mapping[str, bool], named: bool
) -> list[str]:
    """Return the splits to open. Unless the labels are named, only train can tell them."""
    cutting = any(to_cut.get(name, False) for name in wanted)
    train = "train" in wanted or cutting or not named
    if train and "train" not in found:
        raise DataError("DATA-SPLIT", "data", "no train split to read", "set data.train_file")
    needed = {name for name in wanted if name in found} | ({"train"} if train else set())
    return [name for name in SPLITS if name in needed]


def opened(names: Collection[str], found: Mapping[str, Opener]) -> dict[str, Source]:
    """Open the sources, and say of all at once what is wrong with them."""
    sources: dict[str, Source] = {}
    errors: list[TunesmithError] = []
    for name in names:
        try:
            sources[name] = found[name]()
        except DataError as error:
            errors.append(error)
    raise_all(errors)
    return sources


def choose(
    sources: Mapping[str, Source],
    columns: Mapping[str, Column],
    names: Mapping[str, str | None],
) -> dict[str, dict[str, str]]:
    """Return {split: {our column: the source's}}; all that is missing is said at once."""
    errors: list[TunesmithError] = [
        ConfigError("CONF-MISSING", f"data.{c}=null", "the task needs this column; give its name")
        for c, column in columns.items()
        if column.required and names[c] is None
    ]
    chosen = {}
    for split, source in sources.items():
        try:
            chosen[split] = present_columns(source, columns, names, sealed=split == "test")
        except TunesmithError as error:
            errors.extend(getattr(error, "errors", [error]))
    raise_all(errors)
    return chosen


def strata_of(
    how: Cut,
    columns: Mapping[str, Column],
    label: str | None,
    sources: Mapping[str, Source],
) -> str | None:
    """Return the label column by which rows are stratified although the task reads no label.

    So a task on texts alone cuts a source as classification does: nobody's test texts are its
    train texts.
    """
    cut_here = how.method == "stratified" and "train" in sources and "label" not in columns
    return label if cut_here and label in sources["train"].columns else None


def store_all(
    sources: Mapping[str, Source],
    columns: Mapping[str, Column],
    chosen: Mapping[str, Mapping[str, str]],
    separator: str | None,
    reading: Reading,
    cache: Path,
) -> dict[str, Part]:
    """Store each source's rows, or open what is stored; all broken files are said at once."""
    parts: dict[str, Part] = {}
    errors: list[TunesmithError] = []
    for split, source in sources.items():
        schema = schema_of(columns, chosen[split])
        format_ = [Path(source.name).suffix, source.columns, source.classes, asdict(reading)]
        key = key_of(source.identity, str(schema), chosen[split], separator, format_)
        rows = canonical_rows(source, columns, chosen[split], separator)
        try:
            data = stored(rows, schema, key, cache)
            if not len(data):
                headed = source.in_lines and not source.name.lower().endswith(".txt")
                header = "header but 0 rows" if headed else "0 rows"
                raise DataError("DATA-EMPTY", source.name, header)
            parts[split] = Part(source, data, np.arange(len(data)))
        except DataError as error:
            errors.append(error)
    raise_all(errors)
    return parts


class Work:
    """What is found out about the splits on the way from stored rows to the finished ones."""

    def __init__(
        self,
        target: str | None,
        kind: Kind | None,
        given: list[str] | None,
        wanted: Collection[str],
    ) -> None:
        self.target, self.kind, self.wanted = target, kind, wanted
        self.names = given if kind in NAMED else None
        self.notes: list[str] = []
        self.hidden: set[str] = set()
        self.labels: dict[str, LabelColumn] = {}  # by split
        self.spell: dict[str, Callable[[str], str]] = {}

    def note(self, notes: Collection[str]) -> None:
        for text in notes:
            self.notes.append(text)
            log.warning("%s", text)

    def without_gaps(
        self, parts: Mapping[str, Part], on_missing_label: str, on_empty_text: str
    ) -> dict[str, Part]:
        """Leave out rows without a label or a text, as the options say; check ids."""
        left: dict[str, Part] = {}
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

    def missing_labels(self, part: Part, split: str) -> np.ndarray:
        """Return which rows (N,) of the source have no label; none where all are withheld."""
        none = np.zeros(len(part.data), dtype=bool)
        if self.target is None or self.kind is None:
            return none
        if self.target not in part.data.features:
            return self.hide(split, none)
        column = part.data.data.column(self.target)
        if self.kind not in (*NAMED, Kind.NUMBER):  # a text of its own, spans
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
        self, parts: Mapping[str, Part], how: Cut, to_cut: Mapping[str, bool]
    ) -> dict[str, Part]:
        """Cut from train what the source does not give; an empty split is an error."""
        if not any(to_cut.values()) or "train" not in parts:
            return dict(parts)
        train = parts["train"]
        labelled = self.kind in (Kind.CLASS, Kind.CLASSES)
        labels = self.labels["train"].joined(train.rows) if labelled else train.strata()
        # Texts that differ only in case and spaces are copies too: they share a split.
        pieces, notes = cut(train.column("_loose"), labels, how, to_cut)
        self.note(notes)
        for split, rows in pieces.items():
            if not len(rows):
                what = f"{split} has 0 of the {len(train.rows)} rows of {train.source.name}"
                fix = "more rows, or another data.split"
                raise DataError("DATA-EMPTY", "", what, fix)
            if self.labels:
                self.labels[split] = self.labels["train"]
        return dict(parts) | {name: train.keep(rows) for name, rows in pieces.items()}

    def check_labels(self, parts: Mapping[str, Part]) -> None:
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

    def check_copies(self, parts: Mapping[str, Part], leakage: str) -> None:
        """Warn of the same text in two splits, and of texts under two labels."""
        found = leaks(parts) if leakage != "ignore" else []
        if leakage == "error":
            raise_all(DataError("DATA-LEAK", "", leak) for leak in found)
        self.note([f"{leak}; data.leakage=error refuses" for leak in found])
        for split, part in parts.items():
            if split in self.labels and split not in self.hidden:
                self.note(contradictions(part, split, self.labels[split]))

    def finished(self, part: Part, split: str, limit: int | None, seed: int) -> Dataset:
        """Return the rows of a split, with the labels' final names and our columns only."""
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
        return data.select(part.rows[sample(part.column("_text"), limit, seed)])
