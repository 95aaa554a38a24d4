"""Rows from anywhere, under our names: opened, stored once, checked, split, memory-mapped."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tunesmith.data.cache import cached_dataset, key_of, schema_of
from tunesmith.data.choose_columns import choose
from tunesmith.data.columns import (
    COLUMNS,
    LANGUAGE,
    MEDIA,
    NAMED,
    Column,
    ColumnType,
    Rows,
    SourceName,
)
from tunesmith.data.options import DataOptions, SplitOptions
from tunesmith.data.prepare import stages
from tunesmith.data.prepare.choices import is_counted_from_one
from tunesmith.data.prepare.few_shot import counts, wrong_shots
from tunesmith.data.prepare.languages import (
    Wanted,
    Where,
    each,
    joined,
    languages_by_split,
    only_languages,
)
from tunesmith.data.prepare.normalize import normalized_rows
from tunesmith.data.prepare.quality import SplitRows, check_same_source
from tunesmith.data.prepare.row_source import RowSource
from tunesmith.data.sources.file_layout import FileFormat
from tunesmith.data.sources.resolve import Opener, split_openers
from tunesmith.errors import ConfigError, DataError, TunesmithError, raise_all

SPLITS = ("train", "validation", "test")


def read(
    columns: Mapping[str, Column],
    options: DataOptions,
    cache: Path,
    splits: Collection[str] | None = None,
    labels: Sequence[str] | None = None,
) -> Rows:
    """Read the splits under our column names.

    `columns` is what the task reads; `splits` are those to return (None: all), and no file is
    opened that they do not need. `labels` are those of a finished run, in its order. Rows are
    stored below `cache` once per content and mapped into memory.
    Raises DataError for rows, ConfigError for options, MachineError for a missing package.
    """
    target = stages.Target.of(columns)
    raise_all(wrong_shots(options, target.kind))
    requested = [name for name in SPLITS if splits is None or name in splits]
    known = stages.known_labels(options, labels)
    named = known.names is not None or target.kind not in NAMED
    opened = open_requested(columns, options, requested, named)
    options, numbered = with_label_from(opened, columns, options)
    stored = cache_splits(opened.sources, columns, opened.chosen, options, cache)
    complete = stages.without_gaps(stored, target, options, known)
    divided = stages.divided(complete, target, options, opened.to_make)
    divided = replace(divided, parts=only_languages(divided.parts, opened.languages))
    labeled = stages.labeled(divided, target, options, requested, known)
    kept = stages.few(labeled, target, options, requested)
    checked = stages.without_copies(kept, options.leakage)
    done = {split: stages.finished(checked, split, target, options) for split in checked.parts}
    hashes = {split: hashed for split, (_, hashed) in done.items()}
    return Rows(
        splits={split: data for split, (data, _) in done.items()},
        labels=list(checked.names) if checked.names is not None else None,
        fingerprint=_fingerprint(opened, columns, options, checked.names, hashes),
        notes=[*opened.notes, *numbered, *checked.notes],
        label_from=options.label_from,
        hidden_labels=checked.hidden & checked.parts.keys(),
        hashes=hashes,
    )


@dataclass(frozen=True)
class Opened:
    """The sources of the splits that are needed, and what of them is read."""

    sources: Mapping[str, RowSource]  # by split
    chosen: Mapping[str, Mapping[str, SourceName]]  # {split: {our column: the source's}}
    to_make: Mapping[str, bool]  # whether "validation" and "test" are cut from train
    languages: Wanted
    folders: Sequence[str]  # that paths in cells are relative to
    notes: Sequence[str]  # how files are read where no option says so; already logged


def open_requested(
    columns: Mapping[str, Column],
    options: DataOptions,
    requested: Sequence[str],
    named: bool,
) -> Opened:
    """Open what the requested splits need; raise all that is wrong with files and columns.

    Unless the labels are `named`, the train split is needed.
    """
    languages = languages_by_split(
        _texts(options.train_languages), _texts(options.validation_languages)
    )
    openers, to_make = find_splits(options, languages)
    if "validation" in requested and not ("validation" in openers or to_make["validation"]):
        what = "no validation split, and none is cut from train"
        raise DataError("DATA-SPLIT", "data", what, "set data.split.validation=0.1")
    sources = open_sources(sources_needed(requested, openers, to_make, named), openers)
    if options.leakage != "ignore":
        raise_all(check_same_source(sources))
    names = {name: getattr(options, name) for name in COLUMNS}
    if options.languages is not None:
        names[LANGUAGE] = LANGUAGE
    chosen = choose(sources, columns, names, options.split)
    folders = media_folders(sources, columns, names, options.media)
    return Opened(sources, chosen, to_make, languages, folders, noted_guesses(sources))


def with_label_from(
    opened: Opened, columns: Mapping[str, Column], options: DataOptions
) -> tuple[DataOptions, list[str]]:
    """Settle which number the first choice has, by the first split where no option says it."""
    is_choice = any(column.kind is ColumnType.CHOICE for column in columns.values())
    if not is_choice or options.label_from is not None or not opened.sources:
        return options, []
    split, source = next(iter(opened.sources.items()))
    chosen, separator = opened.chosen[split], options.label_separator
    number = int(is_counted_from_one(source.rows(), columns, chosen, separator))
    guess = f"{source.name}: choices are numbered from 1; data.label_from=0 says otherwise"
    return options.model_copy(update={"label_from": number}), stages.noted(
        [guess] if number else []
    )


def _fingerprint(
    opened: Opened,
    columns: Mapping[str, Column],
    options: DataOptions,
    labels: Sequence[str] | None,
    hashes: Mapping[str, str],
) -> str:
    """Return a hash of the sources' content and of every option that changes the rows."""
    shots = [options.shots_per_class, options.validation_shots_per_class, options.shot_seed]
    identity = [
        options.split.model_dump(),
        opened.to_make,
        opened.chosen,
        options.label_separator,
        options.label_from,
        labels,
        options.limit,
        asdict(FileFormat.of(options)),
        {name: column.kind for name, column in columns.items()},
        options.on_missing_label,
        options.on_empty_text,
        opened.languages,
        *(shots if counts(options) else []),
        *opened.folders,
        # Files that cells name are no part of a source's identity.
        *([hashes] if opened.folders else []),
    ]
    return key_of({name: s.identity for name, s in opened.sources.items()}, identity)


