"""Searches replayed on recorded learning curves: the real policies, no training."""

import heapq
import json
import random
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from tunesmith.reporting import plateau
from tunesmith.search.policies.base import Policy, Promote, Start, TrialState

FILE = Path(__file__).parents[1] / "benchmarks" / "curves.json"
ROWS = 225  # of the validation split that the scores are of


class Trial(NamedTuple):
    """A recorded config: what a search sees of it, and how good it is."""

    scores: Mapping[float, float | None]  # fraction of the training -> best so far
    is_degenerate: bool
    test: float  # accuracy on rows that no search sees


class Replayed(NamedTuple):
    """What a search chose and what it cost; trainings and makespan are in whole trainings."""

    regret: float  # of the best trial that it might have chosen, in test accuracy
    started: int
    trainings: float
    checkpoints: int  # written where a trial was paused
    makespan: float


def drawn(seed: int, count: int) -> list[Trial]:
    """Return so many of the recorded trials, in a random order."""
    recorded = json.loads(FILE.read_text())
    fractions = [float(Fraction(rung)) for rung in recorded["rungs"]]
    dice = random.Random(seed)
    return [
        Trial(
            dict(zip(fractions, config["scores"], strict=True)),
            config["failure"] is not None,
            config["test"],
        )
        for config in dice.sample(recorded["configs"], count)
    ]


def replay(
    policy: Policy, trials: Sequence[Trial], workers: int = 1, patience: int | None = None
) -> Replayed:
    """Search through these trials as `SearchLoop` does; every worker trains equally fast."""
    last = len(policy.rungs) - 1
    standings: list[TrialState] = []
    running: list[tuple[float, int, int]] = []  # when it ends, trial, rung
    now = trainings = 0.0
    checkpoints, is_over = 0, False
    while True:
        while len(running) < workers:
            action = policy.next(standings, len(standings) < len(trials) and not is_over)
            if action is None and not running:
                action = _finish_the_best(standings, trials, last)
            if action is None:
                break
            if isinstance(action, Start):
                number, begin = len(standings), 0.0
                rung = policy.first_rung(action.bracket)
                standings.append(TrialState(number, action.bracket, {}, True, False))
            else:
                number = action.number
                rung = max(standings[number].scores) + 1
                begin = policy.rungs[rung - 1]
                standings[number] = standings[number]._replace(running=True)
            trainings += policy.rungs[rung] - begin
            heapq.heappush(running, (now + policy.rungs[rung] - begin, number, rung))
        if not running:
            break
        now, number, rung = heapq.heappop(running)
        checkpoints += rung < last
        standings[number] = _ended(standings[number], rung, trials[number], policy)
        is_over = is_over or _is_over(standings, trials, patience, last)
    chosen = max(
        (s for s in standings if last in s.scores and not trials[s.number].is_degenerate),
        key=lambda s: (s.scores[last], -s.number),
    )
    best = max(trial.test for trial in trials)
    regret = best - trials[chosen.number].test
    return Replayed(regret, len(standings), trainings, checkpoints, now)


def _ended(standing: TrialState, rung: int, trial: Trial, policy: Policy) -> TrialState:
    score = trial.scores[policy.rungs[rung]]
    if score is None:
        return standing._replace(running=False, failed=True)
    return standing._replace(running=False, scores={**standing.scores, rung: score})


def _is_over(
    standings: Sequence[TrialState], trials: Sequence[Trial], patience: int | None, last: int
) -> bool:
    """Return whether search.patience starts no more trials."""
    if patience is None:
        return False
    curves = [
        {} if trials[s.number].is_degenerate else s.scores
        for s in standings
        if s.scores or s.failed
    ]
    gain, best = plateau.expected_gain(curves, patience, last), plateau.best_of(curves)
    if gain is None or best is None:
        return False
    noise = plateau.noise_of("val/accuracy", best, ROWS, [])
    return noise is not None and gain < noise.sigma


def _finish_the_best(
    standings: Sequence[TrialState], trials: Sequence[Trial], last: int
) -> Promote | None:
    waiting = [s for s in standings if s.scores and not trials[s.number].is_degenerate]
    if not waiting or any(last in s.scores for s in waiting):
        return None
    return Promote(max(waiting, key=lambda s: (max(s.scores), s.scores[max(s.scores)])).number)
