"""Targets: trusted, and called with names that they take."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from tunesmith.config import instantiate, schema
from tunesmith.config.interpolation import Found, Unresolved
from tunesmith.config.signatures import PROVIDED, arguments
from tunesmith.errors import ConfigError, TunesmithError, did_you_mean

BOUND_LATER = ("optimizer", "scheduler")  # these say `_partial_: true`
NO_TARGET = "needs a _target_: what to build"


def wrong_targets(values: Mapping[str, Any]) -> Found:
    """Find targets that are not trusted, and keys that a target does not take."""
    trust = _trust_of(values)
    found: Found = [(error.where, error) for error in instantiate.check(values, trust)]
    for group, path, node in _target_nodes(values):
        name = node.get(instantiate.TARGET) if isinstance(node, Mapping) else None
        if isinstance(name, Unresolved) or isinstance(node, Unresolved):
            continue
        if not isinstance(name, str):
            fix = f"choose one: {group.replace('.', '/')}={node}" if isinstance(node, str) else ""
            error = ConfigError("CONF-TARGET", path, NO_TARGET, fix)
            found.append((path, error))
        elif instantiate.is_trusted(name, trust):
            found += [(path, error) for error in _wrong_call(group, path, node, trust)]
    return found


def unknown_argument(path: str, key: str, name: str, takes: Iterable[str]) -> ConfigError:
    """Say that a target does not take a key."""
    near = did_you_mean(key, takes)
    return ConfigError(
        "CONF-KEY", f"{path}.{key}", f"{name} takes no {key!r}", near or f"remove it: ~{path}.{key}"
    )


def _target_nodes(values: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    for group in schema.TARGET_GROUPS:
        node = schema.node_of(values, group)
        if node is not None:
            yield group, group, node
    loggers = values.get(schema.LOGGERS)
    if isinstance(loggers, Mapping):
        for name, node in loggers.items():
            yield schema.LOGGERS, f"{schema.LOGGERS}.{name}", node


def _wrong_call(
    group: str, path: str, node: Mapping[str, Any], trust: Collection[str]
) -> Iterator[TunesmithError]:
    """Compare a node's keys with the names that its target takes."""
    name = node[instantiate.TARGET]
    if bool(node.get(instantiate.PARTIAL)) != (group in BOUND_LATER):
        must = "must be true" if group in BOUND_LATER else "must not be set"
        yield ConfigError("CONF-TARGET", f"{path}.{instantiate.PARTIAL}", must)
    beside = {p.partition(".")[2] for p in schema.BESIDE_TARGET if p.startswith(f"{group}.")}
    keys = set(node) - {instantiate.TARGET, instantiate.PARTIAL} - beside
    special = sorted(key for key in keys if str(key).startswith("_") and str(key).endswith("_"))
    for key in special:
        yield ConfigError("CONF-KEY", f"{path}.{key}", "only _target_ and _partial_ are supported")
    ours = (
        instantiate.packaged_nodes().get(name, frozenset())
        - {instantiate.TARGET, instantiate.PARTIAL}
        - beside
    )
    if keys == ours and name in instantiate.packaged_nodes():
        return  # a test holds the shipped ones against their signatures: no import needed
    try:
        takes, takes_any = arguments(name, trust)
    except TunesmithError as error:
        yield error
        return
    given = PROVIDED.get(group, set())
    for key in sorted(keys - set(special) - (takes.keys() - given), key=str):
        if not takes_any or key in given:
            yield unknown_argument(path, key, name, [n for n in takes if n not in given])
    for key, required in takes.items():
        if required and key not in keys | given and group != schema.LOGGERS:
            yield ConfigError(
                "CONF-MISSING", f"{path}.{key}", f"{name} needs it", f"+{path}.{key}=..."
            )


def _trust_of(values: Mapping[str, Any]) -> list[str]:
    trust = values.get("trust")
    return [p for p in trust if isinstance(p, str) and p] if isinstance(trust, list) else []
