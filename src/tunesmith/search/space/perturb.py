"""A point near another: each setting changed a little, or drawn anew (Jaderberg et al., 2017)."""

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from tunesmith.search.space.dimension import Dimension
from tunesmith.search.space.space import Space


def perturbed(
    space: Space,
    params: Mapping[str, Any],
    seed: int,
    factors: Sequence[float] = (0.8, 1.2),
    resample_probability: float = 0.25,
) -> dict[str, Any]:
    """Return a point of the space near `params`, by their appendix A.2.

    Each active dimension is drawn anew with `resample_probability`, else moved by one of the
    factors (`moved`). One that `params` has no value for, the default's for example, is drawn.
    """
    dice = Random(seed)
    point: dict[str, Any] = {}
    for dimension in space.parents_first:
        # Drawn for each dimension, so that none depends on what became of another.
        resampled, unit, factor = dice.random(), dice.random(), dice.choice(factors)
        if dimension not in space.active(point):
            continue
        if dimension.key not in params or resampled < resample_probability:
            point[dimension.key] = dimension.at(unit)
        else:
            point[dimension.key] = moved(dimension, params[dimension.key], factor)
    return {d.key: point[d.key] for d in space.dimensions if d.key in point}


def moved(dimension: Dimension, value: Any, factor: float) -> Any:
    """Return a number times the factor, within its range; of a list the choice before or after.

    A whole number, and one that has steps, moves by one at least. A zero stays.
    """
    if not dimension.is_numeric:
        index = dimension.index(value) + (1 if factor > 1 else -1)
        return dimension.choices[min(max(index, 0), dimension.size - 1)]
    step = dimension.step or (1 if dimension.kind == "int" else 0)
    changed = value * factor
    if abs(changed - value) < step:
        changed = value + (step if factor > 1 else -step)
    changed = min(max(changed, dimension.low), dimension.last)
    return dimension.at(dimension.unit(changed)) if step else changed
