"""The bar and the lines that say how far a run is."""

import io
import logging
import math
import re
from itertools import pairwise
from typing import Any

import lightning as L
import pytest
import torch
from rich.console import Console
from torch.utils.data import DataLoader, TensorDataset

from tunesmith.training import progress
from tunesmith.training.progress import ProgressCallback, clock


class Line(L.LightningModule):
    """A line fitted to noise, with what Progress reads of a module."""

    def __init__(self, total_steps: int) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.total_steps, self.last_loss = total_steps, None
        self.scores: dict[str, float] = {}

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        loss = (self.layer(batch[0]) ** 2).mean()
        self.last_loss = 0.25  # type: ignore[assignment]
        return loss

    def validation_step(self, batch: Any, index: int) -> None:
        pass

    def on_validation_epoch_end(self) -> None:
        self.scores = {"val/loss": 0.125, "val/accuracy": 0.97, "val/f1": math.nan}

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=1e-3)


class Best(L.Callback):
    monitor, best = "val/accuracy", 0.97


class Pause(BaseException):
    pass


class Pauses(L.Callback):
    def on_validation_end(self, trainer: L.Trainer, *args: Any) -> None:
        if not trainer.sanity_checking:
            raise Pause


def fit(
    bar: ProgressCallback, epochs: int, total: int = 12, path: Any = None, more: Any = ()
) -> L.Trainer:
    rows = DataLoader(TensorDataset(torch.ones(4, 1)), batch_size=1)
    trainer = L.Trainer(
        max_epochs=epochs, callbacks=[Best(), *more, bar], accelerator="cpu", logger=False,
        enable_progress_bar=False, enable_checkpointing=False, enable_model_summary=False,
        num_sanity_val_steps=1,
    )  # fmt: skip
    trainer.fit(Line(total), rows, rows, ckpt_path=path)
    return trainer


def test_without_a_terminal_there_is_one_line_a_validation(
    caplog: pytest.LogCaptureFixture,
) -> None:
    out = io.StringIO()
    with caplog.at_level(logging.INFO, logger="tunesmith"):
        fit(ProgressCallback(console=Console(file=out, width=30)), epochs=3)
    lines = out.getvalue().splitlines()
    form = r"step (\d+)/12  val/accuracy 0\.97  val/loss 0\.125  (\d\d:\d\d) left"
    found = [re.fullmatch(form, line) for line in lines]
    assert [match and match[1] for match in found] == ["4", "8", "12"]
    assert found[-1] and found[-1][2] == "00:00"
    assert [r.getMessage() for r in caplog.records if r.name == progress.__name__] == lines


def test_a_terminal_shows_one_bar_over_the_whole_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "REFRESH", 0.0)
    out = io.StringIO()
    fit(ProgressCallback(console=Console(file=out, width=160, force_terminal=True)), epochs=3)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.getvalue())
    last = [line for line in text.replace("\r", "\n").splitlines() if "12/12" in line][-1]
    assert "loss 0.25  lr 1.00e-03  best val/accuracy 0.97" in last
    assert re.search(r"[\d.]+ steps/s  00:00 left", last)
    assert "4/12  epoch 1" in text and "8/12  epoch 2" in text and "validating" in text


def test_the_bar_is_drawn_at_most_four_times_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]

    def tick() -> float:
        now[0] += 0.01
        return now[0]

    monkeypatch.setattr(progress.time, "monotonic", tick)
    bar = ProgressCallback(console=Console(file=io.StringIO(), force_terminal=True))
    drawn: list[float] = []
    show = bar._show
    monkeypatch.setattr(bar, "_show", lambda *a, **k: (drawn.append(now[0]), show(*a, **k)))
    fit(bar, epochs=25, total=100)
    steps = [b - a for a, b in pairwise(drawn)]
    rare = sum(step < progress.REFRESH for step in steps)
    assert rare <= 2 * 25 + 2  # beside the clock only a validation's end and the run's own
    assert len(drawn) < 100


def test_after_a_resume_it_goes_on_in_the_middle(tmp_path: Any) -> None:
    first = fit(ProgressCallback(console=Console(file=io.StringIO())), epochs=1)
    first.save_checkpoint(tmp_path / "x.ckpt", weights_only=False)
    out = io.StringIO()
    fit(ProgressCallback(console=Console(file=out)), epochs=3, path=tmp_path / "x.ckpt")
    assert [line.split("  ")[0] for line in out.getvalue().splitlines()] == [
        "step 8/12",
        "step 12/12",
    ]


def test_the_line_of_a_trial_names_it() -> None:
    out = io.StringIO()
    fit(ProgressCallback(console=Console(file=out, width=200), name="trial 3"), epochs=1)
    assert out.getvalue().startswith("trial 3  step 4/12  val/")


def test_a_run_that_is_paused_at_a_validation_still_gets_its_line() -> None:
    out = io.StringIO()
    bar = ProgressCallback(console=Console(file=out, width=200))
    with pytest.raises(Pause):
        fit(bar, epochs=3, more=[Pauses()])
    assert out.getvalue().startswith("step 4/12  val/accuracy 0.97")
    assert len(out.getvalue().splitlines()) == 1
    assert bar._bar is None


def test_the_bar_can_be_switched_off() -> None:
    out = io.StringIO()
    fit(
        ProgressCallback(bar=False, console=Console(file=out, force_terminal=True, width=99)),
        epochs=1,
    )
    assert "step 4/12" in out.getvalue() and "steps/s" not in out.getvalue()


def test_durations_are_clocks() -> None:
    assert [clock(s) for s in (0, 35.4, 61, 3723, 90061)] == [
        "00:00", "00:35", "01:01", "1:02:03", "25:01:01",
    ]  # fmt: skip
