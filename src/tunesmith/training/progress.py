"""One bar over the whole run: loss, rate, best score, time left; without a terminal, log lines."""

import logging
import math
import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import BarColumn, Task, TextColumn
from rich.progress import Progress as Bar

REFRESH = 0.25  # seconds; reading a score waits for the device, so it is not done at each step
log = logging.getLogger(__name__)


class ProgressCallback(Callback):
    """Shows how far the run is, in optimizer steps out of `pl_module.total_steps`.

    On a terminal a bar; elsewhere, or with bar=False, one line a validation, which train.log
    gets in either case; it begins with `name`, by which parallel trials are told. The best score
    is that of the callback that keeps one (`monitor`, `best`).
    """

    def __init__(self, bar: bool = True, console: Console | None = None, name: str = "") -> None:
        self.name = name
        self.console = console or Console(stderr=True)
        self.has_bar = bar and self.console.is_terminal
        self._bar: Bar | None = None
        self._first_step, self._began, self._shown = 0, 0.0, -math.inf
        self._owed = False  # the line of a validation that another callback cut short

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._first_step, self._began = trainer.global_step, time.monotonic()
        if trainer.is_global_zero and self.has_bar:
            # No refresh thread of rich's: loader processes may be forked at any time.
            columns = (BarColumn(bar_width=20), _Facts("{task.description}"))
            self._bar = Bar(*columns, console=self.console, auto_refresh=False)
            self._bar.add_task("", total=_total(pl_module), completed=trainer.global_step)
            self._bar.start()
            self._show(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        self._show_rarely(trainer, pl_module)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        self._show_rarely(trainer, pl_module, activity="validating")

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._owed = bool(self._began) and trainer.is_global_zero and not trainer.sanity_checking

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self._owed:
            return
        self._owed = False
        line = self._line(trainer, pl_module)
        log.info(line)
        if self._bar is not None:
            self._show(trainer, pl_module)
        else:
            self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._bar is not None:
            self._show(trainer, pl_module)
        self._stop()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        if not isinstance(exception, (Exception, KeyboardInterrupt)):  # stopped, not broken
            self.on_validation_end(trainer, pl_module)
        self._stop()

    def teardown(self, *args: Any, **kwargs: Any) -> None:
        self._stop()

    def _show_rarely(self, trainer: Trainer, module: LightningModule, activity: str = "") -> None:
        if self._bar is not None and time.monotonic() - self._shown >= REFRESH:
            self._show(trainer, module, activity)

    def _show(self, trainer: Trainer, module: LightningModule, activity: str = "") -> None:
        assert self._bar is not None
        step, total = trainer.global_step, _total(module)
        facts = [f"{step}/{total}", f"epoch {trainer.current_epoch + 1}", *self._numbers(trainer)]
        facts += [self._speed(step), f"{self._left(step, total)} left", activity]
        words = "  ".join(fact for fact in facts if fact)
        self._bar.update(self._bar.task_ids[0], completed=step, total=total, description=words)
        self._bar.refresh()
        self._shown = time.monotonic()

    def _numbers(self, trainer: Trainer) -> list[str]:
        loss, rate = _loss(trainer), _rate(trainer)
        return [
            "" if loss is None else f"loss {loss:.4g}",
            "" if rate is None else f"lr {rate:.2e}",
            _best(trainer),
        ]

    def _line(self, trainer: Trainer, module: LightningModule) -> str:
        scores = {**trainer.callback_metrics, **getattr(module, "scores", {})}.items()
        step, total = trainer.global_step, _total(module)
        shown = [
            f"{name} {_number(value)}" for name, value in sorted(scores) if _is_shown(name, value)
        ]
        words = [self.name, f"step {step}/{total}", *shown, f"{self._left(step, total)} left"]
        return "  ".join(filter(None, words))

    def _per_second(self, step: int) -> float:
        # Over this process's own steps: what ran before a resume says nothing about this machine.
        return (step - self._first_step) / max(time.monotonic() - self._began, 1e-9)

    def _speed(self, step: int) -> str:
        return f"{self._per_second(step):.2f} steps/s" if step > self._first_step else ""

    def _left(self, step: int, total: int) -> str:
        if step <= self._first_step or not total:
            return "--:--"
        return clock(max(total - step, 0) / self._per_second(step))

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


class _Facts(TextColumn):
    """The facts as plain text: nothing in them is rich markup."""

    def __init__(self, text_format: str) -> None:
        super().__init__(text_format, markup=False)

    def get_table_column(self) -> Any:
        column = super().get_table_column()
        column.no_wrap, column.overflow = True, "ellipsis"
        return column

    def render(self, task: Task) -> Any:
        text = super().render(task)
        text.no_wrap, text.overflow = True, "ellipsis"
        return text


def clock(seconds: float) -> str:
    """Return a duration in seconds as 00:35, or 1:02:03 from an hour on."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes:02}:{seconds:02}"


def _total(module: LightningModule) -> int:
    return int(getattr(module, "total_steps", 0))


def _loss(trainer: Trainer) -> float | None:
    loss = trainer.progress_bar_metrics.get("train/loss")
    if loss is None:
        loss = getattr(trainer.lightning_module, "last_loss", None)
    return float(loss) if isinstance(loss, (int, float)) else None


def _best(trainer: Trainer) -> str:
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        best = getattr(callback, "best", None)
        if isinstance(best, float):
            return f"best {callback.monitor} {best:z.4g}"
    return ""


def _rate(trainer: Trainer) -> float | None:
    optimizers = trainer.optimizers
    return float(optimizers[0].param_groups[-1]["lr"]) if optimizers else None


def _number(value: Any) -> str:
    return f"{float(value):z.4g}"


def _is_shown(name: str, value: Any) -> bool:
    """Tell scores of the validation; one that is not defined on its rows is no news, a loss is."""
    return name.startswith("val/") and (name == "val/loss" or math.isfinite(float(value)))
