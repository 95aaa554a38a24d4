"""Policies: which segment of which trial comes next."""

from collections.abc import Callable, Iterator, Sequence

from tunesmith.errors import ConfigError, did_you_mean, raise_all
from tunesmith.search.policies.asha import AshaPolicy
from tunesmith.search.policies.base import Policy
from tunesmith.search.policies.full import FullPolicy
from tunesmith.search.policies.hyperband import HyperbandPolicy
from tunesmith.search.policies.median import MedianPolicy
from tunesmith.search.policies.rungs import WHERE, mistakes_in

BUILD: dict[str, Callable[[Sequence[float], int, int], Policy]] = {
    "full": lambda rungs, reduction_factor, min_results_per_rung: FullPolicy(),
    "asha": lambda rungs, reduction_factor, min_results_per_rung: AshaPolicy(
        rungs, reduction_factor
    ),
    "hyperband": lambda rungs, reduction_factor, min_results_per_rung: HyperbandPolicy(
        rungs, reduction_factor
    ),
    "median": lambda rungs, reduction_factor, min_results_per_rung: MedianPolicy(
        rungs, min_results_per_rung
    ),
}


def make(
    name: str, rungs: Sequence[float], reduction_factor: int, min_results_per_rung: int = 5
) -> Policy:
    """Build a policy by its name; report everything that is wrong with its settings at once."""
    raise_all(_mistakes(name, rungs, reduction_factor, min_results_per_rung))
    return BUILD[name](rungs, reduction_factor, min_results_per_rung)


def _mistakes(
    name: str, rungs: Sequence[float], reduction_factor: int, min_results_per_rung: int
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
    if min_results_per_rung < 1:
        where = f"search.min_results_per_rung={min_results_per_rung}"
        yield ConfigError("CONF-RANGE", where, "must be at least 1 result at a rung")
