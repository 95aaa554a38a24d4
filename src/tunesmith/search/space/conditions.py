"""Conditions of dimensions: `when` names other keys, and what they must be."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from tunesmith.config import suggestion
from tunesmith.errors import ConfigError, TunesmithError, did_you_mean
from tunesmith.search.space.dimension import Dimension
from tunesmith.search.space.quoting import quoted
from tunesmith.search.space.space import allows

ABSENT = object()
Known = Callable[[str], Any]  # the value that a key or a group has in all trials; or ABSENT


def errors_in(
    dimensions: Mapping[str, Dimension], known: Known, keys: list[str]
) -> Iterator[TunesmithError]:
    """Yield each condition that names nothing, that can never hold, or that ends in itself."""
    for dimension in dimensions.values():
        for key, wanted in dimension.when.items():
            where = f"{dimension.key} when {key}={_shown(wanted)}"
            if key in dimensions:
                yield from _never(where, wanted, dimensions[key])
            elif known(key) is ABSENT:
                fix = suggestion(key, [*dimensions, *keys])
                yield ConfigError("CONF-KEY", where, f"{key} is not searched and no key", fix)
    yield from _circles(dimensions)


def always_searched(
    dimensions: Mapping[str, Dimension], known: Known
) -> tuple[dict[str, Dimension], list[tuple[Dimension, str]]]:
    """Decide the conditions on what is not searched; return what stays, and what is left out.

    A dimension stays with the conditions that each trial decides. One left out comes with the
    condition that does not hold.
    """
    stay = dict(dimensions)
    out: list[tuple[Dimension, str]] = []
    while True:
        failed = {
            key: failing
            for key, dimension in stay.items()
            if (failing := _failing(dimension, stay, known)) is not None
        }
        if not failed:
            break
        out += [(stay[key], failing) for key, failing in failed.items()]
        stay = {key: dimension for key, dimension in stay.items() if key not in failed}
    kept = {
        key: replace(d, when={k: wanted for k, wanted in d.when.items() if k in stay})
        for key, d in stay.items()
    }
    return kept, out


def _failing(dimension: Dimension, stay: Mapping[str, Dimension], known: Known) -> str | None:
    for key, wanted in dimension.when.items():
        if key not in stay and not allows(wanted, known(key)):
            return f"{key}={_shown(wanted)}"
    return None


def _never(location: str, allowed: Any, parent: Dimension) -> Iterator[TunesmithError]:
    for value in allowed if isinstance(allowed, list) else [allowed]:
        if not parent.contains(value):
            fix = did_you_mean(str(value), map(str, parent.choices))
            what = f"{_shown(value)} is none of its values"
            yield ConfigError("CONF-SPACE", location, what, fix)


def _circles(dimensions: Mapping[str, Dimension]) -> Iterator[TunesmithError]:
    """Name each circle once, from the key of it that stands first."""
    told: set[str] = set()
    for start in dimensions:
        path = _way_back(start, dimensions)
        if path and not told & set(path):
            told |= set(path)
            shown = " -> ".join([*path, start])
            yield ConfigError("CONF-SPACE", start, f"its condition depends on itself: {shown}")


def _way_back(start: str, dimensions: Mapping[str, Dimension]) -> list[str]:
    """Return the keys from `start` along conditions until it comes again; empty if it does not."""
    ways = [[start]]
    seen: set[str] = set()
    while ways:
        way = ways.pop()
        for key in dimensions[way[-1]].when:
            if key == start:
                return way
            if key in dimensions and key not in seen:
                seen.add(key)
                ways.append([*way, key])
    return []


def _shown(value: Any) -> str:
    try:
        return quoted(value)
    except TypeError:
        return str(value)
