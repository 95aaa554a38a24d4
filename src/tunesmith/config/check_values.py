"""Values alone: unknown keys, types, ranges, what is missing."""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from tunesmith.config import schema
from tunesmith.config.instantiate import CONF
from tunesmith.config.interpolation import Found, Unresolved
from tunesmith.config.redact import as_typed, names_secret
from tunesmith.errors import ConfigError, TunesmithError, did_you_mean
from tunesmith.runtime.secrets import MASK


def wrong_values(values: dict[str, Any], hidden: Collection[str]) -> Found:
    """Check each leaf by its rule; the values of `hidden` paths are not shown."""
    found: Found = []
    for path, value in _schema_nodes(values):
        shown = MASK if path in hidden or names_secret(path) else as_typed(value)
        rule = schema.RULES.get(path)
        if isinstance(value, Unresolved):
            continue
        if rule is not None:
            error = rule.check(path, value, shown)
        elif path in schema.branches():
            error = ConfigError("CONF-TYPE", f"{path}={shown}", "must be a mapping of keys")
        elif path.partition(".")[0] in (*schema.TARGET_GROUPS, schema.LOGGERS):
            error = _not_finite(path, value)
        else:
            error = ConfigError("CONF-KEY", path, "no such key", suggestion(path, schema.RULES))
        if error is not None:
            found.append((path, error))
    return found


def check_value(path: str, value: Any) -> TunesmithError | None:
    """Return the mistake of one value by itself, where the key has a rule."""
    shown = MASK if names_secret(path) else as_typed(value)
    rule = schema.RULES.get(path)
    return _not_finite(path, value) if rule is None else rule.check(path, value, shown)


def suggestion(path: str, known: Iterable[str]) -> str:
    """Guess which key was meant: one spelt nearly so, or one of that name in another group."""
    known = list(known)
    near = did_you_mean(path, known)
    last = path.rpartition(".")[2]
    same = sorted(key for key in known if key.endswith(f".{last}"))
    if same and ("." not in path or not near):
        return f"did you mean {same[0]!r}?"
    return near


def _schema_nodes(values: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (path, value) of each leaf; what a rule or no rule takes whole is a leaf."""
    for key, value in values.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and path not in schema.RULES and (value or prefix):
            yield from _schema_nodes(value, f"{path}.")
        elif not (isinstance(value, Mapping) and not value and path not in schema.RULES):
            yield path, value


def _not_finite(path: str, value: Any) -> TunesmithError | None:
    if isinstance(value, float) and not math.isfinite(value):
        return ConfigError("CONF-RANGE", f"{path}={value}", "must be a finite number")
    return None


def missing(values: Mapping[str, Any]) -> Found:
    """Find what every config has and this one lacks."""
    paths = [*schema.needed(), *schema.TARGET_GROUPS, schema.LOGGERS]
    absent = dict.fromkeys(gap for path in paths if (gap := _first_gap(values, path)) is not None)
    return [
        (gap, ConfigError("CONF-MISSING", gap, "is not in the config", _way_in(gap)))
        for gap in absent
    ]


def _first_gap(values: Any, path: str) -> str | None:
    """Return the shortest part of a path that the values lack."""
    parts = path.split(".")
    for i, part in enumerate(parts):
        if not isinstance(values, Mapping):
            return None  # reported as not a mapping
        lacks = part not in values or (values[part] is None and i == 0 and _is_group(part))
        if lacks:
            return ".".join(parts[: i + 1])
        values = values[part]
    return None


def _is_group(name: str) -> bool:
    return name in (*schema.branches(), *schema.TARGET_GROUPS, schema.LOGGERS)


def _way_in(path: str) -> str:
    group = path.partition(".")[0]
    if path == schema.LOGGERS:
        return "logger=none logs nowhere"
    options = sorted(file.stem for file in (CONF / group).glob("*.yaml"))
    if path == group and options:
        return f"choose one: {', '.join(options)}"
    return (
        "do not remove it" if "." not in path else f"a {group}/*.yaml of yours should build on ours"
    )
