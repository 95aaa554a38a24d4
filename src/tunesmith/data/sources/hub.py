"""Data sets of the Hugging Face hub, and local folders laid out like one."""

import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub
from datasets.data_files import EmptyDatasetError
from datasets.exceptions import DatasetNotFoundError
from huggingface_hub.errors import HfHubHTTPError, HFValidationError

from tunesmith.data.prepare.row_source import RowSource
from tunesmith.data.sources.files import Raw
from tunesmith.errors import ConfigError, DataError, SafetyError

PATIENCE = 3.0  # seconds that the hub has to answer before only the local cache is asked

# What the libraries raise for a hub or a network that does not answer, or not as it should.
UNREACHABLE = (OSError, HfHubHTTPError)


def layout_files(folder: Path, config: str | None) -> tuple[dict[str, list[Path]], dict[str, Any]]:
    """Return ({split: its files}, {column: names behind its integers}) of a local folder.

    Which file belongs to which split is what `datasets.load_dataset(folder)` says, README
    metadata included. Reads no rows.
    """
    builder = builder_of(str(folder), config, None)
    found = builder.config.data_files or {}
    files = {str(split): [Path(file) for file in paths] for split, paths in found.items()}
    return files, class_names(builder.info.features)


def hub_splits(
    path: str, config: str | None, revision: str | None
) -> dict[str, Callable[[], RowSource]]:
    """Return {split: how to open it} of a hub data set; from the local cache without a network.

    Raises DataError DATA-404 in a few seconds where it is neither there nor reachable.
    """
    reachable = hub_answers()
    with offline(not reachable):
        builder = builder_of(path, config, revision)
        names = list(builder.info.splits or {}) or split_names(path, config, revision)
    identity = f"{path}/{builder.config.name}/{builder.hash}"
    opening = (path, config, revision, reachable, identity)
    return {name: partial(hub_source, name, *opening) for name in names}


def hub_answers() -> bool:
    """Ask the hub once whether it is there; any answer will do."""
    if huggingface_hub.constants.HF_HUB_OFFLINE:
        return False
    try:
        with urllib.request.urlopen(huggingface_hub.constants.ENDPOINT, timeout=PATIENCE):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:  # also no name, refused, too late
        return False


@contextmanager
def offline(on: bool) -> Iterator[None]:
    """Let the libraries use their cache at once; they would retry for half a minute."""
    before = datasets.config.HF_HUB_OFFLINE, huggingface_hub.constants.HF_HUB_OFFLINE
    if on:
        datasets.config.HF_HUB_OFFLINE = huggingface_hub.constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE, huggingface_hub.constants.HF_HUB_OFFLINE = before


def builder_of(path: str, config: str | None, revision: str | None) -> Any:
    with our_errors(path, config):
        return datasets.load_dataset_builder(path, config, revision=revision)


def split_names(path: str, config: str | None, revision: str | None) -> list[str]:
    with our_errors(path, config):
        return datasets.get_dataset_split_names(path, config, revision=revision)


@contextmanager
def our_errors(path: str, config: str | None) -> Iterator[None]:
    """Say in one line what `datasets` says in many."""
    try:
        yield
    except EmptyDatasetError:
        what = "holds no csv, tsv, jsonl or parquet file, and no label folders of .txt files"
        raise DataError("DATA-404", path, what) from None
    except (DatasetNotFoundError, HFValidationError):
        raise unknown(path) from None
    except UNREACHABLE:
        what = "not in the local cache, and the hub does not answer"
        raise DataError("DATA-404", path, what, "check the id and the network") from None
    except RuntimeError as error:
        if "script" not in str(error):
            raise
        what = "the data set ships its own Python; not supported"
        raise SafetyError("UNSAFE-CODE", path, what) from None
    except ValueError as error:
        first = str(error).splitlines()[0]
        raise ConfigError("CONF-VALUE", f"data.config={config}", f"{path}: {first}") from None


def unknown(path: str) -> DataError:
    what = "no such data set on the hub, nor a folder here"
    return DataError("DATA-404", path, what, "a private one needs `hf auth login`")


def hub_source(
    split: str, path: str, config: str | None, revision: str | None, reachable: bool, identity: str
) -> RowSource:
    with offline(not reachable), our_errors(path, config):
        dataset = datasets.load_dataset(
            path, config, split=split, revision=revision, **as_text(path, config, revision)
        )
        dataset = with_files(dataset)
    return RowSource(
        name=f"{path}:{split}",
        identity=f"{identity}/{split}",
        columns=list(dataset.column_names),
        rows=partial(numbered, dataset),
        in_lines=False,
        classes=class_names(dataset.features),
    )


def with_files(dataset: datasets.Dataset) -> datasets.Dataset:
    """Leave images and sounds the files that they are: they are decoded when a batch is made."""
    for name, feature in dataset.features.items():
        if isinstance(feature, datasets.Image | datasets.Audio):
            dataset = dataset.cast_column(name, type(feature)(decode=False))
    return dataset


def as_text(path: str, config: str | None, revision: str | None) -> dict[str, Any]:
    """Keep "NA" and "null" in csv files texts, which pandas would drop."""
    builder = datasets.load_dataset_builder(path, config, revision=revision)
    return {"keep_default_na": False} if hasattr(builder.config, "keep_default_na") else {}


def numbered(dataset: datasets.Dataset) -> Iterator[Raw]:
    yield from enumerate(dataset, start=1)


def class_names(features: Mapping[str, Any] | None) -> dict[str, list[str]]:
    """Return {column: names behind its integers}, also of lists of them."""
    inner = {c: getattr(feature, "feature", feature) for c, feature in (features or {}).items()}
    return {c: list(f.names) for c, f in inner.items() if isinstance(f, datasets.ClassLabel)}
