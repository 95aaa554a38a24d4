"""What one training takes: steps, validations and checkpoints, each by what it was measured to."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from tunesmith.config.run_config import RunConfig
from tunesmith.pipeline.run_length import (
    step_at_fraction,
    steps_per_epoch,
    total_steps,
    validation_steps,
)
from tunesmith.search.trial import MeasuredCost

UNIT = 1000  # steps of a whole training whose cost is not known: it takes 1


@dataclass(frozen=True)
class Workload:
    """The training of one seed of a trial; the first two are counts until each rung.

    The others are seconds: of a step, a validation and a checkpoint, of a segment's start, and
    what one that goes on from a checkpoint takes more.
    """

    steps: tuple[int, ...]
    validations: tuple[int, ...]
    step: float
    validation: float = 0.0
    checkpoint: float = 0.0
    start: float = 0.0
    restore: float = 0.0

    def counts(self, rung: int, after: int | None = None) -> tuple[int, int]:
        """Return the steps and validations of the segment from rung `after` (None: 0) to `rung`."""
        if after is None:
            return self.steps[rung], self.validations[rung]
        validations = self.validations[rung] - self.validations[after]
        return self.steps[rung] - self.steps[after], validations

    def seconds(self, rung: int, after: int | None = None) -> float:
        """Return the seconds of that segment; each validation is taken to be followed by a save."""
        steps, validations = self.counts(rung, after)
        start = self.start + (0.0 if after is None else self.restore)
        return start + steps * self.step + validations * (self.validation + self.checkpoint)

    @property
    def whole(self) -> float:
        """The seconds of a whole training in one segment."""
        return self.seconds(len(self.steps) - 1)


def unit_workload(rungs: Sequence[float]) -> Workload:
    """Return the workload of a training of unknown cost, whose whole takes 1."""
    steps = tuple(step_at_fraction(rung, UNIT) for rung in rungs)
    return Workload(steps, tuple(range(1, len(steps) + 1)), 1 / UNIT)


def no_workload(rungs: Sequence[float]) -> Workload:
    """Return the workload of a training that cannot begin."""
    none = (0,) * len(rungs)
    return Workload(none, none, 0.0)


def workload_of(config: RunConfig, rungs: Sequence[float], cost: MeasuredCost) -> Workload:
    """Return the workload of a config, by what another one of its model was measured to cost.

    The law: a step takes a fixed time and one for each token of its batch, padding included; the
    tokens follow the batch size and the texts' lengths up to `data.max_length`, and so does a
    validation the lengths.
    """
    per_epoch = steps_per_epoch(config, cost.features)
    total = total_steps(config, per_epoch)
    planned = validation_steps(config, per_epoch, total) | {total}
    interval = config.trainer.val_check_interval
    if isinstance(interval, int):
        planned |= set(range(interval, total + 1, interval))
    steps = tuple(step_at_fraction(rung, total) for rung in rungs)
    shorter = _share_of_tokens(cost.lengths, config.data.max_length)
    rows = min(config.data.batch_size, cost.features) / min(cost.batch_size, cost.features)
    return Workload(
        steps,
        tuple(sum(step <= end for step in planned) for end in steps),
        cost.step_seconds + cost.token_seconds * cost.tokens * rows * shorter,
        cost.validation_seconds * shorter,
        cost.checkpoint_seconds,
        cost.start_seconds,
        cost.restore_seconds,
    )


def _share_of_tokens(lengths: Sequence[int], longest: int | None) -> float:
    """Return which share of the tokens is left of texts that are cut off at `longest`."""
    if longest is None or not sum(lengths):
        return 1.0
    return fmean(min(length, longest) for length in lengths) / fmean(lengths)
