"""What a study knows of each trial: made of results alone, kept whole in the store."""

from collections.abc import Iterable, Sequence
from statistics import fmean, stdev
from typing import Any

from pydantic import BaseModel, ConfigDict

from tunesmith.reporting.trial_results import (
    COMPLETE,
    DEGENERATE,
    FAILED,
    PAUSED,
    RUNNING,
    Parent,
    State,
)
from tunesmith.search.policies.base import TrialState
from tunesmith.search.trial import Result


class Replicate(BaseModel):
    """One seed of a trial: at each rung that it has reached its best score, and the one there."""

    model_config = ConfigDict(strict=True, ser_json_inf_nan="constants")

    seed: int
    scores: dict[int, float | None] = {}
    latest: dict[int, float | None] = {}
    last: Result | None = None
    seconds: float = 0.0  # of all its segments


class Record(BaseModel):
    """One trial, as the store has it."""

    model_config = ConfigDict(strict=True, ser_json_inf_nan="constants")

    number: int
    params: dict[str, Any]
    overrides: list[str]
    seeds: list[int]
    bracket: int = 0
    is_default: bool = False
    parent: Parent | None = None  # None: it began from the model
    pending: dict[int, tuple[int, int]] = {}  # seed -> (rung, attempt)
    replicates: dict[int, Replicate] = {}  # by seed
    failure: str | None = None
    error: str | None = None
    lost: int = 0  # workers that died under its present segments

    def take(self, result: Result) -> bool:
        """Add a result; say False, and do nothing, for one of an attempt that was given up."""
        if self.pending.get(result.seed) != (result.rung, result.attempt):
            return False
        self.spend(result)
        replicate = self.replicates[result.seed]
        del self.pending[result.seed]
        self.lost = 0
        if result.history or replicate.last is None:
            replicate.last = result
        if result.failure is not None and not self.has_failed:
            self.failure, self.error = result.failure, result.error
        if result.state == "done":
            replicate.scores[result.rung] = result.score
            replicate.latest[result.rung] = _latest(result)
        return True

    def spend(self, result: Result) -> None:
        """Count the time of a segment, also of one that was cut off and goes on later."""
        replicate = self.replicates.setdefault(result.seed, Replicate(seed=result.seed))
        replicate.seconds += result.seconds

    @property
    def ran(self) -> list[Replicate]:
        """The seeds of which anything has run, in their order."""
        return [self.replicates[seed] for seed in self.seeds if seed in self.replicates]

    @property
    def lasts(self) -> list[Result]:
        """The last result of each seed that has one."""
        return [replicate.last for replicate in self.ran if replicate.last is not None]

    @property
    def seconds(self) -> float:
        """The time of all its segments."""
        return sum(replicate.seconds for replicate in self.ran)

    @property
    def steps(self) -> int:
        """The optimizer steps of all seeds, without those that it was begun with."""
        before = self.parent.step if self.parent is not None else 0
        return sum(max(0, last.step - before) for last in self.lasts)

    def score_at(self, rung: int, by_latest: bool = False) -> float | None:
        """Return the mean over the seeds of the best score at a rung; None until all have one.

        With `by_latest` of the score that was measured there.
        """
        numbers = self._scores_at(rung, by_latest)
        return fmean(numbers) if numbers else None

    def _scores_at(self, rung: int, by_latest: bool = False) -> list[float]:
        """Return the score of each seed at a rung; none until all have one."""
        known = [replicate.latest if by_latest else replicate.scores for replicate in self.ran]
        numbers = [score for scores in known if (score := scores.get(rung)) is not None]
        return numbers if len(numbers) == len(self.seeds) else []

    @property
    def rungs(self) -> list[int]:
        """The rungs that all seeds have reached with a score, lowest first."""
        ran = self.ran
        if not ran or len(ran) < len(self.seeds):
            return []
        reached = (rung for rung, score in ran[0].scores.items() if score is not None)
        return sorted(r for r in reached if all(o.scores.get(r) is not None for o in ran[1:]))

    @property
    def score(self) -> float | None:
        """The objective at the highest rung."""
        rungs = self.rungs
        return self.score_at(rungs[-1]) if rungs else None

    @property
    def deviation(self) -> float | None:
        """The standard deviation over the seeds of what the objective is the mean of."""
        numbers = self.seed_scores
        return stdev(numbers) if len(numbers) > 1 else None

    @property
    def seed_scores(self) -> list[float]:
        """The score of each seed at the highest rung that all have reached; none before one."""
        rungs = self.rungs
        return self._scores_at(rungs[-1]) if rungs else []

    def state(self, last_rung: int) -> State:
        if self.pending:
            return RUNNING
        if self.has_failed:
            return FAILED
        return COMPLETE if last_rung in self.rungs else PAUSED

    def standing(self, mode: str, by_latest: bool = False) -> TrialState:
        """Return what a policy may know: more is better."""
        sign = 1.0 if mode == "max" else -1.0
        known = {rung: self.score_at(rung, by_latest) for rung in self.rungs}
        scores = {rung: sign * score for rung, score in known.items() if score is not None}
        failed = self.has_failed
        running = bool(self.pending) and not failed
        return TrialState(self.number, self.bracket, scores, running, failed, self.parent)

    @property
    def has_failed(self) -> bool:
        """Whether it came to no end; one that collapsed did, and is only of no use."""
        return self.failure is not None and self.failure not in DEGENERATE


def best_first(records: Sequence[Record], mode: str) -> list[Record]:
    """Return the trials that did not fail and have a score: highest rung, then score."""
    sign = 1 if mode == "max" else -1
    alive = [r for r in records if r.failure is None and r.score is not None]
    return sorted(alive, key=lambda r: (-r.rungs[-1], -sign * (r.score or 0.0), r.number))


def lineage(
    record: Record, records: Sequence[Record], rungs: Sequence[float]
) -> list[tuple[float, Record]]:
    """Return whose settings a trial is trained with, each up to which fraction; its own last."""
    stages = [(1.0, record)]
    while (parent := stages[0][1].parent) is not None:
        stages.insert(0, (rungs[parent.rung], records[parent.trial]))
    return stages


def steps_spent(records: Iterable[Record]) -> int:
    """Return the optimizer steps that these trials have taken."""
    return sum(record.steps for record in records)


def _latest(result: Result) -> float | None:
    """Return the score of the last validation that belongs to a segment."""
    scores = [entry.score for entry in result.history if entry.step <= result.step]
    return scores[-1] if scores else None
