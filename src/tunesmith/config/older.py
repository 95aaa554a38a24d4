"""Keys that a run's config lacks because they have come since it was saved."""

from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import OmegaConf

from tunesmith.config import instantiate


def completed(stored: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return a stored config with the keys of `data` and `task` that it lacks, and their names.

    They have the defaults of now: a key is added so that what was there stays as it was.
    """
    whole, added = dict(stored), []
    for group, defaults in _defaults(stored):
        own = stored.get(group)
        if isinstance(own, dict):
            lacking = {key: value for key, value in defaults.items() if key not in own}
            whole[group] = own | lacking
            added += [f"{group}.{key}" for key in lacking]
    return whole, added


def _defaults(stored: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (group, its keys and their defaults) where these stand in one file."""
    yield "data", _read((instantiate.CONF / "data/files.yaml").read_text("utf-8"))
    task = stored.get("task")
    name = task.get(instantiate.TARGET) if isinstance(task, dict) else None
    for file in sorted((instantiate.CONF / "task").glob("*.yaml")):
        text = file.read_text("utf-8")
        if f"{instantiate.TARGET}: {name}\n" in text:  # the others need not be parsed
            yield "task", _read(text)["task"]


def _read(text: str) -> dict[str, Any]:
    return OmegaConf.to_container(OmegaConf.create(text))  # type: ignore[return-value]
