"""Where rows come from: files, a folder, a package, the hub; each split can be opened alone."""

import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from tunesmith.data.cache import key_of
from tunesmith.data.prepare.row_source import RowSource
from tunesmith.data.sources.file_layout import FileFormat, layout_of
from tunesmith.data.sources.files import (
    Raw,
    columns_of,
    keys_of_all_rows,
    missing,
    parquet,
    readable,
    stream,
)
from tunesmith.data.sources.hub import hub_splits, layout_files
from tunesmith.data.sources.text_folders import package_folder, text_folders, text_source
from tunesmith.data.synthetic import PREFIX, generate_splits
from tunesmith.errors import ConfigError, DataError, did_you_mean
from tunesmith.runtime.atomic_files import sha256

Opener = Callable[[], RowSource]


def split_openers(
    files: Mapping[str, str | None],
    path: str | None,
    config: str | None,
    revision: str | None,
    splits: Mapping[str, str | None],
    reading: FileFormat,
) -> dict[str, Opener]:
    """Return {our split: what opens it}. Given files win over a path; nothing is read yet."""
    given = {name: file for name, file in files.items() if file is not None}
    if given:
        return {name: partial(file_source, file, reading) for name, file in given.items()}
    if path is None:
        what = "nothing to read: neither data.train_file nor data.path is set"
        raise ConfigError("CONF-MISSING", "data", what)
    theirs = path_openers(path, config, revision, splits, reading)
    return renamed(path, theirs, splits)


def path_openers(
    path: str,
    config: str | None,
    revision: str | None,
    splits: Mapping[str, str | None],
    reading: FileFormat,
) -> dict[str, Opener]:
    """Return {the source's split: what opens it} of a folder, a package, a hub or a made set."""
    if path.startswith(PREFIX):
        return generate_splits(path)
    package = path.startswith("package:")
    folder = package_folder(path) if package else Path(path).expanduser()
    if folder.is_file():
        raise ConfigError("CONF-VALUE", f"data.path={path}", "a file", "set data.train_file to it")
    if folder.is_dir():
        return folder_openers(folder, path, config, splits, reading)
    if folder.is_absolute() or path.startswith((".", "~")) or path.count("/") > 1:
        raise missing_folder(folder)
    return dict(hub_splits(path, config, revision))


def missing_folder(folder: Path) -> DataError:
    error = missing(folder)
    return DataError(error.code, error.where, error.what.replace("file", "directory"), error.fix)


def folder_openers(
    folder: Path,
    name: str,
    config: str | None,
    splits: Mapping[str, str | None],
    reading: FileFormat,
) -> dict[str, Opener]:
    texts = text_folders(folder, [theirs for theirs in splits.values() if theirs is not None])
    if texts:
        names = {s: name if place == folder else f"{name}/{s}" for s, place in texts.items()}
        read_as = (reading.encoding, reading.encoding_errors)
        return {s: partial(text_source, p, names[s], *read_as) for s, p in texts.items()}
    found, named = layout_files(folder, config)
    return {s: partial(shards, paths, f"{name}:{s}", reading, named) for s, paths in found.items()}


def renamed(
    path: str, others: Mapping[str, Opener], splits: Mapping[str, str | None]
) -> dict[str, Opener]:
    """Give the source's splits our names; one that is named in the config must be there."""
    found = {o: others[name] for o, name in splits.items() if name is not None and name in others}
    for ours, name in splits.items():
        # A data set without a split that is called as everywhere simply has none.
        if name is not None and name not in others and (name != ours or ours == "train"):
            what = f"no split {name!r}; splits: {', '.join(others)}"
            fix = did_you_mean(name, others) or f"set data.splits.{ours}"
            raise DataError("DATA-SPLIT", path, what, fix)
    return found


def file_source(
    file: str | Path, reading: FileFormat, named: Mapping[str, list[str]] | None = None
) -> RowSource:
    path = readable(Path(file).expanduser())
    layout = layout_of(path, reading)
    return RowSource(
        name=str(file),
        identity=sha256(path),
        columns=columns_of(path, reading),
        rows=partial(stream, path, reading),
        in_lines=layout.in_lines,
        is_text=layout.kind == "csv",
        classes={**parquet_classes(path, layout.kind), **(named or {})},
        folder=path.absolute().parent,
        guesses=layout.guesses,
        first_rows=layout.first_rows,
        all_columns=partial(keys_of_all_rows, path, reading) if layout.kind == "jsonl" else None,
    )


def parquet_classes(path: Path, kind: str) -> dict[str, list[str]]:
    """Return the names behind integers that `datasets` wrote into a parquet file.

    Its other features are not looked at: a column that nobody reads may be of any type.
    """
    if kind != "parquet":
        return {}
    written = (parquet(path).schema_arrow.metadata or {}).get(b"huggingface", b"{}")
    try:
        features = json.loads(written)["info"]["features"]
        inner = {name: feature.get("feature", feature) for name, feature in features.items()}
        return {
            name: list(map(str, feature["names"]))
            for name, feature in inner.items()
            if feature.get("_type") == "ClassLabel"
        }
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return {}


def shards(
    paths: list[Path], name: str, reading: FileFormat, named: Mapping[str, list[str]]
) -> RowSource:
    """Join the files of a split; rows are numbered through."""
    parts = [file_source(path, reading, named) for path in paths]
    if len(parts) == 1:
        return parts[0]
    for part in parts[1:]:
        if part.all_columns is None and set(part.columns) != set(parts[0].columns):
            what = f"columns {', '.join(part.columns)}; {paths[0].name}: "
            raise DataError("DATA-COL", part.name, what + ", ".join(parts[0].columns))
    return RowSource(
        name=name,
        identity=key_of([part.identity for part in parts]),
        columns=parts[0].columns,
        rows=partial(numbered_through, parts),
        in_lines=False,
        is_text=parts[0].is_text,
        classes=parts[0].classes,
        folder=parts[0].folder,
        guesses=tuple(f"{part.name}: {guess}" for part in parts for guess in part.guesses),
        all_columns=partial(columns_of_parts, parts) if parts[0].all_columns else None,
    )


def columns_of_parts(parts: list[RowSource]) -> list[str]:
    return list(dict.fromkeys(name for part in parts for name in part.known_columns()))


def numbered_through(parts: list[RowSource]) -> Iterator[Raw]:
    rows = (row for part in parts for _, row in part.rows())
    yield from enumerate(rows, start=1)
