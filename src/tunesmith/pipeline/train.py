"""A training run on one page: inputs, components, fit, finalize."""

import json
import logging
import os
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig

from tunesmith import runs
from tunesmith.config import resolved
from tunesmith.config.override_parser import typed_overrides
from tunesmith.config.run_config import RunConfig
from tunesmith.errors import ConfigError, Interrupted, ModelError
from tunesmith.pipeline.components import Training, build_training
from tunesmith.pipeline.finalize import finalize
from tunesmith.pipeline.inputs import check_runnable, load_inputs
from tunesmith.pipeline.run_context import (
    ConfigRecord,
    RunContext,
    open_context,
    recording,
    resolve_resume,
)
from tunesmith.reporting.terminal.score_table import print_summary
from tunesmith.training import checkpoint_io, distributed
from tunesmith.training.checkpoint_callback import StoppedEarly
from tunesmith.training.hardware import Hardware, resolve_hardware, torch_settings
from tunesmith.training.signals import StopOnSignal

log = logging.getLogger(__name__)


class Outcome(NamedTuple):
    """A run that ended: where it is, and its best monitored score (None on other ranks)."""

    directory: Path
    score: float | None


def train(composed: DictConfig) -> float | None:
    """Train as Hydra's command line says; return the best monitored score."""
    return train_run(composed, typed_overrides()).score


def train_run(composed: DictConfig, overrides: list[str]) -> Outcome:
    """Train, test and save what the config describes."""
    composed, directory = resolve_resume(composed, overrides)
    config = resolved(composed)
    if directory is not None and runs.is_finished(directory):
        best = runs.read_json(directory / "metrics.json").get("best")
        if not isinstance(best, int | float):
            raise ModelError("RUN", str(directory), "its metrics.json has no best score")
        print(f"{directory} is already finished")
        return Outcome(directory, best)
    hardware = choose_hardware(config)
    record = ConfigRecord.of(composed, overrides)
    runs.check_writable(Path(config.paths.runs))
    with torch_settings(hardware, config.trainer.deterministic):
        inputs = load_inputs(config)
        check_runnable(config, inputs, hardware)
        context = open_context(config, record.hparams, directory)
        with recording(config.seed, record, hardware, inputs, context):
            with launched_ranks(config, hardware, context):
                training = build_training(config, inputs, context, hardware)
                fit(training, context)
            if distributed.rank() != 0:
                return Outcome(context.directory, None)
            scores = finalize(config, inputs, context, hardware, training)
            kept = config.callbacks.checkpoint.keep
            checkpoint_io.keep_only(context.directory / "checkpoints", kept)
            metrics = runs.read_json(context.directory / "metrics.json")
            print_summary(metrics, context.directory)
    return Outcome(context.directory, scores[training.checkpoints.monitor])


def choose_hardware(config: RunConfig) -> Hardware:
    """Resolve device, precision and threads by the `trainer` group."""
    options = config.trainer
    if options.num_nodes > 1 and not distributed.is_launched():
        what = "no launcher has started the processes of other machines"
        fix = "start it by torchrun, or by srun of SLURM"
        raise ConfigError("CONF-NODES", f"trainer.num_nodes={options.num_nodes}", what, fix)
    hardware = resolve_hardware(
        options.accelerator,
        options.devices,
        options.num_nodes,
        options.strategy,
        options.precision,
        options.num_threads,
        options.float32_matmul_precision,
    )
    expected = hardware.devices * hardware.num_nodes
    processes = int(os.environ.get("WORLD_SIZE", expected))
    if distributed.is_launched() and processes != expected:
        name = f"trainer.devices={hardware.devices} trainer.num_nodes={hardware.num_nodes}"
        what = f"the launcher has started {processes} processes in all"
        raise ConfigError("CONF-NODES", name, what, "trainer.devices is those of one machine")
    return hardware


def fit(training: Training, context: RunContext) -> None:
    """Train to the end; raises Interrupted where it stops before, between two steps."""
    trainer, module = training.trainer, training.module
    if training.checkpoints.finished:
        return
    end = training.checkpoints.pause_at_step
    if end is not None and training.checkpoints.validated_step >= end:
        raise Interrupted  # it has come so far before: every rank sees that in the checkpoint
    module.task.train()
    for frozen in training.frozen:
        frozen.eval()
    signals = StopOnSignal(lambda: setattr(module, "stop_requested", True))
    trainer.callbacks.append(signals)  # type: ignore[attr-defined]
    checkpoint = str(context.checkpoint) if context.checkpoint else None
    distributed.join_group(trainer.strategy.root_device)
    with signals, training.checkpoints.writer, suppress(StoppedEarly):
        trainer.fit(module, datamodule=training.data, ckpt_path=checkpoint)


# Several devices


def launched_ranks(
    config: RunConfig, hardware: Hardware, context: RunContext
) -> AbstractContextManager[Any]:
    """Start the other processes of this machine, unless something else has."""
    if hardware.devices == 1 or distributed.is_launched():
        return nullcontext()
    payload = {
        "config": config.model_dump(),
        "directory": str(context.directory),
        "resumed": context.resumed,
        "checkpoint": str(context.checkpoint) if context.checkpoint else None,
        "changes_settings": context.changes_settings,
        "path": sys.path,
    }
    # -P: a torch.py in the working directory must not be imported; this process's path is sent.
    command = [sys.executable, "-P", "-m", "tunesmith.pipeline.rank_entry"]
    return distributed.launched_ranks(hardware.devices, command, json.dumps(payload))


def train_as_rank(payload: Mapping[str, Any]) -> None:
    """Train as a further process of a run, by what the first one sends: see `launched_ranks`."""
    config = RunConfig.model_validate(payload["config"])
    hardware = choose_hardware(config)
    checkpoint = Path(payload["checkpoint"]) if payload["checkpoint"] else None
    context = RunContext(
        Path(payload["directory"]),
        payload["resumed"],
        checkpoint,
        changes_settings=payload["changes_settings"],
    )
    with torch_settings(hardware, config.trainer.deterministic):
        try:
            fit(build_training(config, load_inputs(config), context, hardware), context)
        finally:
            distributed.leave_group()
