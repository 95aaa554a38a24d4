"""What a study knows of each trial: made of results alone, kept whole in the store."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import Any

from tunesmith.reporting.results import COMPLETE, DEGENERATE, FAILED, PAUSED, RUNNING
from tunesmith.search.policies.base import TrialState
from tunesmith.search.trial import Result


@dataclass
class Replicate:
    """One seed of a trial: its best score at each rung that it has reached."""

    seed: int
    scores: dict[int, float | None] = field(default_factory=dict)
    last: Result | None = None
    seconds: float = 0.0  # of all its segments


@dataclass
class Record:
    """One trial, as the store has it."""

    number: int
    params: Mapping[str, Any]
    overrides: list[str]
    seeds: list[int]
    bracket: int = 0
    is_default: bool = False
    pending: dict[int, tuple[int, int]] = field(default_factory=dict)  # seed -> (rung, attempt)
    replicates: dict[int, Replicate] = field(default_factory=dict)
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
        return True

    def spend(self, result: Result) -> None:
        """Count the time of a segment, also of one that was cut off and goes on later."""
        replicate = self.replicates.setdefault(result.seed, Replicate(result.seed))
        replicate.seconds += result.seconds

    def score_at(self, rung: int) -> float | None:
        """Return the mean over the seeds of the best score at a rung; None until all have one."""
        numbers = self._scores_at(rung)
        return fmean(numbers) if numbers else None

    def _scores_at(self, rung: int) -> list[float]:
        """Return the score of each seed at a rung; none until all have one."""
        values = [self.replicates[s].scores.get(rung) for s in self.seeds if s in self.replicates]
        numbers = [value for value in values if value is not None]
        return numbers if len(numbers) == len(self.seeds) else []

    @property
    def rungs(self) -> list[int]:
        """The rungs that all seeds have reached with a score, lowest first."""
        reached = {rung for replicate in self.replicates.values() for rung in replicate.scores}
        return [rung for rung in sorted(reached) if self.score_at(rung) is not None]

    @property
    def score(self) -> float | None:
        """The objective at the highest rung."""
        return self.score_at(self.rungs[-1]) if self.rungs else None

    @property
    def deviation(self) -> float | None:
        """The standard deviation over the seeds of what the objective is the mean of."""
        numbers = self._scores_at(self.rungs[-1]) if self.rungs else []
        return stdev(numbers) if len(numbers) > 1 else None

    def state(self, last_rung: int) -> str:
        if self.pending:
            return RUNNING
        if self.has_failed:
            return FAILED
        return COMPLETE if last_rung in self.rungs else PAUSED

    def standing(self, mode: str) -> TrialState:
        """Return what a policy may know: more is better."""
        sign = 1.0 if mode == "max" else -1.0
        scores = {rung: sign * (self.score_at(rung) or 0.0) for rung in self.rungs}
        failed = self.has_failed
        running = bool(self.pending) and not failed
        return TrialState(self.number, self.bracket, scores, running, failed)

    @property
    def has_failed(self) -> bool:
        """Whether it came to no end; one that collapsed did, and is only of no use."""
        return self.failure is not None and self.failure not in DEGENERATE

    @property
    def best_step(self) -> int | None:
        lasts = [r.last for r in self.replicates.values() if r.last is not None]
        return lasts[0].best_step if lasts else None

    def plain(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "number": self.number,
            "params": dict(self.params),
            "overrides": self.overrides,
            "seeds": self.seeds,
            "bracket": self.bracket,
            "is_default": self.is_default,
            "pending": {str(seed): list(at) for seed, at in self.pending.items()},
            "replicates": [
                {
                    "seed": r.seed,
                    "scores": {str(rung): score for rung, score in r.scores.items()},
                    "last": r.last.plain() if r.last is not None else None,
                    "seconds": r.seconds,
                }
                for r in self.replicates.values()
            ],
            "failure": self.failure,
            "error": self.error,
            "lost": self.lost,
        }


def record_from(plain: Mapping[str, Any]) -> Record:
    """Read a record back."""
    replicates = {r["seed"]: _replicate_from(r) for r in plain["replicates"]}
    pending = {int(seed): (rung, attempt) for seed, (rung, attempt) in plain["pending"].items()}
    simple = {k: v for k, v in plain.items() if k not in ("pending", "replicates")}
    return Record(**simple, pending=pending, replicates=replicates)


def _replicate_from(plain: Mapping[str, Any]) -> Replicate:
    """Read one seed back; an earlier version kept the seconds of its last segment only."""
    scores = {int(rung): score for rung, score in plain["scores"].items()}
    last = Result(**plain["last"]) if plain["last"] is not None else None
    seconds = plain.get("seconds", last.seconds if last is not None else 0.0)
    return Replicate(plain["seed"], scores, last, seconds)


def best_first(records: Sequence[Record], mode: str) -> list[Record]:
    """Return the trials that did not fail and have a score: highest rung, then score."""
    sign = 1 if mode == "max" else -1
    alive = [r for r in records if r.failure is None and r.score is not None]
    return sorted(alive, key=lambda r: (-r.rungs[-1], -sign * (r.score or 0.0), r.number))


def steps_spent(records: Iterable[Record]) -> int:
    """Return the optimizer steps that these trials have taken."""
    lasts = [r.last for record in records for r in record.replicates.values()]
    return sum(last.step for last in lasts if last is not None)
