"""Rows from anywhere, under our names: read, checked, split, memory-mapped."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tunesmith.data.cache import key_of
from tunesmith.data.cached_splits import cache_splits, media_folders
from tunesmith.data.columns import NAMED, Column, ColumnType, Rows, SourceName
from tunesmith.data.opening import (
    SPLITS,
    check_validation,
    find_splits,
    open_sources,
    sources_needed,
)
from tunesmith.data.prepare.few_shot import FewShotSpec
from tunesmith.data.prepare.languages import Wanted, languages_by_split, only_languages
from tunesmith.data.prepare.normalize import RowSource, present_columns
from tunesmith.data.prepare.quality import STRATA, SplitRows, check_same_source
from tunesmith.data.prepare.split import SplitSpec
from tunesmith.data.prepare.split_pipeline import SplitPipeline
from tunesmith.data.sources.csv import QUOTING
from tunesmith.data.sources.resolve import FileFormat, split_openers
from tunesmith.errors import ConfigError, TunesmithError, raise_all

CHOICES = {
    "quoting": QUOTING,
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
    names: Mapping[str, SourceName | None],
    media: str | None,
    languages: Sequence[str] | None,
    train_languages: Sequence[str] | None,
    validation_languages: Sequence[str] | None,
    labels: Collection[str] | None,
    label_separator: str | None,
    sep: str | None,
    quoting: str,
    encoding: str,
    encoding_errors: str,
    limit: int | None,
    shots_per_class: int | None,
    validation_shots_per_class: int | None,
    shot_seed: int,
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
    how, few = (
        SplitSpec(**split),
        FewShotSpec(shots_per_class, validation_shots_per_class, shot_seed),
    )
    reading = FileFormat(sep, quoting, encoding, encoding_errors)
    rules = Rules(on_missing_label, on_empty_text, leakage, limit)
    target, kind = target_of(columns)
    raise_all(
        how.check_errors()
        + wrong_choices(reading, rules)
        + rules.check_errors()
        + few.check_errors(kind)
    )
    files = {"train": train_file, "validation": validation_file, "test": test_file}
    whose = languages_by_split(train_languages, validation_languages)
    ways = partial(split_openers, revision=revision, splits=splits, reading=reading)
    found, to_cut = find_splits((files, path, config), ways, how, languages, whose)
    wanted = [name for name in SPLITS if only is None or name in only]
    check_validation(found, to_cut, need_validation and "validation" in wanted)
    given = [str(name) for name in labels] if labels is not None else None
    named = given is not None or kind not in NAMED
    sources = open_sources(sources_needed(wanted, found, to_cut, named), found)
    if leakage != "ignore":
        raise_all(check_same_source(sources))
    chosen = choose(sources, columns, names, how)
    parts = cache_splits(sources, columns, chosen, label_separator, media, reading, cache)
    work = SplitPipeline(target, kind, given, wanted)
    parts = requested_splits(work, parts, how, to_cut, whose, few, rules)
    options = [asdict(how), to_cut, chosen, label_separator, work.names, limit, asdict(reading)]
    options += [{name: c.kind for name, c in columns.items()}, on_missing_label, on_empty_text]
    done = {name: work.finished(part, name, limit, how.seed) for name, part in parts.items()}
    hashes = {name: hashed for name, (_, hashed) in done.items()}
    folders = media_folders(sources, columns, names, media)
    # The files that cells name are no part of a source's identity.
    options += [whose, *few.identity(), *folders, *([hashes] if folders else [])]
    return Rows(
        splits={name: data for name, (data, _) in done.items()},
        labels=work.names,
        fingerprint=key_of({name: s.identity for name, s in sources.items()}, options),
        notes=work.notes,
        hidden_labels=frozenset(work.hidden & set(parts)),
        hashes=hashes,
    )


@dataclass(frozen=True)
class Rules:
    """What becomes of rows that lack something, that stand twice, or that are too many."""

    on_missing_label: str
    on_empty_text: str
    leakage: str
    limit: int | None

    def check_errors(self) -> list[TunesmithError]:
        if self.limit is None or self.limit >= 1:
            return []
        return [ConfigError("CONF-RANGE", f"data.limit={self.limit}", "must be >= 1")]


def target_of(columns: Mapping[str, Column]) -> tuple[str | None, ColumnType | None]:
    """Return the column that is to be predicted, and what its cells are."""
    target = next((name for name, column in columns.items() if column.target), None)
    return target, columns[target].kind if target is not None else None


def requested_splits(
    work: SplitPipeline,
    parts: Mapping[str, SplitRows],
    options: SplitSpec,
    to_make: Mapping[str, bool],
    languages: Wanted,
    few: FewShotSpec,
    rules: Rules,
) -> dict[str, SplitRows]:
    """Return the splits that are wanted: cut, checked, and of the rows that are asked for."""
    whole = work.without_gaps(parts, rules.on_missing_label, rules.on_empty_text)
    divided = only_languages(work.divided(whole, options, to_make), languages)
    work.check_labels(divided)
    left = work.few({name: p for name, p in divided.items() if name in work.wanted}, few)
    work.check_copies(left, rules.leakage)
    return left


def wrong_choices(reading: FileFormat, rules: Rules) -> list[TunesmithError]:
    asked = vars(reading) | vars(rules)
    return [
        ConfigError("CONF-VALUE", f"data.{key}={asked[key]}", f"one of {', '.join(known)}")
        for key, known in CHOICES.items()
        if asked[key] not in known
    ]


def choose(
    sources: Mapping[str, RowSource],
    columns: Mapping[str, Column],
    names: Mapping[str, SourceName | None],
    options: SplitSpec,
) -> dict[str, dict[str, SourceName]]:
    """Return {split: {our column: the source's}}; what rows are stratified by is one of them."""
    chosen = present(sources, columns, {name: names[name] for name in [*columns, "id"]})
    strata = strata_of(options, columns, names["label"], sources)
    if strata is not None:
        chosen["train"][STRATA] = strata
    return chosen


def present(
    sources: Mapping[str, RowSource],
    columns: Mapping[str, Column],
    names: Mapping[str, SourceName | None],
) -> dict[str, dict[str, SourceName]]:
    """Return the columns that each split has; all that is missing is said at once."""
    errors: list[TunesmithError] = [
        ConfigError("CONF-MISSING", f"data.{c}=null", "the task needs this column; give its name")
        for c, column in columns.items()
        if column.required and names[c] is None
    ]
    chosen = {}
    for split, source in sources.items():
        try:
            chosen[split] = present_columns(source, columns, names, split)
        except TunesmithError as error:
            errors.extend(getattr(error, "errors", [error]))
    raise_all(errors)
    return chosen


def strata_of(
    options: SplitSpec,
    columns: Mapping[str, Column],
    label: SourceName | None,
    sources: Mapping[str, RowSource],
) -> SourceName | None:
    """Return the label column by which rows are stratified although the task reads no label.

    So a task on texts alone cuts a source as classification does: nobody's test texts are its
    train texts.
    """
    cut_here = options.method == "stratified" and "train" in sources and "label" not in columns
    return label if cut_here and label in sources["train"].columns else None
