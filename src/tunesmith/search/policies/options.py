"""Rungs: the fractions of the full horizon at which a trial is judged."""

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Annotated, Any

from tunesmith.errors import ConfigError, raise_all
from tunesmith.runtime.options import Rule

# What `rungs` of a policy may be; `parse_rungs` says what of it is wrong.
Rungs = Annotated[list[Any] | tuple[Any, ...], Rule("a list of fractions like 1/9")]
WHERE = "search.policy.rungs"


def parse_rungs(written: Sequence[str | float]) -> tuple[float, ...]:
    """Read the rungs of a policy that promotes, "1/9" or 0.5; raise all that is wrong with them."""
    read = [_fraction(rung) for rung in written]
    raise_all(rung for rung in read if isinstance(rung, ConfigError))
    rungs = tuple(rung for rung in read if isinstance(rung, float))
    raise_all(errors_in(rungs))
    return rungs


def errors_in(rungs: Sequence[float]) -> Iterator[ConfigError]:
    """Yield what is wrong with the rungs: 0 < rung <= 1, ascending, the last 1."""
    where = f"{WHERE}={[round(rung, 4) for rung in rungs]}"
    if any(not 0 < rung <= 1 for rung in rungs):
        what = "a rung is a fraction of the whole training, above 0 and at most 1"
        yield ConfigError("CONF-RANGE", where, what, "for example [1/9,1/3,1]")
    elif any(low >= high for low, high in pairwise(rungs)):
        yield ConfigError("CONF-RANGE", where, "rungs must rise", "write them in ascending order")
    elif not rungs or rungs[-1] != 1:
        yield ConfigError("CONF-RANGE", where, "the last rung must be 1", "append 1")
    elif len(rungs) == 1:
        what = "a policy that promotes needs two rungs at least"
        yield ConfigError("CONF-VALUE", where, what, "use [1/9,1/3,1], or search/policy=full")


def _fraction(written: str | float) -> float | ConfigError:
    try:
        if isinstance(written, bool):
            raise ValueError
        number = float(Fraction(written) if isinstance(written, str) else written)
    except (ValueError, TypeError, ZeroDivisionError, OverflowError):
        number = math.nan
    if math.isfinite(number):
        return number
    fix = "write a fraction or a decimal, 1/3 or 0.5"
    return ConfigError("CONF-VALUE", f"{WHERE}={written}", "is not a number", fix)
