"""What training costs on this machine, measured in a few steps, two validations, a checkpoint."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

import lightning as L
import numpy as np
import torch

from tunesmith import runs
from tunesmith.config import RunConfig
from tunesmith.data.batching.datamodule import DataModule
from tunesmith.errors import Interrupted
from tunesmith.pipeline.components import Training, build_training
from tunesmith.pipeline.inputs import RunInputs
from tunesmith.pipeline.run_context import ConfigRecord, RunContext, record_start
from tunesmith.pipeline.train import fit
from tunesmith.search.storage.checkpoint_budget import bytes_of
from tunesmith.search.trial import MEASURE_FOLDER, MeasuredCost
from tunesmith.training import checkpoint_io
from tunesmith.training.hardware import Hardware
from tunesmith.training.progress import ProgressCallback
from tunesmith.training.tracking import loggers_in_run

SHARES = (0.1, 0.5, 0.9)  # which batches of an epoch are measured, sorted by their tokens
PART = 4  # and a batch of so many times fewer rows, which shows what a step takes beside its tokens
ROUNDS = 10  # of these four that are planned; the first one, of cold shapes, does not count
FEWEST = 2  # rounds, whatever they take
ENOUGH = 1.5  # seconds after which there is no further round
STEPS = 1 + (len(SHARES) + 1) * ROUNDS  # the last one is never taken: a run ends with a validation
VALIDATED = 2  # steps followed by a validation; the last of these is warm, and counts
LENGTHS = 21  # shares of the train features, whose lengths are reported

Batches = Sequence[np.ndarray]  # the features of each


def measure(config: RunConfig, inputs: RunInputs, hardware: Hardware, folder: Path) -> MeasuredCost:
    """Train a few steps of a config, in a folder below `folder` that is gone afterwards.

    Raises Interrupted where the worker is told to stop, and what the training raises.
    """
    worker_seconds = _age_of_this_process()
    with TemporaryDirectory(prefix=MEASURE_FOLDER, dir=folder) as home:
        run, second = Path(home) / "run", Path(home) / "second"
        timer = StepTimer(ROUNDS)
        training = _train(_few_steps(config), inputs, hardware, run, timer)
        began = time.perf_counter()
        _train(_few_steps(config), inputs, hardware, second, StepTimer(0))
        start_seconds = time.perf_counter() - began
        data = training.data
        lengths = data.encoded["train"].lengths
        sizes = _sizes(timer.batches, lengths)
        fixed, per_token = line_through([(sizes[i], seconds) for i, seconds in timer.warm_steps])
        checkpoints = run / "checkpoints"
        checkpoint = checkpoints / "last.ckpt"
        return MeasuredCost(
            features=len(lengths),
            lengths=np.quantile(lengths, np.linspace(0, 1, LENGTHS)).astype(int).tolist(),
            batch_size=config.data.batch_size,
            tokens=fmean(_sizes(timer.epoch, lengths)),
            step_seconds=fixed,
            token_seconds=per_token,
            validation_seconds=_whole_validation(config, data, timer),
            checkpoint_seconds=training.checkpoints.writer.seconds,
            start_seconds=start_seconds,
            restore_seconds=_seconds_to_restore(checkpoints),
            worker_seconds=worker_seconds,
            checkpoint_bytes=checkpoint.stat().st_size,
            run_bytes=bytes_of(run) - bytes_of(checkpoints),
        )


def _few_steps(config: RunConfig) -> RunConfig:
    """Return the config of a training of `STEPS` steps whose validations have a batch of rows.

    Frozen layers are computed in each step: their cache takes a pass over all rows.
    """
    if "cache_gb" in config.adapt:
        config = config.model_copy(update={"adapt": {**config.adapt, "cache_gb": 0.0}})
    config = config.model_copy(update={"test": False, "logger": loggers_in_run(config.logger)[0]})
    return config.with_options(
        "trainer",
        max_epochs=None,
        max_steps=STEPS,
        val_check_interval=STEPS,
        validate_at=[step / STEPS for step in range(1, VALIDATED + 1)],
        pause_at_step=None,
        limit_train_batches=None,
        limit_val_batches=1,
        profiler=None,
    )


def _train(
    config: RunConfig, inputs: RunInputs, hardware: Hardware, directory: Path, timer: "StepTimer"
) -> Training:
    """Train in a run directory, as a trial does, until the timer has seen enough."""
    directory.mkdir(mode=0o700)
    context = RunContext(directory, False, None)
    with runs.lock(directory), runs.setup_log(directory):
        record = ConfigRecord.of(config.model_dump(), [])
        record_start(config.seed, record, hardware, inputs, context)
        training = build_training(config, inputs, context, hardware)
        timer.join(training, config.trainer.micro_batches)
        try:
            fit(training, context)
        except Interrupted:
            if not timer.is_done:  # the worker is told to stop
                raise
    return training


class StepTimer(L.Callback):
    """Times steps and validations of planned batches; ends the training after so many rounds.

    With 0 rounds it ends it before its first step.
    """

    def __init__(self, rounds: int) -> None:
        self.rounds, self.is_done = rounds, False
        self.shapes = 0  # batches of a round
        self.epoch: list[np.ndarray] = []  # the batches of a whole one
        self.batches: list[np.ndarray] = []  # that are planned
        self.steps: list[float] = []  # seconds of each
        self.part_seconds = self.rest_seconds = 0.0  # of a validation: its batches, and the rest
        self._mark = self._begun = 0.0
        self._validating = False

    def join(self, training: Training, micro_batches: int) -> None:
        """Plan the batches of a training and watch it; its own progress is not shown."""
        self.training, self.micro_batches = training, micro_batches
        lengths = training.data.encoded["train"].lengths
        self.epoch = training.data.train_dataloader().batches(0)
        # A CUDA graph is of whole batches: a part of one would take another way.
        shapes = measured_shapes(self.epoch, lengths, has_part=not training.module.graph_shapes)
        self.batches = [
            _largest(self.epoch, lengths),
            *(shapes[i % len(shapes)] for i in range(STEPS - 1)),
        ]
        self.shapes = len(shapes)
        training.data.planned = self.batches
        trainer: Any = training.trainer
        others = [c for c in trainer.callbacks if not isinstance(c, ProgressCallback)]
        trainer.callbacks = [self, *others]  # first: a step ends before it is saved

    @property
    def warm_steps(self) -> list[tuple[int, float]]:
        """(index, seconds) of the steps that count."""
        return list(enumerate(self.steps))[1 + self.shapes :]

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, index: int) -> None:
        if not self.rounds:
            self._end()
        if self._validating:
            self._validating = False
            self.rest_seconds = time.perf_counter() - self._mark
            self.training.checkpoints.writer.wait()  # it is timed alone
            self._mark = time.perf_counter()
        elif not self.steps and index == 0:
            self._mark = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Any, module: Any, outputs: Any, batch: Any, index: int
    ) -> None:
        if (index + 1) % self.micro_batches:
            return
        if module.device.type == "cuda":
            torch.cuda.synchronize()
        now = time.perf_counter()
        self.steps.append(now - self._mark)
        self._mark = now
        done, rest = divmod(len(self.steps) - 1, self.shapes)
        if rest == 0 and done >= FEWEST:
            spent = sum(self.steps[1:])
            if spent >= ENOUGH or done >= self.rounds - 1:
                self._end()

    def on_validation_start(self, trainer: Any, module: Any) -> None:
        self._mark = time.perf_counter()

    def on_validation_epoch_end(self, trainer: Any, module: Any) -> None:
        now = time.perf_counter()
        self.part_seconds, self._mark, self._validating = now - self._mark, now, True

    def _end(self) -> None:
        self.is_done = True
        raise Interrupted


def measured_shapes(epoch: Batches, lengths: np.ndarray, has_part: bool = True) -> list[np.ndarray]:
    """Return batches of an epoch that are measured: a short, a middle and a long one.

    They are whole ones: the last batch of an epoch may be smaller. A part of a middle one comes
    first, if it is to and there are rows enough.
    """
    most = max(map(len, epoch))
    whole = sorted((rows for rows in epoch if len(rows) == most), key=lambda r: lengths[r].max())
    chosen = [whole[round(share * (len(whole) - 1))] for share in SHARES]
    part = chosen[1][: most // PART] if has_part else chosen[1][:0]
    return [part, *chosen] if len(part) else chosen


def _largest(epoch: Batches, lengths: np.ndarray) -> np.ndarray:
    """Return the batch that takes most memory."""
    return max(epoch, key=lambda rows: len(rows) * lengths[rows].max())


def line_through(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return the line of least squares through (size, seconds), neither part of it below 0."""
    x, y = np.array([size for size, _ in points]), np.array([seconds for _, seconds in points])
    spread = x - x.mean()
    if not spread.any():
        return 0.0, float(y.mean() / x.mean())
    slope = float((spread * y).sum() / (spread**2).sum())
    fixed = float(y.mean()) - slope * float(x.mean())
    if slope < 0:
        return float(y.mean()), 0.0
    return (fixed, slope) if fixed >= 0 else (0.0, float((x * y).sum() / (x * x).sum()))


def _sizes(batches: Batches, lengths: np.ndarray) -> list[float]:
    """Return the tokens of each batch, padding included."""
    return [float(len(rows) * lengths[rows].max()) for rows in batches]


def _whole_validation(config: RunConfig, data: DataModule, timer: StepTimer) -> float:
    """Return the seconds of a whole validation; its batches follow the tokens of the part."""
    lengths = data.encoded["validation"].lengths
    tokens = []
    for limit in (1, config.trainer.limit_val_batches):
        data.limit_val_batches = limit
        sampler: Any = data.evaluation_loader("validation").batch_sampler
        tokens.append(sum(_sizes([np.array(features) for features in sampler], lengths)))
    part, whole = tokens
    return timer.part_seconds * whole / part + timer.rest_seconds


def _seconds_to_restore(folder: Path) -> float:
    """Return what it takes to go on from the checkpoint in a folder: it is hashed, read twice."""
    began = time.perf_counter()
    found = checkpoint_io.newest_intact(folder, lambda *words: None)
    for _ in range(2):
        checkpoint_io.read(found or folder / "last.ckpt")
    return time.perf_counter() - began


def _age_of_this_process() -> float:
    """Return the seconds since this process began; 0 where the system does not say it."""
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    began = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - began)
