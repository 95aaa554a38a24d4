"""Values alone: unknown keys, types, ranges, what is missing."""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from tunesmith.config import schema
from tunesmith.config.instantiate import CONF
from tunesmith.config.interpolation import Found, Unresolved
from tunesmith.config.redact import as_typed
from tunesmith.config.run_config import RunConfig
from tunesmith.errors import ConfigError, TunesmithError, did_you_mean, raise_all
from tunesmith.runtime.mask_secrets import MASK, names_secret
from tunesmith.runtime.options import Key, choices, describe, is_of_type, is_valid

NOT_THERE = "is not in the config"


def wrong_values(values: dict[str, Any], hidden: Collection[str]) -> Found:
    """Check each leaf by its type; the values of `hidden` paths are not shown."""
    keys = schema.keys_for(values)
    branches = schema.branches(keys)
    found: Found = []
    for path, value in _leaves(values, keys):
        shown = MASK if path in hidden or names_secret(path) else as_typed(value)
        if isinstance(value, Unresolved):
            continue
        if path in keys:
            error = violation(keys[path], value, shown)
        elif path in branches:
            error = ConfigError("CONF-TYPE", f"{path}={shown}", "must be a mapping of keys")
        elif schema.target_group(path) or path.startswith(f"{schema.LOGGERS}."):
            error = _not_finite(path, value)
        else:
            error = ConfigError("CONF-KEY", path, "no such key", suggestion(path, keys))
        if error is not None:
            found.append((path, error))
    return found


def typed(values: Mapping[str, Any]) -> RunConfig:
    """Return plain values as a typed config; raise every mistake in them at once."""
    plain = dict(values)
    raise_all(error for _, error in wrong_values(plain, ()) + missing(plain))
    try:
        return RunConfig.model_validate(plain)
    except ValidationError as error:  # a whole group that is something else
        raise_all(
            ConfigError("CONF-TYPE", ".".join(map(str, one["loc"])), one["msg"])
            for one in error.errors()
        )
        raise


def violation(key: Key, value: Any, shown: str) -> TunesmithError | None:
    """Return what is wrong with the value of a key, or None."""
    kind = key.annotation
    if is_valid(kind, value):
        return None
    where, what = f"{key.path}={shown}", f"must be {describe(kind)}"
    if choices(kind):
        return ConfigError("CONF-CHOICE", where, what, nearest(str(value), choices(kind)))
    if is_of_type(kind, value):
        return ConfigError("CONF-RANGE", where, what)
    return ConfigError("CONF-TYPE", where, what, _hint(kind, value))


def _hint(kind: Any, value: Any) -> str:
    """Say what to do where yaml took a text for something else."""
    takes_text = is_of_type(kind, "text") or is_of_type(kind, ["text"])
    items = value if isinstance(value, list) else [value]
    odd = [type(v).__name__ for v in items if isinstance(v, bool | int | float)]
    return f"quote a text that yaml reads as {odd[0]}" if takes_text and odd else ""


def nearest(word: str, known: Iterable[Any]) -> str:
    """Return "did you mean 'x'?" for what begins so, else for what is spelt nearly so, else ""."""
    names = [str(name) for name in known]
    begun = [name for name in names if word and name.startswith(word)]
    return f"did you mean {begun[0]!r}?" if begun else did_you_mean(word, names)


def check_value(path: str, value: Any) -> TunesmithError | None:
    """Return what is wrong with one value by itself, whatever target the key is of."""
    shown = MASK if names_secret(path) else as_typed(value)
    errors = [violation(key, value, shown) for key in schema.packaged_keys().get(path, ())]
    if not errors:
        return _not_finite(path, value)
    return errors[0] if all(errors) else None


def suggestion(path: str, known: Iterable[str]) -> str:
    """Guess which key was meant: one spelt nearly so, or one of that name in another group."""
    known = list(known)
    near = did_you_mean(path, known)
    last = path.rpartition(".")[2]
    same = sorted(key for key in known if key.endswith(f".{last}"))
    if same and ("." not in path or not near):
        return f"did you mean {same[0]!r}?"
    return near


def _leaves(
    values: Mapping[Any, Any], keys: Collection[str], prefix: str = ""
) -> Iterator[tuple[str, Any]]:
    """Yield (path, value) of each leaf; what a key takes whole is a leaf."""
    for key, value in values.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and path not in keys and (value or prefix):
            yield from _leaves(value, keys, f"{path}.")
        elif not (isinstance(value, Mapping) and not value and path not in keys):
            yield path, value


def _not_finite(path: str, value: Any) -> TunesmithError | None:
    if isinstance(value, float) and not math.isfinite(value):
        return ConfigError("CONF-RANGE", f"{path}={value}", "must be a finite number")
    return None


def missing(values: Mapping[str, Any]) -> Found:
    """Find what every config has and this one lacks."""
    paths = [*schema.needed(), *schema.TARGET_GROUPS, schema.LOGGERS]
    absent = dict.fromkeys(gap for path in paths if (gap := _first_gap(values, path)) is not None)
    return [(gap, ConfigError("CONF-MISSING", gap, NOT_THERE, _way_in(gap))) for gap in absent]


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
    return name in (*schema.branches(schema.plain_keys()), *schema.TARGET_GROUPS, schema.LOGGERS)


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
