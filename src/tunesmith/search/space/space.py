"""What a search varies, and how one point of it is written as overrides."""

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tunesmith import config
from tunesmith.search.space.dimension import Dimension, same
from tunesmith.search.space.quoting import quoted

Params = Mapping[str, Any]


@dataclass(frozen=True)
class Space:
    """The dimensions of a search, what is the same in all of its trials, and the replicates.

    A point of it is a mapping `params` from the keys of the active dimensions to values.
    """

    dimensions: tuple[Dimension, ...] = ()
    fixed: tuple[str, ...] = ()  # overrides of every trial, as they were written
    seeds: tuple[int, ...] = ()  # of `seed=1,2,3`: each trial is repeated over these

    def active(self, params: Params) -> tuple[Dimension, ...]:
        """Return the dimensions whose conditions these values meet, in the order of the space."""
        found: dict[str, Dimension] = {}
        for dimension in self.parents_first:
            if all(
                key in found and key in params and allows(wanted, params[key])
                for key, wanted in dimension.when.items()
            ):
                found[dimension.key] = dimension
        return tuple(d for d in self.dimensions if d.key in found)

    def overrides(self, params: Params) -> list[str]:
        """Write a point as overrides, choices of groups first; `fixed` is not repeated here."""
        if strange := sorted(params.keys() - self.by_key.keys()):
            raise ValueError(f"params of other keys than the space's: {', '.join(strange)}")
        chosen = [d for d in self.active(params) if d.key in params]
        chosen.sort(key=lambda dimension: not dimension.is_group)
        return [f"{d.prefix}{d.key}={quoted(params[d.key])}" for d in chosen]

    def contains(self, params: Params) -> bool:
        """Say whether this is a point: every active dimension with one of its values, no other."""
        active = {d.key: d for d in self.active(params)}
        return active.keys() == params.keys() and all(
            active[key].contains(value) for key, value in params.items()
        )

    def identity(self) -> dict[str, Any]:
        """Return what a study keeps of it, as plain JSON; see differences.py.

        Overrides that decide no result are left out, and secrets are masked: it is written down.
        """
        return {
            "dimensions": [dimension.plain() for dimension in self.dimensions],
            "fixed": [config.mask_override(text) for text in self.fixed if _decides(text)],
            "seeds": list(self.seeds),
        }

    @cached_property
    def by_key(self) -> dict[str, Dimension]:
        return {dimension.key: dimension for dimension in self.dimensions}

    @cached_property
    def parents_first(self) -> tuple[Dimension, ...]:
        """Sort the dimensions so that those a condition names stand before it."""
        placed: dict[str, Dimension] = {}
        waiting = list(self.dimensions)
        while waiting:
            ready = [d for d in waiting if d.when.keys() <= placed.keys()]
            if not ready:
                raise ValueError(f"no end of conditions: {[d.key for d in waiting]}")
            placed.update({d.key: d for d in ready})
            waiting = [d for d in waiting if d.key not in placed]
        return tuple(placed.values())

    @cached_property
    def blocks(self) -> tuple[tuple[Dimension, ...], ...]:
        """Group the dimensions that share their condition; what it names stands in one before."""
        grouped: dict[str, list[Dimension]] = {}
        for dimension in self.parents_first:
            grouped.setdefault(repr(sorted(dimension.when.items())), []).append(dimension)
        return tuple(tuple(block) for block in grouped.values())

    # Grids

    @cached_property
    def grid_size(self) -> int:
        """Count the points of a grid; those that differ only in what is inactive are one."""
        parents = {key for dimension in self.dimensions for key in dimension.when}
        branching = [d for d in self.dimensions if d.key in parents]
        total = 0
        for values in itertools.product(*(d.values() for d in branching)):
            params = dict(zip((d.key for d in branching), values, strict=True))
            active = self.active(params)
            if _is_first(branching, active, params):
                total += math.prod(d.size for d in active if d.key not in parents)
        return total

    def points(self) -> Iterator[dict[str, Any]]:
        """Yield each point of a grid once, in Hydra's order: the last dimension varies fastest."""
        for values in itertools.product(*(d.values() for d in self.dimensions)):
            params = dict(zip(self.by_key, values, strict=True))
            active = self.active(params)
            if _is_first(self.dimensions, active, params):
                yield {d.key: params[d.key] for d in active}


def allows(allowed: Any, value: Any) -> bool:
    """Say whether a condition holds: `wanted` is a value, or a list of values."""
    alternatives = allowed if isinstance(allowed, list | tuple) else [allowed]
    return any(same(alternative, value) for alternative in alternatives)


def _decides(text: str) -> bool:
    key = text.lstrip("+~").partition("=")[0]
    return not any(key == free or key.startswith(f"{free}.") for free in config.NOT_HASHED)


def _is_first(
    dimensions: tuple[Dimension, ...] | list[Dimension],
    active: tuple[Dimension, ...],
    params: Params,
) -> bool:
    """Tell the first of the points that differ only in inactive dimensions: those stand at 0."""
    keys = {d.key for d in active}
    return all(d.key in keys or same(params[d.key], d.values()[0]) for d in dimensions)
