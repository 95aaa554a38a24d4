"""A few rows of each class: how many, and which ones, by a seed of their own."""

from collections.abc import Mapping, Sequence

import numpy as np

from tunesmith.data.columns import ColumnType
from tunesmith.data.options import DataOptions
from tunesmith.data.prepare.quality import SplitRows
from tunesmith.data.prepare.split import fractions
from tunesmith.errors import ConfigError, DataError, TunesmithError


def counts(options: DataOptions) -> dict[str, int]:
    """Return the splits of which a few rows are kept, and how many of a class."""
    asked = {
        "train": options.shots_per_class,
        "validation": options.validation_shots_per_class,
    }
    return {split: count for split, count in asked.items() if count is not None}


def wrong_shots(options: DataOptions, kind: ColumnType | None) -> list[TunesmithError]:
    """Refuse shots for a task that is to predict no class."""
    what = "rows are drawn by their class, and the task reads no such label"
    return [
        ConfigError("CONF-SHOTS", f"{key_of(split)}={count}", what, "data.limit draws any rows")
        for split, count in counts(options).items()
        if kind is not ColumnType.CLASS
    ]


def key_of(split: str) -> str:
    return "data.shots_per_class" if split == "train" else f"data.{split}_shots_per_class"


def sample_per_class(
    part: SplitRows,
    split: str,
    labels: Sequence[str | None],
    names: Sequence[str],
    count: int,
    draw: int,
) -> SplitRows:
    """Keep `count` different texts of each class; raise DataError where there are fewer.

    `labels` (N) are the classes of the part's rows, `names` all that there are. A class's texts
    are taken in the order of their hash, so that 8 of a draw are among its 16.
    """
    places = fractions(part.column("_text"), draw, f"shots of {split}")
    found = _different_texts(part, labels, places)
    short = {name: len(found.get(name, [])) for name in names if len(found.get(name, [])) < count}
    if short:
        raise _too_few(part, split, count, short)
    kept = [row for name in names for row in found[name][:count]]
    return part.keep(np.sort(np.array(kept)))


def _different_texts(
    part: SplitRows, labels: Sequence[str | None], indices: np.ndarray
) -> dict[str | None, list[int]]:
    """Return the places of each class's rows, in the order of the draw, copies left out.

    Texts that differ only in case and spaces are copies.
    """
    texts = part.column("_loose").tolist()
    found: dict[str | None, list[int]] = {}
    seen: set[tuple[str | None, int]] = set()
    for row in np.argsort(indices, kind="stable").tolist():
        if (labels[row], texts[row]) not in seen:
            seen.add((labels[row], texts[row]))
            found.setdefault(labels[row], []).append(row)
    return found


def _too_few(part: SplitRows, split: str, count: int, short: Mapping[str, int]) -> DataError:
    name = min(short, key=lambda label: short[label])
    texts = "1 different text" if short[name] == 1 else f"{short[name]} different texts"
    more = f"; {len(short)} such classes" if len(short) > 1 else ""
    what = f"{split} has {texts} of class {name!r}, {key_of(split)}={count} draws {count}{more}"
    return DataError("DATA-SHOTS", part.source.name, what, f"lower {key_of(split)}")
