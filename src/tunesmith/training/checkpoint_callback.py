"""When a run saves, which step was best, and where it may stop: only at whole steps."""

import logging
import math
import time
from collections.abc import Collection, Iterable
from typing import Any

import lightning as L

from tunesmith.errors import Interrupted
from tunesmith.tasks.base import Task
from tunesmith.tasks.capabilities import ComparesWithGuessing
from tunesmith.training.checkpoint_writer import CheckpointWriter
from tunesmith.training.evaluation import Evaluation

log = logging.getLogger(__name__)

NO_SPREAD = 1e-3  # of the labels' range: numbers that differ by less are one answer


class StoppedEarly(BaseException):
    """Training ended early because the score stopped improving; the checkpoint says so."""


class CheckpointCallback(L.Callback):
    """Keeps `last.ckpt`, the one before it, and `best.ckpt`; ends a run between two steps.

    A checkpoint is taken when no batch is under way: after the best validation so far, every
    so many steps or minutes, and at the end. A run that is to stop (a signal, `pause_at_step`,
    early stopping) saves there and raises; it neither adds a validation nor touches the schedule.
    `writer` is the trainer's plugin for checkpoint files.
    """

    def __init__(
        self,
        writer: CheckpointWriter,
        *,
        monitor: str,
        mode: str,
        every_n_steps: int | None = None,
        every_n_minutes: float | None = None,
        patience: int | None = None,
        min_delta: float = 0.0,
        validate_at_steps: Collection[int] = (),
        pause_at_step: int | None = None,
        hparams: dict[str, Any] | None = None,
        group: str = "",
    ) -> None:
        self.writer, self.monitor, self.mode = writer, monitor, mode
        self.every_n_steps, self.every_n_minutes = every_n_steps, every_n_minutes
        self.patience, self.min_delta = patience, min_delta
        self.validate_at_steps = frozenset(validate_at_steps)
        self.pause_at_step = pause_at_step
        self.hparams, self.group = hparams or {}, group
        self.history: list[dict[str, Any]] = []  # what each validation said
        self.best_step: int | None = None
        self.best_scores: dict[str, float] = {}
        self.reference: float | None = None  # the score that the next must beat by min_delta
        self.waited = 0  # validations since one did
        self.validated_step = -1
        self.finished = False
        self.improved = False  # at the validation whose checkpoint is still to be saved
        self.saved_steps: dict[str, int] = {}
        self.saved_at = time.monotonic()
        self.from_other_run = False  # from another run's checkpoint: its best is not ours

    KEPT = (
        "history",
        "best_step",
        "best_scores",
        "reference",
        "waited",
        "validated_step",
        "finished",
        "saved_steps",
    )

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.KEPT}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in () if self.from_other_run else self.KEPT:
            setattr(self, name, state.get(name, getattr(self, name)))

    @property
    def best(self) -> float | None:
        return self.best_scores.get(self.monitor)

    # Where training may be saved and stopped

    def on_train_start(self, trainer: L.Trainer, module: Any) -> None:
        """Let Lightning validate at the planned steps too, in its own place between batches."""
        loop: Any = trainer.fit_loop.epoch_loop
        usual = loop._should_check_val_fx

        def is_time(data_fetcher: Any) -> bool:
            whole = not trainer.fit_loop._should_accumulate()
            planned = whole and trainer.global_step in self.validate_at_steps
            return planned or usual(data_fetcher)

        if self.validate_at_steps:
            loop._should_check_val_fx = is_time

    def on_train_batch_end(
        self, trainer: L.Trainer, module: Any, outputs: Any, batch: Any, index: int
    ) -> None:
        loop: Any = trainer.fit_loop.epoch_loop
        if trainer.fit_loop._should_accumulate() or loop.batch_progress.is_last_batch:
            return
        if not loop._should_check_val_fx(trainer.fit_loop._data_fetcher):
            self._pass(trainer, module)

    def on_validation_end(self, trainer: L.Trainer, module: Any) -> None:
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        self._judge(trainer, module)
        if not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            self._pass(trainer, module)

    def on_train_epoch_end(self, trainer: L.Trainer, module: Any) -> None:
        if trainer.global_step >= module.total_steps and self.validated_step != trainer.global_step:
            validate_here(trainer)  # a run that ends by max_steps is scored at its last step
        self._pass(trainer, module)

    def _pass(self, trainer: L.Trainer, module: Any) -> None:
        step = trainer.global_step
        ends = step >= module.total_steps
        self.finished = ends or (self.patience is not None and self.waited >= self.patience)
        stops = module.stop_agreed or (
            self.pause_at_step is not None and step >= self.pause_at_step
        )
        if self.improved or stops or self.finished or self._is_due(trainer):
            self.save(trainer)
        if stops or self.finished:
            self.writer.wait()
            trainer.strategy.barrier("saved")
        if self.finished and not ends:
            log.info(
                "stopped early: %s has not improved for %d validations", self.monitor, self.waited
            )
            raise StoppedEarly
        if stops and not ends:
            raise Interrupted

    def _is_due(self, trainer: L.Trainer) -> bool:
        if self.every_n_steps and trainer.global_step % self.every_n_steps == 0:
            return True
        if self.every_n_minutes is None:
            return False
        minutes = (time.monotonic() - self.saved_at) / 60  # the ranks' clocks differ
        return trainer.strategy.reduce_boolean_decision(minutes >= self.every_n_minutes, all=False)

    # What is best

    def _judge(self, trainer: L.Trainer, module: Any) -> None:
        step, scores = trainer.global_step, dict(module.scores)
        self.validated_step = step
        module.write(scores, step)
        value = scores[self.monitor]
        self.history.append(_judged(step, value, scores["val/loss"], module))
        if not math.isfinite(value):
            log.warning("step %d: %s is %s and cannot be best", step, self.monitor, value)
        self.waited += 1
        if self._gains(value, self.reference, self.min_delta):
            self.reference, self.waited = value, 0
        if self._gains(value, self.best, 0.0):
            self.best_step, self.best_scores = step, scores
            self.improved = True
            self._show_best(trainer, value, step)

    def _gains(self, value: float, over: float | None, least: float) -> bool:
        if not math.isfinite(value):
            return False
        if over is None:
            return True
        return (value - over if self.mode == "max" else over - value) > least

    def _show_best(self, trainer: L.Trainer, value: float, step: int) -> None:
        """Write the run's HPARAMS row; one without hyperparameters, a confirmation's, has none."""
        for logger in trainer.loggers:
            if self.hparams and hasattr(logger, "hparams"):
                logger.hparams(self.hparams, self.monitor, value, step, self.group)

    # Files

    def save(self, trainer: L.Trainer) -> None:
        """Save as last.ckpt, and as best.ckpt too if it is."""
        step = trainer.global_step
        if self.saved_steps.get("last.ckpt") == step and not self.improved:
            return
        if "last.ckpt" in self.saved_steps:
            self.saved_steps["previous.ckpt"] = self.saved_steps["last.ckpt"]
        self.saved_steps["last.ckpt"] = step
        if self.improved:
            self.saved_steps["best.ckpt"] = step
        name = "best.ckpt" if self.improved else "last.ckpt"
        trainer.save_checkpoint(self.writer.folder / name)  # every rank takes part
        self.improved = False
        self.saved_at = time.monotonic()


