"""How many optimizer steps a run has, and at which step a fraction of them is done."""

import math

from tunesmith.config.run_config import RunConfig
from tunesmith.errors import ConfigError


def steps_per_epoch(config: RunConfig, rows: int) -> int:
    """Return the steps of an epoch in which each row is one feature."""
    batches = -(-rows // config.data.batch_size)
    limit = config.trainer.limit_train_batches
    return batches if limit is None else min(batches, limit)


def total_steps(config: RunConfig, per_epoch: int) -> int:
    """Return the horizon of the run in optimizer steps."""
    ends = []
    if config.trainer.max_epochs is not None:
        ends.append(config.trainer.max_epochs * per_epoch)
    if config.trainer.max_steps is not None:
        ends.append(config.trainer.max_steps)
    return min(ends)


def note_of_end(config: RunConfig, per_epoch: int) -> str | None:
    """Say that `max_epochs` ends a run before `max_steps` would; None where it does not."""
    epochs, steps = config.trainer.max_epochs, config.trainer.max_steps
    if epochs is None or steps is None or epochs * per_epoch >= steps:
        return None
    end = epochs * per_epoch
    what = f"trainer.max_epochs={epochs} ends the run at step {end}, before max_steps={steps}"
    return f"{what}; trainer.max_epochs=null lets it go on"


def step_at_fraction(fraction: float, total: int) -> int:
    """Return the optimizer step at which a fraction of `total` is done, at least 1.

    The one rule for all that is given as a fraction: rungs, pauses, intervals of validation.
    """
    return max(1, math.ceil(fraction * total - 1e-9))  # 1/3 of 9 is 3, whatever floats say


def validation_steps(config: RunConfig, per_epoch: int, total: int) -> set[int]:
    """Return the steps after which fractions of the config ask for a validation.

    Those of `val_check_interval` are fractions of each epoch, those of `validate_at` of all steps.
    """
    planned = {step_at_fraction(fraction, total) for fraction in config.trainer.validate_at}
    interval = config.trainer.val_check_interval
    if isinstance(interval, float):
        interval = max(interval, 1 / per_epoch)
        count = int(1 / interval + 1e-9)
        in_epoch = [step_at_fraction(k * interval, per_epoch) for k in range(1, count + 1)]
        planned |= {begin + step for begin in range(0, total, per_epoch) for step in in_epoch}
    return {step for step in planned if step <= total}


def pause_step(config: RunConfig, total: int) -> int | None:
    """Return the optimizer step at which a run pauses; a fraction is one of `total`."""
    step = config.trainer.pause_at_step
    return step_at_fraction(step, total) if isinstance(step, float) else step


def check_interval(config: RunConfig, steps: int) -> None:
    """Raise ConfigError where a run of so many steps ends before its first validation."""
    interval = config.trainer.val_check_interval
    if isinstance(interval, int) and interval > steps:
        message = f"the run has {steps} steps and would never be scored"
        raise ConfigError("CONF-RANGE", f"trainer.val_check_interval={interval}", message)