def _texts(values: Sequence[str | int] | None) -> list[str] | None:
    return None if values is None else [str(value) for value in values]


# Which splits there are, which are cut from train, and what is opened for those requested


def find_splits(
    options: DataOptions, split_languages: Wanted
) -> tuple[dict[str, Opener], dict[str, bool]]:
    """Return {split: what opens it}, and of which splits it is true that train is cut for them.

    Where rows are of several languages each has files of its own.
    """
    ways: Callable[..., dict[str, Opener]] = partial(
        split_openers,
        revision=options.revision,
        splits=options.splits.model_dump(),
        reading=FileFormat.of(options),
    )
    files = {split: getattr(options, f"{split}_file") for split in SPLITS}
    location: Where = (files, options.path, options.config)
    if options.languages is None:
        found = ways(*location)
        return found, splits_to_make(found, options.split)
    each_language = each(_texts(options.languages) or [], location)
    theirs = {name: ways(*there) for name, there in each_language.items()}
    available = {split for found in theirs.values() for split in found}
    to_make = splits_to_make(available, options.split)
    return joined(theirs, split_languages, any(to_make.values())), to_make


def splits_to_make(sources: Collection[str], options: SplitOptions) -> dict[str, bool]:
    """Tell of "validation" and "test" whether they are cut from train."""
    if options.folds is not None and "validation" in sources:
        what = "folds cut validation from train, but the source has a validation split"
        fix = "set data.splits.validation=null and data.validation_file=null"
        raise ConfigError("CONF-SPLIT", f"data.split.folds={options.folds}", what, fix)
    validation = options.validation > 0 or options.folds is not None
    return {
        "validation": "validation" not in sources and validation,
        "test": "test" not in sources and options.test > 0,
    }


def sources_needed(
    splits: Collection[str], sources: Mapping[str, Opener], to_make: Mapping[str, bool], named: bool
) -> list[str]:
    """Return the splits to open. Unless the labels are named, only train can tell them."""
    cutting = any(to_make.get(name, False) for name in splits)
    train = "train" in splits or cutting or not named
    if train and "train" not in sources:
        raise DataError("DATA-SPLIT", "data", "no train split to read", "set data.train_file")
    needed = {name for name in splits if name in sources} | ({"train"} if train else set())
    return [name for name in SPLITS if name in needed]


def open_sources(names: Collection[str], openers: Mapping[str, Opener]) -> dict[str, RowSource]:
    """Open the sources, and say of all at once what is wrong with them."""
    sources: dict[str, RowSource] = {}
    errors: list[TunesmithError] = []
    for name in names:
        try:
            sources[name] = openers[name]()
        except DataError as error:
            errors.append(error)
    raise_all(errors)
    return sources


def noted_guesses(sources: Mapping[str, RowSource]) -> list[str]:
    """Say in one line each how files are read where no option says so."""
    notes = [f"{source.name}: {guess}" for source in sources.values() for guess in source.guesses]
    return stages.noted(list(dict.fromkeys(notes)))


# Each source's rows, stored once per content


def cache_splits(
    sources: Mapping[str, RowSource],
    columns: Mapping[str, Column],
    chosen: Mapping[str, Mapping[str, SourceName]],
    options: DataOptions,
    cache: Path,
) -> dict[str, SplitRows]:
    """Store each source's rows, or open what is stored; all broken files are said at once."""
    parts: dict[str, SplitRows] = {}
    errors: list[TunesmithError] = []
    separator, reading = options.label_separator, FileFormat.of(options)
    for split, source in sources.items():
        schema = schema_of(columns, chosen[split])
        format_: list[Any] = [Path(source.name).suffix, source.columns, source.classes]
        format_ += [asdict(reading), options.label_from]
        folders = media_folders({split: source}, columns, chosen[split], options.media)
        key = key_of(source.identity, str(schema), chosen[split], separator, format_, *folders)
        rows = normalized_rows(
            source, columns, chosen[split], separator, options.media, options.label_from or 0
        )
        try:
            data = cached_dataset(rows, schema, key, cache)
            if not len(data):
                raise nothing_in(source)
            parts[split] = SplitRows(source, data, np.arange(len(data)))
        except DataError as error:
            errors.append(error)
    raise_all(errors)
    return parts


def nothing_in(source: RowSource) -> DataError:
    headed = source.in_lines and not source.name.lower().endswith(".txt")
    return DataError("DATA-EMPTY", source.name, "header but 0 rows" if headed else "0 rows")


def media_folders(
    sources: Mapping[str, RowSource],
    columns: Mapping[str, Column],
    names: Mapping[str, SourceName | None],
    media: str | None,
) -> list[str]:
    """Return the folders that paths in cells are relative to; none where no cell is a file."""
    if not any(names.get(c) and column.kind in MEDIA for c, column in columns.items()):
        return []
    return [
        str(Path(media or source.folder).expanduser().absolute()) for source in sources.values()
    ]
