"""Confirmation: is a candidate clearly better than the default, over the same fresh seeds?"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from tunesmith.reporting import formatting
from tunesmith.reporting.results import Arm, Confirmation
from tunesmith.reporting.statistics import half_width, probability_above, range_of
from tunesmith.search.confirmation.sequential import (
    AGREES,
    Mode,
    Plan,
    Scores,
    Standing,
    Step,
    next_step,
)

NOBODY = "nobody wins: the default failed on every seed, each candidate on one"


def confirm(
    scores: Scores,
    default: int,
    seeds: Sequence[int],
    mode: Mode = "max",
    alpha: float = 0.02,
    metric: str = "",
    stop_early: bool = False,
) -> Confirmation:
    """Compare every candidate with the default over the same seeds, and name the winner.

    The default wins unless a candidate is clearly better: its one-sided p-value, corrected
    for the number of candidates (Dunnett, 1955), is below `alpha`, and its own pairs agree
    (P(better) > 0.95), which guards against one arm noisier than the rest. Of several the
    one with the best mean wins. A candidate that failed on a seed cannot win. Seeds on which
    the default failed are left out, in its favour. Without noise to measure (one seed, or
    the same differences on every seed), nothing is clear. Where the default failed on every seed
    and each candidate on one, nobody can win: see `why_nobody_wins`. The interval of a mean ends
    where the values of `metric` do.

    With `stop_early` the seeds are the most that there may be, and a row ends where its trial
    was dropped or the confirmation ended (`sequential.next_step`); ValueError where it has not.

    `alpha` is the chance that any candidate wins when none is better; docs/confirmation.md has
    the table of how often luck wins, and an effect is found, in simulation.
    """
    if default not in scores:
        raise ValueError(f"the default, trial {default}, must be among trials {sorted(scores)}")
    if not stop_early and any(len(row) != len(seeds) for row in scores.values()):
        raise ValueError(f"every trial needs one score (or None) for each of {len(seeds)} seeds")
    plan = Plan(len(seeds), stop_early, mode, alpha)
    finite = {trial: [_finite_or_none(score) for score in row] for trial, row in scores.items()}
    step = next_step(finite, default, plan)
    if not step.is_over:
        raise ValueError(f"trials {sorted(step.trials)} need scores over {step.seeds} seeds")
    known = {trial: row[: _seeds_of(trial, step)] for trial, row in finite.items()}
    arms = {trial: _arm(trial, known, default, step, plan, range_of(metric)) for trial in known}
    winner, reason = _verdict(known, arms, default, step, plan)
    return Confirmation(
        seeds=list(seeds[: step.seeds]),
        most_seeds=len(seeds),
        alpha=alpha,
        arms=list(arms.values()),
        winner=winner,
        clearly_better=step.winner is not None,
        reason=reason,
    )


def why_nobody_wins(scores: Scores, default: int) -> str | None:
    """Return why no trial can be the winner; None where one can."""
    finite = {trial: [_finite_or_none(score) for score in row] for trial, row in scores.items()}
    whole = [trial for trial, row in finite.items() if trial != default and None not in row]
    return None if whole or any(score is not None for score in finite[default]) else NOBODY


def _seeds_of(trial: int, step: Step) -> int:
    """Return how many seeds a trial had when it was dropped, else at the end."""
    return step.dropped[trial].seeds if trial in step.dropped else step.seeds


def _verdict(
    scores: Scores, arms: Mapping[int, Arm], default: int, step: Step, plan: Plan
) -> tuple[int, str]:
    """Return who wins, and why."""
    shared = [score for score in scores[default] if score is not None]
    whole = [trial for trial in scores if trial != default and None not in scores[trial]]
    if not shared:
        return _without_default(scores, whole, plan)
    remarks = _remarks(scores, default)
    if not whole:
        why = "no candidate finished every seed" if len(scores) > 1 else "there is no candidate"
        return default, why + remarks
    if len(shared) < 2:
        return default, f"one seed shows no noise to judge by{remarks}"
    known = {trial: step.standings[trial] for trial in whole}
    best = max(whole, key=lambda trial: (_seeds_of(trial, step), known[trial].gain))
    best = best if step.winner is None else step.winner
    standing = known[best]
    gain = _in_words(standing.gain)
    if standing.p_value is None:
        why = "every seed shows the same differences, so there is no noise to judge by"
        return default, f"{why}; trial {best} is {gain}{remarks}"
    over = f"{standing.seeds}" + (f" of at most {plan.seeds}" if step.seeds < plan.seeds else "")
    figures = (
        f"{gain} over {over} seeds, {_p_in_words(standing.p_value)} after correction for "
        f"{_count(standing.candidates)}"
    )
    if step.winner is not None:
        return best, f"trial {best} is {figures}, below {standing.level:.2g}{remarks}"
    doubt = _doubt(standing, arms[best])
    return default, f"the best candidate, trial {best}, is {figures}, {doubt}{remarks}"


def _doubt(standing: Standing, arm: Arm) -> str:
    """Return why the best candidate is not clearly better."""
    if arm.dropped is not None:
        chance = formatting.percent(standing.futile)
        return f"and no candidate had a chance of {chance} left to end clearly better"
    if standing.p_value is not None and standing.p_value < standing.level:
        return f"but P(better) from its own seeds is {arm.p_better:.2f}, not above {AGREES:g}"
    return f"not below {standing.level:.2g}"


def _without_default(scores: Scores, whole: list[int], plan: Plan) -> tuple[int, str]:
    """Choose by the mean alone: a default that never finished can be nobody's winner."""
    if not whole:
        raise ValueError(NOBODY)
    sign = 1.0 if plan.mode == "max" else -1.0
    failed = "the default failed on every seed"
    best = max(whole, key=lambda trial: sign * np.mean(np.array(scores[trial], dtype=float)))
    return best, f"{failed}, so nothing is confirmed: trial {best} has the best mean of the rest"


