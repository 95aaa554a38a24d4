"""How long a search still takes: what was estimated, corrected by what its segments have taken."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

import numpy as np

from tunesmith.search.confirmation.sequential import Plan, expected_blocks
from tunesmith.search.cost.play_through import (
    Played,
    Running,
    SearchShape,
    WorkloadOf,
    play_often,
)
from tunesmith.search.cost.workload import Workload
from tunesmith.search.policies.base import TrialState

PLAYS = 20  # times that a search is played through; the mean counts
NOISE = 0.15  # relative, of a segment's seconds
DOUBT = 0.5  # relative, of what was measured before the search
NO_IDEA = 1.0  # the same where nothing was
LEAST = 0.05  # of the estimate, that a segment takes whatever the correction


class Observed(NamedTuple):
    """What one seed of a trial has taken, and by its workload was to take: seconds."""

    segments: int
    expected: float
    seconds: float


class Correction(NamedTuple):
    """What a segment takes against the estimate: seconds = factor * expected + extra."""

    factor: float = 1.0
    extra: float = 0.0

    def seconds(self, expected: float) -> float:
        return max(self.factor * expected + self.extra, LEAST * self.factor * expected)


@dataclass(frozen=True)
class Progress:
    """How far a search is."""

    standings: Sequence[TrialState] = ()
    observed: Sequence[Observed] = ()
    running: Sequence[Running] = ()  # segments of trials that are handed out
    # By their workload, of runs of the confirmation that are still to end; None: it has not begun.
    runs: Sequence[float] | None = None
    run_seconds: Sequence[float] = ()  # that the first of them, which are under way, have taken
    winner_seconds: float | None = None  # since the winner is tested or saved; None: it is not


def seconds_left(
    shape: SearchShape,
    workload_of: WorkloadOf,
    winner: float,
    progress: Progress,
    is_measured: bool = True,
    handover: float = 0.0,
) -> float | None:
    """Return the seconds until the search ends, its confirmation and its winner counted.

    `workload_of` says what trials take, `winner` what testing and saving the winner does, and
    `handover` what each segment takes of the search itself. None where nothing was measured and
    nothing has ended.
    """
    correction = corrected(progress.observed, is_measured)
    if correction is None:
        return None
    correction = correction._replace(extra=correction.extra + handover)
    last = correction.seconds(winner) if winner else 0.0
    if progress.winner_seconds is not None:
        return max(last - progress.winner_seconds, LEAST * last)
    if progress.runs is not None:
        runs = list(map(correction.seconds, progress.runs))
        return makespan(runs, shape.workers, progress.run_seconds) + last
    played, share = play_often(
        PLAYS, shape, workload_of, correction.seconds, progress.standings, progress.running
    )
    trials = share * fmean(p.seconds for p in played)
    return trials + confirmation_seconds(shape, played, correction) + last


def confirmation_seconds(
    shape: SearchShape, played: Sequence[Played], correction: Correction
) -> float:
    """Return what the confirmation of such searches is expected to take, the mean over them."""
    if not shape.confirm_top:
        return 0.0
    plan = Plan(shape.confirm_seeds, shape.confirm_stop_early)
    return fmean(
        sum(
            makespan(_runs(list(map(correction.seconds, play.arm_seconds)), count), shape.workers)
            for count in expected_blocks(len(play.arm_seconds) - 1, plan)
        )
        for play in played
    )


def _runs(arms: Sequence[float], count: int) -> list[float]:
    """Return the seconds of so many runs: the arms take turns."""
    return [arms[i % len(arms)] for i in range(count)]


def makespan(runs: Sequence[float], workers: int, elapsed: Sequence[float] = ()) -> float:
    """Return when the last of runs of so many seconds ends; the first are under way so long."""
    ends = [max(run - spent, LEAST * run) for run, spent in zip(runs, elapsed, strict=False)]
    waiting = runs[len(ends) :]
    ends += [0.0] * (workers - len(ends))
    heapq.heapify(ends)
    for run in waiting:
        heapq.heapreplace(ends, ends[0] + run)
    return max(ends)


def corrected(observed: Sequence[Observed], is_measured: bool = True) -> Correction | None:
    """Fit the correction to what has ended; None where there is nothing to go by.

    Least squares of relative errors, drawn towards no correction (a normal prior): segments
    that are short or long against the estimate tell a start that takes longer from slower steps.
    """
    known = [one for one in observed if one.seconds > 0 and one.expected > 0 and one.segments]
    if not known:
        return Correction() if is_measured else None
    expected = np.array([one.expected for one in known])
    segments = np.array([one.segments for one in known], dtype=float)
    seconds = np.array([one.seconds for one in known])
    scale = 1.0 if is_measured else float(seconds.sum() / expected.sum())
    doubt = DOUBT if is_measured else NO_IDEA
    mean = float((scale * expected).sum() / segments.sum())  # seconds of a segment
    columns = np.stack([scale * expected / seconds, segments * mean / seconds], axis=1) / NOISE
    prior = np.eye(2) / doubt
    rows = np.concatenate([columns, prior])
    target = np.concatenate([np.full(len(known), 1 / NOISE), [1 / doubt, 0.0]])
    factor, extra = np.linalg.lstsq(rows, target, rcond=None)[0]
    return Correction(max(float(factor), LEAST) * scale, float(extra) * mean)


def observed_of(
    workload: Workload, rungs: Sequence[int], seconds: float, after: int | None = None
) -> Observed:
    """Return what was observed of a seed that has reached these rungs, the lowest first.

    It began `after` a rung, of which it has another trial's checkpoint; None: from the model.
    """
    before = [after, *rungs[:-1]]
    expected = [workload.seconds(rung, after) for rung, after in zip(rungs, before, strict=True)]
    return Observed(len(rungs), sum(expected), seconds)
