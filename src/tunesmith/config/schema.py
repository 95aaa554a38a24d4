"""The keys of a config and what each may be: of plain groups, and of a target's arguments."""

import functools
import re
from collections.abc import Collection, Mapping
from typing import Any

from tunesmith.config import instantiate
from tunesmith.config.instantiate import CONF
from tunesmith.config.interpolation import Unresolved
from tunesmith.config.run_config import LOGGERS as LOGGERS
from tunesmith.config.run_config import TARGET_GROUPS as TARGET_GROUPS
from tunesmith.config.run_config import node_of as node_of
from tunesmith.config.run_config import plain_keys as plain_keys
from tunesmith.config.run_config import target_group as target_group
from tunesmith.config.signatures import argument_keys
from tunesmith.runtime.options import Key
from tunesmith.training.options import SchedulerStepOptions

BESIDE_TARGET = tuple(f"scheduler.{name}" for name in SchedulerStepOptions.model_fields)
NEEDED_BESIDE_TARGET = ("optimizer.lr", *BESIDE_TARGET)


def keys_for(values: Mapping[str, Any]) -> dict[str, Key]:
    """Return the keys of this config, by their paths, with the arguments of its targets."""
    trust = values.get("trust")
    packages = tuple(p for p in trust if isinstance(p, str)) if isinstance(trust, list) else ()
    keys = dict(plain_keys())
    for group in TARGET_GROUPS:
        node = node_of(values, group)
        name = node.get(instantiate.TARGET) if isinstance(node, Mapping) else None
        if isinstance(name, str) and not isinstance(name, Unresolved):
            keys |= argument_keys(group, name, packages)
    return keys


@functools.cache
def packaged_keys() -> Mapping[str, tuple[Key, ...]]:
    """Return every key that a packaged target or a plain group has: one for each that has it."""
    keys: dict[str, list[Key]] = {path: [key] for path, key in plain_keys().items()}
    for group in TARGET_GROUPS:
        for name in _targets_of(group):
            for path, key in argument_keys(group, name).items():
                keys.setdefault(path, []).append(key)
    return {path: tuple(several) for path, several in keys.items()}


@functools.cache
def _targets_of(group: str) -> list[str]:
    """Return the targets of conf/<group>/*.yaml."""
    texts = [
        file.read_text(encoding="utf-8") for file in (CONF / group.replace(".", "/")).glob("*.yaml")
    ]
    return sorted({name for text in texts for name in re.findall(r"_target_: (\S+)", text)})


def branches(keys: Collection[str]) -> set[str]:
    """Return the dotted paths that hold others: data, data.split, ..."""
    return {
        ".".join(path.split(".")[:depth])
        for path in keys
        for depth in range(1, path.count(".") + 1)
    }


def needed() -> list[str]:
    """Return the keys that every config has: all of the groups without a target, some of others."""
    return [*plain_keys(), *NEEDED_BESIDE_TARGET]