def _remarks(scores: Scores, default: int) -> str:
    """Say which arms failed on how many seeds."""
    remarks = ""
    for trial, row in scores.items():
        failed = f"failed on {row.count(None)} of {len(row)} seeds"
        if None in row and trial == default:
            remarks += f"; the default {failed}, which are left out"
        elif None in row:
            remarks += f"; trial {trial} {failed} and cannot win"
    return remarks


def _count(candidates: int) -> str:
    return "1 candidate" if candidates == 1 else f"{candidates} candidates"


def _in_words(difference: float) -> str:
    if difference == 0:
        return "equal to the default"
    return f"{'better' if difference > 0 else 'worse'} than the default by {abs(difference):.3g}"


def _p_in_words(p: float) -> str:
    return f"p = {p:.3g}" if p >= 1e-4 else "p < 0.0001"


def _arm(
    trial: int, scores: Scores, default: int, step: Step, plan: Plan, bounds: tuple[float, float]
) -> Arm:
    own = [score for score in scores[trial] if score is not None]
    mean, half = float(np.mean(own)) if own else None, half_width(own)
    low, high = None, None
    if mean is not None and half is not None:
        low, high = max(mean - half, bounds[0]), min(mean + half, bounds[1])
    pairs = zip(scores[trial], scores[default], strict=False)  # a dropped one has fewer
    gains = [a - b for a, b in pairs if a is not None and b is not None and trial != default]
    difference = float(np.mean(gains)) if gains else None
    sign = 1.0 if plan.mode == "max" else -1.0
    return Arm(
        trial=trial,
        is_default=trial == default,
        scores=list(scores[trial]),
        mean=mean,
        low=low,
        high=high,
        difference=difference,
        p_better=probability_above([sign * gain for gain in gains]),
        dropped=step.dropped[trial].why if trial in step.dropped else None,
    )


def _finite_or_none(score: float | None) -> float | None:
    return score if score is not None and math.isfinite(score) else None
