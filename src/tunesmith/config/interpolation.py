"""A config as plain values: resolved, with what could not be resolved."""

import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from tunesmith.config import yaml_safety
from tunesmith.errors import ConfigError, TunesmithError

Config = DictConfig | Mapping[str, Any]
Found = list[tuple[str, TunesmithError]]  # each mistake with the dotted path that it spoils
Fed = dict[str, tuple[str, Any]]  # what the environment feeds: the interpolation, and its value


class Unresolved:
    """Stands where a value could not be resolved: already reported, so no rule looks at it."""

    def __repr__(self) -> str:
        return "???"


UNRESOLVED = Unresolved()
LOGGERS = "logger."  # their values may be filled in by the run


def resolve(composed: Config) -> tuple[dict[str, Any], Found, Fed]:
    """Return plain values, what could not be resolved, and what the environment feeds."""
    if not isinstance(composed, DictConfig) and _needs_nothing(dict(composed)):
        return deepcopy(dict(composed)), [], {}
    node = composed if isinstance(composed, DictConfig) else OmegaConf.create(dict(composed))
    found: Found = []
    fed: Fed = {}
    return _plain(node, "", found, fed), found, fed


def _needs_nothing(node: Any, depth: int = 0) -> bool:
    """Tell whether values are plain, with nothing to resolve: a config is slow to make of them."""
    if isinstance(node, str):
        return "${" not in node and node != "???"
    if type(node) in (dict, list):
        values = node.values() if isinstance(node, dict) else node
        is_plain = type(node) is list or all(type(key) is str for key in node)
        is_flat = depth < yaml_safety.DEEPEST
        return is_plain and is_flat and all(_needs_nothing(value, depth + 1) for value in values)
    return node is None or type(node) in (bool, int, float)


def _plain(node: Any, path: str, errors: Found, fed: Fed) -> Any:
    if path.count(".") > yaml_safety.DEEPEST:
        raise ConfigError("CONF-SIZE", path[:60], f"deeper than {yaml_safety.DEEPEST}")
    if isinstance(node, DictConfig):
        keys: list[Any] = list(node.keys())
        return {k: _value(node, k, f"{path}.{k}" if path else str(k), errors, fed) for k in keys}
    if isinstance(node, ListConfig):
        return [_value(node, i, f"{path}.{i}", errors, fed) for i in range(len(node))]
    return node


def _value(node: Any, key: Any, path: str, errors: Found, fed: Fed) -> Any:
    child = node._get_node(key)
    raw = child._value() if child is not None else None
    if OmegaConf.is_missing(node, key):
        if not path.startswith(LOGGERS):  # the run fills those in
            error = ConfigError("CONF-MISSING", path, "has no value yet", f"give one: {path}=...")
            errors.append((path, error))
        return UNRESOLVED if not path.startswith(LOGGERS) else raw
    try:
        value = node[key]
    except OmegaConfBaseException as error:
        errors.append((path, _unresolved(path, raw, error)))
        return UNRESOLVED
    if isinstance(raw, str) and "oc.env" in raw and child._is_interpolation():
        fed[path] = raw, value
    return _plain(value, path, errors, fed)


def _unresolved(path: str, raw: Any, error: Exception) -> TunesmithError:
    unset = re.search(r"Environment variable '(.*?)' not found", str(error))
    if unset:
        return ConfigError("CONF-ENV", path, f"environment variable {unset[1]} is not set")
    return ConfigError("CONF-INTERPOLATION", f"{path}={raw!r}", str(error).splitlines()[0])


def leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted path, value) of each leaf; a list is one."""
    if isinstance(node, Mapping) and (node or not path):
        for key, value in node.items():
            yield from leaves(value, f"{path}.{key}" if path else str(key))
    else:
        yield path, node
