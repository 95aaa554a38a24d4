"""Policies: which segment of which trial comes next."""

from collections.abc import Callable, Iterator, Sequence

from tunesmith.errors import ConfigError, did_you_mean, raise_all
from tunesmith.search.policies.asha import Asha
from tunesmith.search.policies.base import Policy
from tunesmith.search.policies.full import Full
from tunesmith.search.policies.hyperband import Hyperband
from tunesmith.search.policies.median import Median
from tunesmith.search.policies.rungs import WHERE, mistakes_in

BUILD: dict[str, Callable[[Sequence[float], int, int], Policy]] = {
    "full": lambda rungs, reduction_factor, startup: Full(),
    "asha": lambda rungs, reduction_factor, startup: Asha(rungs, reduction_factor),
    "hyperband": lambda rungs, reduction_factor, startup: Hyperband(rungs, reduction_factor),
    "median": lambda rungs, reduction_factor, startup: Median(rungs, startup),
}


def make(name: str, rungs: Sequence[float], reduction_factor: int, startup: int = 5) -> Policy:
    """Build a policy by its name; report everything that is wrong with its settings at once."""
    raise_all(_mistakes(name, rungs, reduction_factor, startup))
    return BUILD[name](rungs, reduction_factor, startup)


def _mistakes(
    name: str, rungs: Sequence[float], reduction_factor: int, startup: int
) -> Iterator[ConfigError]:
    yield from mistakes_in(rungs)
    if name not in BUILD:
        fix = did_you_mean(name, BUILD) or f"choose one: {', '.join(BUILD)}"
        yield ConfigError("CONF-VALUE", f"search.policy={name}", "no such policy", fix)
    elif name == "full" and len(rungs) > 1:
        what = f"policy full trains every trial to its end, but there are {len(rungs)} rungs"
        yield ConfigError("CONF-VALUE", WHERE, what, "use [1], or search.policy=asha")
    elif name != "full" and len(rungs) == 1:
        what = f"policy {name} needs at least two rungs: there is nothing to promote to"
        yield ConfigError("CONF-VALUE", WHERE, what, "use [1/9,1/3,1], or search.policy=full")
    if reduction_factor < 2:
        where = f"search.reduction_factor={reduction_factor}"
        yield ConfigError("CONF-RANGE", where, "one of so many goes on: at least 2")
    if startup < 1:
        where = f"search.startup={startup}"
        yield ConfigError("CONF-RANGE", where, "must be at least 1 result at a rung")
