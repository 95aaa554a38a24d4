"""Trials, the segments they are trained in, and what comes back of one: plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from tunesmith.errors import MachineError, TunesmithError, error_of
from tunesmith.reporting.trial_results import Validation, Value

MEASURE_FOLDER = ".measure-"  # how the name of a folder begins that a measurement works in


@dataclass(frozen=True)
class Segment:
    """One replicate of a trial, to be trained up to a rung; the unit of work of an executor.

    It starts from the checkpoint that its directory holds, or from the start. Everything is
    plain, so that it can cross to another process or machine.
    """

    trial: int
    seed: int
    rung: int
    until: float  # fraction of the trial's own steps at which it stops; 1.0: to the end
    attempt: int  # a result of an earlier attempt is dropped
    directory: str
    config: Mapping[str, Any]  # resolved
    overrides: list[str]
    hparams: Mapping[str, Any] | None  # of the study's row; None: no row
    devices: int = 1
    kind: Literal["train", "check", "measure", "test", "save"] = "train"
    # How it got its settings: (fraction, config) of each stage before its own. What its checkpoint
    # has not come to the end of is trained first.
    stages: Sequence[tuple[float, Mapping[str, Any]]] = ()

    @property
    def key(self) -> tuple[int, int, int]:
        return self.trial, self.seed, self.rung

    @property
    def name(self) -> str:
        """Name what is trained; the default of a grid is no trial, and has no number."""
        return f"trial {self.trial}" if self.trial >= 0 else "the default"


class MeasuredCost(Value):
    """What a worker took for a few warm steps and a part of a validation: seconds and bytes.

    A step takes `step_seconds`, and `token_seconds` for each token of its batch.
    """

    features: int  # of the train split
    lengths: list[int]  # tokens of such features, at even shares of them, the shortest first
    batch_size: int
    tokens: float  # of a batch with its padding, the mean over an epoch
    step_seconds: float
    token_seconds: float
    validation_seconds: float  # of a whole one
    checkpoint_seconds: float
    start_seconds: float  # of a segment in a warm worker, beside its steps
    restore_seconds: float  # what a segment that goes on from a checkpoint takes more
    worker_seconds: float  # until a new worker is warm
    checkpoint_bytes: int
    run_bytes: int  # of the other files of a run
    memory: int = 0  # of the worker, at most
    gpu_memory: int = 0


class Result(Value):
    """What came of a segment.

    `state` is done (the rung is reached), failed (for good) or interrupted (stopped by a
    signal or lost with its worker: it can be submitted again). Scores are as the metric has
    them, None where they are no number.
    """

    trial: int
    seed: int
    rung: int
    attempt: int
    state: Literal["done", "failed", "interrupted"]
    failure: str | None = None
    error: str | None = None
    score: float | None = None  # the best so far
    best_step: int | None = None
    scores: dict[str, float] = Field(default_factory=dict)  # all metrics at the best step
    step: int = 0
    total_steps: int = 0
    steps_per_epoch: int = 0
    seconds: float = 0.0
    history: list[Validation] = Field(default_factory=list)
    threads: int = 0
    precision: str = ""
    rows: dict[str, int] = Field(default_factory=dict)  # of each split
    memory: int = 0  # bytes: the worker's largest so far
    gpu_memory: int = 0  # bytes: the most of its GPU; 0: it used none
    gpu_total: int = 0  # bytes of that GPU that there were for it
    metric: str = ""  # of a check: what decides, and whether more or less of it is better
    mode: str = ""
    inputs: dict[str, str] = Field(default_factory=dict)  # of a check: fingerprints
    cost: MeasuredCost | None = None  # of a measurement
    exit_code: int = 0  # of what failed, were it a run of its own

    def changed(self, **changes: Any) -> "Result":
        """Return a copy with these values."""
        return self.model_copy(update=changes)


def result_of(segment: Segment, state: Any, **facts: Any) -> Result:
    """Make the result of a segment."""
    return Result(
        trial=segment.trial,
        seed=segment.seed,
        rung=segment.rung,
        attempt=segment.attempt,
        state=state,
        **facts,
    )


def fault_of_machine(result: Result) -> TunesmithError:
    """Return the error of a worker whose machine failed, as it said it."""
    fix = "with that mended the same command goes on"
    return error_of(str(result.error), MachineError.exit_code, fix)
