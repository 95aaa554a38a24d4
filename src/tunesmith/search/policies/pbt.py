"""PBT: a population whose worst members go on from copies of the best, with other settings."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar

from annotated_types import Gt, Le

from tunesmith.errors import ConfigError, TunesmithError
from tunesmith.runtime.options import Number, Positive, Rule, Unit
from tunesmith.search.policies.base import Action, Branch, Policy, Promote, Start, TrialState
from tunesmith.search.policies.options import Rungs, parse_rungs
from tunesmith.search.space.perturb import perturbed
from tunesmith.search.space.space import Space

MAY_CHANGE = re.compile(  # no shape, no row, no order of rows, no number of steps hangs on these
    r"optimizer\.(lr|weight_decay|betas|eps|momentum)"
    r"|scheduler\.(warmup|final|initial|power|decay)"
    r"|model\.(hidden|attention|classifier)_dropout|task\.dropout"
    r"|loss\.(?!class_weights$)\w+|trainer\.gradient_clip_val"
)


class PbtPolicy(Policy):
    """Population based training (Jaderberg et al., 2017), a generation at a time.

    The trials that are started are the members. When all of a generation have come to its rung,
    each of the worst `quantile_fraction` is replaced: a new trial takes weights, moments and
    the place in the data from one of the best `quantile_fraction`, with settings near its own.
    The first replacement branches off the best, the next off the second best. All others go on.
    Members are ranked by their score at the rung, not by the best so far: that is what a copy
    has. One that failed is replaced in any case. Nothing depends on who ended first, so that the
    study is the same over any number of workers.
    """

    by_latest: ClassVar[bool] = True
    finishes_last: ClassVar[bool] = True

    def __init__(
        self,
        rungs: Rungs,
        quantile_fraction: Annotated[Number, Gt(0), Le(0.5)],
        perturbation_factors: Annotated[list[Positive], Rule("a list of numbers > 0")],
        resample_probability: Unit,
    ) -> None:
        self.rungs = parse_rungs(rungs)
        self.quantile_fraction = quantile_fraction
        self.perturbation_factors = perturbation_factors
        self.resample_probability = resample_probability

    def next(self, standings: Sequence[TrialState], may_start: bool) -> Action | None:
        if may_start:
            return Start(0)
        members = [trial for trial in standings if trial.parent is None]
        for rung in range(len(self.rungs) - 1):
            if any(trial.running and rung not in trial.scores for trial in members):
                return None  # the generation is not complete
            best, staying = self._judged(members, rung)
            children = [t for t in standings if t.parent is not None and t.parent.rung == rung]
            if best and len(children) < len(members) - len(staying):
                return Branch(best[len(children) % len(best)].number, rung)
            for trial in staying:
                if not (rung + 1 in trial.scores or trial.running or trial.failed):
                    return Promote(trial.number)
            members = sorted([*staying, *children], key=lambda trial: trial.number)
        return None

    def _judged(
        self, members: Sequence[TrialState], rung: int
    ) -> tuple[list[TrialState], list[TrialState]]:
        """Return the best of a generation, and all that are not replaced, both the best first."""
        ranked = [trial for trial in members if rung in trial.scores]
        ranked.sort(key=lambda trial: -trial.scores[rung])  # of equals the lower number first
        count = min(math.ceil(len(members) * self.quantile_fraction), len(members) // 2)
        return ranked[:count], ranked[: len(members) - count]

    def explore(self, space: Space, params: Mapping[str, Any], seed: int) -> dict[str, Any]:
        factors, probability = self.perturbation_factors, self.resample_probability
        return perturbed(space, params, seed, factors, probability)

    def check(self, space: Space, config: Any) -> Iterator[TunesmithError]:
        """Yield what cannot change in mid-run, and what lets members end at other steps."""
        for dimension in space.dimensions:
            if dimension.is_group or not MAY_CHANGE.fullmatch(dimension.key):
                what = "cannot change in mid-run, as search/policy=pbt changes what is searched"
                fix = f"leave it out; {dimension.key}=VALUE holds it, space=pbt has what may change"
                yield ConfigError("CONF-SPACE", dimension.key, what, fix)
        if config.scheduler.monitor is not None:
            what = "follows a score, and members take over each other's"
            where = f"scheduler.monitor={config.scheduler.monitor}"
            yield ConfigError("CONF-SPACE", where, what, "use scheduler=linear")
        patience = config.callbacks.early_stopping.patience
        if patience is not None:
            where = f"callbacks.early_stopping.patience={patience}"
            what = "ends members at different steps, and search/policy=pbt compares them at rungs"
            fix = "set callbacks.early_stopping.patience=null"
            yield ConfigError("CONF-SPACE", where, what, fix)
