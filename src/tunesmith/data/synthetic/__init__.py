"""Data sets that are made, not read: small ones, for the tasks that no pip package has data for.

One module per set; the words and patterns that it uses are texts/NAME.yaml. Each has
`rows() -> dict[str, list[dict]]`: the rows of every split, always the same ones, under the
columns that the task's yaml names by default.
"""

import importlib
import json
import pkgutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from tunesmith.data.cache import key_of
from tunesmith.data.prepare.row_source import RowSource
from tunesmith.data.sources.files import Raw
from tunesmith.errors import ConfigError, did_you_mean

PREFIX = "synthetic:"
SUFFIX = "_rows"  # of the modules: a task has the plain name


def names() -> list[str]:
    """Return the names of the sets."""
    return sorted(m.name.removesuffix(SUFFIX) for m in pkgutil.iter_modules(__path__))


def generate_splits(path: str) -> dict[str, Callable[[], RowSource]]:
    """Return {split: what opens it} of `synthetic:NAME`; ConfigError where there is no such set."""
    name = path.removeprefix(PREFIX)
    if name not in names():
        fix = did_you_mean(name, names()) or f"synthetic: {', '.join(names())}"
        raise ConfigError("CONF-VALUE", f"data.path={path}", "no such data set", fix)
    splits = importlib.import_module(f"{__name__}.{name}{SUFFIX}").rows()
    return {split: partial(_source, f"{path}:{split}", rows) for split, rows in splits.items()}


def texts_of(name: str) -> dict[str, Any]:
    """Return the words and patterns that a set is made of."""
    file = Path(__file__).parent / "texts" / f"{name}.yaml"
    texts: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return texts


def _source(name: str, rows: list[dict[str, Any]]) -> RowSource:
    return RowSource(
        name=name,
        identity=key_of(name, json.dumps(rows, default=repr)),
        columns=list(rows[0]),
        rows=partial(_numbered, rows),
        in_lines=False,
    )


def _numbered(rows: list[dict[str, Any]]) -> Iterator[Raw]:
    yield from enumerate(rows, start=1)
