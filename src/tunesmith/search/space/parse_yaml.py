"""The entries of a space yaml: a range {low, high, log, step, int} or {choices}, and `when`."""

from collections.abc import Iterator, Mapping
from typing import Any

from tunesmith.errors import ConfigError, TunesmithError, did_you_mean, raise_all
from tunesmith.search.space.dimension import Dimension
from tunesmith.search.space.parse_cli import Options

RANGE = ("low", "high", "log", "step", "int")
FIELDS = (*RANGE, "choices", "when")


def dimension(key: str, entry: Any, options: Options) -> Dimension:
    """Turn one entry into a dimension; raise every mistake of its form.

    A list stands for its choices. Whether the values make sense together is not asked here.
    """
    fields: dict[str, Any] = {"choices": entry} if isinstance(entry, list) else entry
    raise_all(_wrong_form(key, fields))
    when = fields.get("when") or {}
    if "choices" in fields:
        choices = tuple(fields["choices"])
        group = bool(options(key))
        return Dimension(key, "categorical", choices=choices, when=when, is_group=group)
    return Dimension(
        key,
        kind="int" if fields.get("int") else "float",
        low=fields["low"],
        high=fields["high"],
        log=fields.get("log", False),
        step=fields.get("step"),
        when=when,
    )


def _wrong_form(key: str, fields: Any) -> Iterator[TunesmithError]:
    where = f"space: {key}"
    if not isinstance(fields, Mapping):
        fix = f"write {key}: {{choices: [...]}}, or {{low: ..., high: ...}}"
        yield ConfigError("CONF-SPACE", where, "is not a range and no list", fix)
        return
    unknown = [name for name in fields if name not in FIELDS]
    if unknown and not set(fields) & set(FIELDS):
        yield ConfigError(
            "CONF-SPACE", where, "names no range", f"keys are dotted: {key}.{unknown[0]}: ..."
        )
        return
    for name in unknown:
        fix = did_you_mean(str(name), FIELDS) or f"there are {', '.join(FIELDS)}"
        yield ConfigError("CONF-SPACE", where, f"no such field as {name!r}", fix)
    yield from _wrong_pair(where, fields)
    yield from _wrong_types(where, fields)


def _wrong_pair(location: str, fields: Mapping[str, Any]) -> Iterator[TunesmithError]:
    beside = [name for name in RANGE if name in fields]
    missing = [name for name in ("low", "high") if name not in fields]
    if "choices" in fields and beside:
        yield ConfigError(
            "CONF-SPACE", location, f"has choices and {', '.join(beside)}", "give one or the other"
        )
    elif "choices" not in fields and missing:
        has = f"has no {' and no '.join(missing)}"
        yield ConfigError("CONF-SPACE", location, has, "or give choices")


def _wrong_types(location: str, fields: Mapping[str, Any]) -> Iterator[TunesmithError]:
    for name, kind, says in (
        ("log", bool, "true or false"),
        ("int", bool, "true or false"),
        ("choices", list, "a list"),
        ("when", Mapping, "a mapping: {key: value}"),
    ):
        if fields.get(name) is not None and not isinstance(fields[name], kind):
            yield ConfigError("CONF-SPACE", location, f"{name} must be {says}")
    if "choices" in fields and fields["choices"] is None:
        yield ConfigError("CONF-SPACE", location, "choices must be a list")
