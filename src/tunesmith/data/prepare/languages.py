"""Rows of several languages: which are read, which train the model, how often each is drawn."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from datasets import Dataset

from tunesmith.data.cache import key_of
from tunesmith.data.columns import LANGUAGE, Raw
from tunesmith.data.lazy_rows import values_of
from tunesmith.data.prepare.quality import SplitRows
from tunesmith.data.prepare.row_source import RowSource
from tunesmith.errors import ConfigError, DataError, did_you_mean

PLACE = "{language}"  # stands for each of data.languages in a path, a config, a file's name
Opener = Callable[[], RowSource]
Where = tuple[Mapping[str, str | None], str | None, str | None]  # files by split, path, config
Wanted = Mapping[str, Sequence[str] | None]  # {split: its languages; None: all}


def languages_by_split(
    train: Sequence[str] | None, validation: Sequence[str] | None
) -> dict[str, Sequence[str] | None]:
    """Return the languages of each split.

    Validation has the languages of train unless others are named: who chooses a checkpoint by
    other languages' labels has learnt from them (Keung et al., 2020).
    """
    return {"train": train, "validation": validation or train, "test": None}


def each(languages: Sequence[str], position: Where) -> dict[str, Where]:
    """Return where the rows of each language are; something of `place` must name the language."""
    files, path, config = position
    if not any(PLACE in (name or "") for name in (*files.values(), path, config)):
        what = f"no {PLACE} in data.path, data.config or a file's name says where they are"
        fix = "set data.language to the column that says a row's language"
        raise ConfigError("CONF-LANGUAGE", f"data.languages={_list(languages)}", what, fix)
    return {
        language: (
            {split: _named(file, language) for split, file in files.items()},
            _named(path, language),
            _named(config, language),
        )
        for language in languages
    }


def _named(name: str | None, language: str) -> str | None:
    return name and name.replace(PLACE, language)


def joined(
    available: Mapping[str, Mapping[str, Opener]], requested: Wanted, cutting: bool
) -> dict[str, Opener]:
    """Return {split: what opens it in all its languages}; no other language's file is opened.

    Where splits are cut from train (`cutting`), train is opened in every language.
    """
    splits = list(dict.fromkeys(split for openers in available.values() for split in openers))
    together: dict[str, Opener] = {}
    for split in splits:
        only = None if split == "train" and cutting else requested[split]
        openers = {
            language: theirs[split]
            for language, theirs in available.items()
            if split in theirs and (only is None or language in only)
        }
        if openers:
            together[split] = partial(_opened, split, openers)
    return together


def _opened(split: str, openers: Mapping[str, Opener]) -> RowSource:
    parts = {language: opener() for language, opener in openers.items()}
    first = next(iter(parts.values()))
    for part in parts.values():
        if set(part.columns) != set(first.columns) or part.classes != first.classes:
            what = f"columns or labels are not those of {first.name}"
            raise DataError("DATA-COL", part.name, what)
    return RowSource(
        name=f"{split} of {_list(list(parts))}",
        identity=key_of({language: part.identity for language, part in parts.items()}),
        columns=[*(c for c in first.columns if c != LANGUAGE), LANGUAGE],
        rows=partial(_marked, parts),
        in_lines=False,
        classes=first.classes,
        folder=first.folder,
    )


def _marked(parts: Mapping[str, RowSource]) -> Iterator[Raw]:
    rows = ({**raw, LANGUAGE: language} for language, s in parts.items() for _, raw in s.rows())
    yield from enumerate(rows, start=1)


def only_languages(parts: Mapping[str, SplitRows], requested: Wanted) -> dict[str, SplitRows]:
    """Leave of each split the rows of its languages; refuse one of which there is no row."""
    return {
        split: part if requested[split] is None else _only(part, split, requested[split] or ())
        for split, part in parts.items()
    }


def _only(part: SplitRows, split: str, languages: Sequence[str]) -> SplitRows:
    if LANGUAGE not in part.data.column_names:
        what = "no column says a row's language: set data.language or data.languages"
        raise ConfigError("CONF-LANGUAGE", f"data.{split}_languages={_list(languages)}", what)
    theirs = np.asarray(part.data.data.column(LANGUAGE).take(part.rows).to_pylist())
    there = sorted(set(theirs.tolist()))
    for language in languages:
        if language not in there:
            what = f"{split} has no row in {language!r}; languages: {', '.join(there)}"
            fix = did_you_mean(language, there)
            raise DataError("DATA-LANGUAGE", part.source.name, what, fix)
    return part.keep(np.isin(theirs, list(languages)))


def groups_of(rows: Dataset, row_of: np.ndarray) -> np.ndarray | None:
    """Return the number of each feature's language, (F,); None where rows say none.

    `row_of` (F,) is the row of each feature.
    """
    if LANGUAGE not in rows.column_names:
        return None
    _, codes = np.unique(list(values_of(rows, LANGUAGE)), return_inverse=True)
    return codes[row_of]


def balanced(
    groups: np.ndarray, temperature: float, count: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw an epoch of `count` features; a group's share of it is its size^(1/temperature).

    `groups` (F,) says of each feature to which it belongs. Temperature 1 leaves the shares as
    they are, infinity makes them equal (Conneau et al., 2020: 3.3, an exponent of 0.3). In a
    group each is drawn as often as any other, give or take one.
    """
    counts = np.bincount(groups)
    shares = np.where(counts > 0, counts.astype(np.float64) ** (1 / temperature), 0.0)
    wanted = _whole(shares / shares.sum(), count)
    chosen = []
    for group, share in enumerate(wanted):
        members = rng.permutation(np.flatnonzero(groups == group))
        chosen.append(np.resize(members, share))
    return rng.permutation(np.concatenate(chosen))


def _whole(shares: np.ndarray, total: int) -> np.ndarray:
    """Round shares of a total to whole numbers that add up to it."""
    exact = shares * total
    counts = np.floor(exact).astype(int)
    largest = np.argsort(counts - exact, kind="stable")
    counts[largest[: total - counts.sum()]] += 1
    return counts


def _list(languages: Sequence[Any]) -> str:
    return f"[{','.join(map(str, languages))}]"
