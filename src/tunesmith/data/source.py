"""Rows from anywhere, under our names: read, checked, split, memory-mapped."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tunesmith.data.canonical import Source, canonical_rows, present_columns
from tunesmith.data.checks import STRATA, Part, check_same_source
from tunesmith.data.delimited import QUOTING
from tunesmith.data.languages import Wanted, Where, each, joined, only_languages, wanted_of
from tunesmith.data.locate import Opener, Reading, openers
from tunesmith.data.rows import MEDIA, NAMED, Column, Named, Rows
from tunesmith.data.shots import Shots
from tunesmith.data.split import Cut
from tunesmith.data.store import key_of, schema_of, stored
from tunesmith.data.work import Work
from tunesmith.errors import ConfigError, DataError, TunesmithError, raise_all

SPLITS = ("train", "validation", "test")
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
    names: Mapping[str, Named | None],
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
    shots: int | None,
    validation_shots: int | None,
    draw: int,
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
        "quoting": quoting,
        "encoding_errors": encoding_errors,
        "on_missing_label": on_missing_label,
        "on_empty_text": on_empty_text,
        "leakage": leakage,
    }
    target = next((name for name, column in columns.items() if column.target), None)
    kind = columns[target].kind if target is not None else None
    few = Shots(shots, validation_shots, draw)
    raise_all(how.mistakes() + wrong_choices(asked) + wrong_limit(limit) + few.mistakes(kind))
    wanted = [name for name in SPLITS if only is None or name in only]
    reading = Reading(sep, quoting, encoding, encoding_errors)
    files = {"train": train_file, "validation": validation_file, "test": test_file}
    place: Where = (files, path, config)
    whose = wanted_of(train_languages, validation_languages)
    ways = partial(openers, revision=revision, splits=splits, reading=reading)
    found, to_cut = found_at(place, ways, how, languages, whose)
    check_validation(found, to_cut, need_validation and "validation" in wanted)
    given = [str(name) for name in labels] if labels is not None else None
    named = given is not None or kind not in NAMED
    sources = opened(sources_needed(wanted, found, to_cut, named), found)
    if leakage != "ignore":
        raise_all(check_same_source(sources))
    chosen = choose(sources, columns, {name: names[name] for name in [*columns, "id"]})
    strata = strata_of(how, columns, names["label"], sources)
    if strata is not None:
        chosen["train"][STRATA] = strata
    parts = store_all(sources, columns, chosen, label_separator, media, reading, cache)
    work = Work(target, kind, given, wanted)
    parts = work.without_gaps(parts, on_missing_label, on_empty_text)
    parts = only_languages(work.divided(parts, how, to_cut), whose)
    work.check_labels(parts)
    parts = {name: part for name, part in parts.items() if name in wanted}
    parts = work.few(parts, few)
    work.check_copies(parts, leakage)
    options = [asdict(how), to_cut, chosen, label_separator, work.names, limit, asdict(reading)]
    options += [{name: c.kind for name, c in columns.items()}, on_missing_label, on_empty_text]
    finished = {name: work.finished(p, name, limit, how.seed) for name, p in parts.items()}
    hashes = {name: hashed for name, (_, hashed) in finished.items()}
    folders = media_folders(sources, columns, names, media)
    # The files that cells name are no part of a source's identity.
    options += [whose, *few.identity(), *folders, *([hashes] if folders else [])]
    return Rows(
        splits={name: data for name, (data, _) in finished.items()},
        labels=work.names,
        fingerprint=key_of({name: s.identity for name, s in sources.items()}, options),
        notes=work.notes,
        hidden_labels=frozenset(work.hidden & set(parts)),
        hashes=hashes,
    )


def found_at(
    place: Where,
    ways: Callable[..., dict[str, Opener]],
    how: Cut,
    languages: Sequence[str] | None,
    whose: Wanted,
) -> tuple[dict[str, Opener], dict[str, bool]]:
    """Return {split: what opens it}, and of which splits it is true that train is cut for them.

    `ways` opens the splits of one place; where rows are of several `languages` each has its own.
    """
    if languages is None:
        found = ways(*place)
        return found, splits_to_cut(found, how)
    theirs = {language: ways(*there) for language, there in each(languages, place).items()}
    to_cut = splits_to_cut({split for found in theirs.values() for split in found}, how)
    return joined(theirs, whose, any(to_cut.values())), to_cut


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


def splits_to_cut(found: Collection[str], how: Cut) -> dict[str, bool]:
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
    names: Mapping[str, Named | None],
) -> dict[str, dict[str, Named]]:
    """Return {split: {our column: the source's}}; all that is missing is said at once."""
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
    how: Cut,
    columns: Mapping[str, Column],
    label: Named | None,
    sources: Mapping[str, Source],
) -> Named | None:
    """Return the label column by which rows are stratified although the task reads no label.

    So a task on texts alone cuts a source as classification does: nobody's test texts are its
    train texts.
    """
    cut_here = how.method == "stratified" and "train" in sources and "label" not in columns
    return label if cut_here and label in sources["train"].columns else None


def media_folders(
    sources: Mapping[str, Source],
    columns: Mapping[str, Column],
    names: Mapping[str, Named | None],
    media: str | None,
) -> list[str]:
    """Return the folders that paths in cells are relative to; none where no cell is a file."""
    if not any(names.get(c) and column.kind in MEDIA for c, column in columns.items()):
        return []
    return [
        str(Path(media or source.folder).expanduser().absolute()) for source in sources.values()
    ]


def store_all(
    sources: Mapping[str, Source],
    columns: Mapping[str, Column],
    chosen: Mapping[str, Mapping[str, Named]],
    separator: str | None,
    media: str | None,
    reading: Reading,
    cache: Path,
) -> dict[str, Part]:
    """Store each source's rows, or open what is stored; all broken files are said at once."""
    parts: dict[str, Part] = {}
    errors: list[TunesmithError] = []
    for split, source in sources.items():
        schema = schema_of(columns, chosen[split])
        format_ = [Path(source.name).suffix, source.columns, source.classes, asdict(reading)]
        folders = media_folders({split: source}, columns, chosen[split], media)
        key = key_of(source.identity, str(schema), chosen[split], separator, format_, *folders)
        rows = canonical_rows(source, columns, chosen[split], separator, media)
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
