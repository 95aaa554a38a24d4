"""The results of one trial: how it ended, its scores by rung and seed, what it took."""

import math
from functools import cached_property
from typing import Any, Final, Literal, TypeGuard

from pydantic import BaseModel, ConfigDict

from tunesmith.reporting import formatting

COMPLETE: Final = "complete"
PAUSED: Final = "paused"
FAILED: Final = "failed"
RUNNING: Final = "running"
State = Literal["complete", "paused", "failed", "running"]

# What a worker can say of a failure; others are "error:CODE", the code of the one-line error.
NAN, DIVERGED, COLLAPSE = "nan", "diverged", "collapse"
MACHINE = "machine"  # the disk, not the trial: the segment is tried again
OUT_OF_MEMORY, CRASH, TIMEOUT = "out of memory", "crash", "timeout"
DEGENERATE = (COLLAPSE, DIVERGED)  # trained to the end, with a score, and never the best


class Value(BaseModel):
    """Frozen, and of exactly the types that it names: true is no number."""

    model_config = ConfigDict(frozen=True, strict=True, ser_json_inf_nan="constants")


class Validation(Value):
    """One validation of a training; None where a value is not finite."""

    step: int
    score: float | None
    loss: float | None = None
    train_loss: float | None = None
    constant: bool = False  # whether every row got the same answer


class SeedScore(Value):
    """One seed of a trial."""

    seed: int
    score: float | None
    best_step: int | None


class Parent(Value):
    """The checkpoint that a trial began from: that of another trial at a rung."""

    trial: int
    rung: int
    step: int = 0  # of one seed


class TrialResult(Value):
    """One trial. Steps are optimizer steps; scores are means over its seeds."""

    number: int
    state: State
    failure: str | None
    error: str | None
    params: dict[str, Any]
    overrides: list[str]
    is_default: bool
    bracket: int
    score: float | None  # at the highest rung
    deviation: float | None  # standard deviation of that score over the seeds
    rung: int | None  # the highest one that all seeds have reached
    scores: dict[int, float | None]  # by rung
    replicates: list[SeedScore]
    steps: int  # of all seeds
    total_steps: int  # of the full training of all seeds
    horizon: int  # of the full training of one seed, as best_step and history are of one
    seconds: float
    best_step: int | None
    history: list[Validation]  # of the first seed
    threads: int
    precision: str
    directory: str
    parent: Parent | None = None  # None: it began from the model

    @property
    def is_degenerate(self) -> bool:
        """Whether it failed, or came to its end without having learnt anything."""
        return self.state == FAILED or self.failure is not None

    @property
    def has_score(self) -> bool:
        """Whether it can be ranked: what came to nothing has no score that counts."""
        return not self.is_degenerate and is_number(self.score)

    @property
    def known_score(self) -> float:
        """The score of a trial that has one."""
        assert self.score is not None
        return self.score

    @property
    def shown_score(self) -> str:
        """Its score; over several seeds with its standard deviation."""
        return formatting.mean(self.score, self.deviation)

    @property
    def seed_scores(self) -> list[float]:
        """The scores of its seeds that have one."""
        return [seed.score for seed in self.replicates if is_number(seed.score)]

    @cached_property
    def rung_scores(self) -> dict[int, float]:
        """Rung -> score, without those that are no number."""
        return {rung: score for rung, score in self.scores.items() if is_number(score)}


def is_number(value: Any) -> TypeGuard[float]:
    """Tell whether a value is a finite number."""
    return isinstance(value, (int, float)) and math.isfinite(value)
