"""What the validations of a run suggest: a line each, with the override to try next."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tunesmith.config.run_config import RunConfig
from tunesmith.reporting.formatting import number, score
from tunesmith.tasks.base import Answer
from tunesmith.training.checkpoint_callback import CheckpointCallback

FEW_STEPS = 200  # within which one answer for all rows is where most trainings begin
# Whole encoders are fine-tuned by Adam between the first two (Devlin et al., 2019), by no other.
LOW_RATE, HIGH_RATE, NO_RATE = 1e-5, 1e-4, 1e-2
LEAST_GAIN = 0.01  # of a score, between its last two validations: it still improves

History = Sequence[Mapping[str, Any]]  # what each validation said: see CheckpointCallback


def hints(
    config: RunConfig, checkpoints: CheckpointCallback, answers: Sequence[Answer], steps: int
) -> list[str]:
    """Return what the end of a run of so many steps suggests; `answers` are the last ones."""
    history = checkpoints.history
    if not history:
        return []
    if history[-1]["constant"]:
        said = _all_empty(config, answers)
        said = said or f"every row has the same answer at step {history[-1]['step']}"
        return [f"{said}; try {remedy(config, history, steps)}"]
    if _still_improves(history, checkpoints, steps):
        before, after = history[-2]["score"], history[-1]["score"]
        what = f"{checkpoints.monitor} still improved at the end, {score(before)} to {score(after)}"
        return [f"{what}; try {_longer(config, 2)}"]
    return []


def remedy(config: RunConfig, history: History, steps: int) -> str:
    """Return the overrides for a run that gives every row the same answer at its end."""
    rate = config.optimizer.get("lr")
    losses = [math.inf if entry["loss"] is None else entry["loss"] for entry in history]
    got_worse = max(losses) > 1.1 * losses[0] or not all(entry["constant"] for entry in history)
    if not isinstance(rate, int | float):
        return _longer(config, 4)
    usual = "adam" in config.optimizer["_target_"].lower() and _learns_whole(config)
    got_worse |= usual and rate >= NO_RATE
    if not got_worse and usual and rate < LOW_RATE:
        return f"optimizer.lr={number(rate * 10)}"
    if not got_worse and (not usual or steps < FEW_STEPS or rate <= HIGH_RATE):
        return _longer(config, 4)
    warmup = " scheduler.warmup=0.1" if config.scheduler.get("warmup") == 0 else ""
    return f"optimizer.lr={number(rate / 10)}{warmup}"


def _learns_whole(config: RunConfig) -> bool:
    return bool(config.adapt["_target_"].endswith(".full"))


def _longer(config: RunConfig, factor: int) -> str:
    epochs, steps = config.trainer.max_epochs, config.trainer.max_steps
    ends = [] if epochs is None else [f"trainer.max_epochs={epochs * factor}"]
    return " ".join([*ends, *([] if steps is None else [f"trainer.max_steps={steps * factor}"])])


def _all_empty(config: RunConfig, answers: Sequence[Answer]) -> str | None:
    """Say by which threshold every row has no label; None where that is not so."""
    threshold = config.task.get("threshold")
    if threshold is None or not answers or any(answer.get("labels") for answer in answers):
        return None
    highest = max(max(answer["probabilities"].values()) for answer in answers)
    what = f"every answer is empty: no label reaches task.threshold={number(threshold)}"
    fix = f"evaluate and predict --set task.threshold={_two_digits(0.95 * highest)}"
    return f"{what}, the highest is {number(highest)} ({fix})"


def _two_digits(value: float) -> str:
    """Write the first two digits of a positive number, which are no more than it."""
    unit = 10.0 ** (math.floor(math.log10(max(value, 1e-9))) - 1)
    return f"{math.floor(value / unit) * unit:.2g}"


def _still_improves(history: History, checkpoints: CheckpointCallback, steps: int) -> bool:
    """Tell whether the last validation, at the end of the schedule, is the best by far."""
    if len(history) < 2 or history[-1]["step"] < steps or checkpoints.best_step != steps:
        return False
    before, after = history[-2]["score"], history[-1]["score"]
    if before is None or after is None or (after == 1 and checkpoints.mode == "max"):
        return False
    return abs(after - before) > LEAST_GAIN * abs(after)
