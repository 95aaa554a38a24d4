"""Our training loop in this process, as `python train.py` runs it, with a clock on its steps."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import lightning as L
import torch
from hydra import compose, initialize_config_dir

from tunesmith.config import CONF, RunConfig, resolved
from tunesmith.pipeline import components
from tunesmith.pipeline.inputs import RunInputs
from tunesmith.pipeline.run_context import RunContext
from tunesmith.pipeline.trainer import build_trainer
from tunesmith.training.checkpoint_callback import StoppedEarly
from tunesmith.training.hardware import Hardware


class Clock(L.Callback):
    """Notes when each step ended, and its loss."""

    def __init__(self) -> None:
        self.ends: list[float] = []
        self.losses: list[float] = []

    def on_train_batch_end(self, trainer, module, outputs, batch, index) -> None:
        self.ends.append(time.perf_counter())
        self.losses.append(float(module.batch_loss))


def config_without_dropout(folder: Path, *more: str) -> RunConfig:
    arguments = [
        "model.hidden_dropout=0.0",
        "model.attention_dropout=0.0",
        "model.classifier_dropout=0.0",
        "trainer.max_epochs=null",
        "trainer.limit_val_batches=1",
        "callbacks.figures=false",
        f"paths.runs={folder}/runs",
        *more,
    ]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return resolved(compose("train", arguments))


def train_with_clock(cfg: RunConfig, inputs: RunInputs, machine: Hardware, folder: Path) -> Clock:
    """Train with all callbacks and loggers that a run has."""
    task, adaptation = components.build_task(cfg, inputs)
    data = components.build_data(cfg, inputs, task)
    module = components.build_module(cfg, inputs, task, adaptation, data.steps_per_epoch, machine)
    trainer = build_trainer(cfg, machine, RunContext(folder, False, None), module, data, None)
    clock = Clock()
    trainer.callbacks.append(clock)  # type: ignore[attr-defined]
    task.train()
    with contextlib.suppress(StoppedEarly):
        trainer.fit(module, datamodule=data)
    return clock


def batches_of(data, steps: int) -> Iterator[dict[str, torch.Tensor]]:
    """Yield the batches that our loop sees, in its order."""
    loader, epoch = data.train_dataloader(), 0
    while steps > 0:
        loader.set_epoch(epoch)
        for batch in loader:
            if steps == 0:
                return
            steps -= 1
            yield batch
        epoch += 1