def _judged(step: int, score: float, loss: float, module: Any) -> dict[str, Any]:
    """Return what a validation says of the training: plain numbers, None for what is no number.

    `train_loss` is that of the batch before it; `constant` says that all answers were the same,
    where the labels are not.
    """
    return {
        "step": step,
        "score": score if math.isfinite(score) else None,
        "loss": loss if math.isfinite(loss) else None,
        "train_loss": float(module.batch_loss) if module.batch_loss is not None else None,
        "constant": _is_constant(module.task, module.evaluation),
    }


def _is_constant(task: Task, evaluation: Evaluation) -> bool:
    if not isinstance(task, ComparesWithGuessing):
        return False
    target = next(name for name, column in task.columns.items() if column.target)
    labels = [row[target] for row in evaluation.rows]
    answers = [answer[task.decision] for answer in evaluation.answers]
    if answers and all(isinstance(answer, float) for answer in answers):
        spread = max(labels) - min(labels)
        return spread > 0 and max(answers) - min(answers) < NO_SPREAD * spread
    return _count(labels) > 1 and _count(answers) == 1


def _count(values: Iterable[Any]) -> int:
    """Count different values; of a list, of tags or labels, its members count alone."""
    return len({str(sorted(set(map(str, v))) if isinstance(v, list) else v) for v in values})


def validate_here(trainer: L.Trainer) -> None:
    """Run the validation loop inside fit, as Lightning does between two batches."""
    trainer.validating = True
    trainer.fit_loop.epoch_loop.val_loop.run()
    trainer.training = True
