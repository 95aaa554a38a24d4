"""The whole program: config -> rows -> model -> task -> trainer -> scores and a model on disk."""

import json
import logging
import sys
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
from omegaconf import DictConfig, OmegaConf

from tunesmith import config, runs
from tunesmith.data.batching.datamodule import DataModule
from tunesmith.errors import ConfigError, ModelError, raise_all
from tunesmith.pipeline.components import (
    Parts,
    build_data,
    build_module,
    build_task,
    check_plan,
    prepare,
)
from tunesmith.pipeline.finalize import Trained, finish
from tunesmith.pipeline.run_context import (
    Place,
    place_of,
    record_end,
    record_leaving,
    resumed,
    write_down,
)
from tunesmith.pipeline.trainer import build_trainer
from tunesmith.training import checkpoint_io, distributed
from tunesmith.training.checkpoint_callback import CheckpointCallback, StoppedEarly
from tunesmith.training.hardware import Hardware, resolve_hardware, torch_settings
from tunesmith.training.lightning_module import TaskModule
from tunesmith.training.signals import StopOnSignal, exit_on_sigterm

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Training:
    """A run put together: everything is loaded, no step is taken."""

    trainer: L.Trainer
    module: TaskModule
    data: DataModule
    checkpoints: CheckpointCallback
    fixed: list[Any]  # modules that stay in eval mode


def run(cfg: DictConfig) -> float | None:
    """Train, test and save, as the config says; return the best monitored validation score."""
    overrides = _overrides()
    cfg, directory = resumed(cfg, overrides)
    raise_all(config.check(cfg))
    if directory is not None and runs.is_finished(directory):
        print(f"{directory} is already finished")
        return _recorded_score(directory)
    machine = choose_machine(cfg)
    runs.check_writable(Path(cfg.paths.runs))
    with torch_settings(machine, cfg.trainer.deterministic):
        parts = prepare(cfg)
        check_plan(cfg, parts, machine)
        place = place_of(cfg, directory)
        return _run_in(cfg, overrides, machine, parts, place)


def choose_machine(cfg: DictConfig) -> Hardware:
    """Settle device, precision and threads by the `trainer` group."""
    names = ("accelerator", "devices", "num_nodes", "strategy", "precision")
    asked = {name: cfg.trainer[name] for name in names}
    return resolve_hardware(**asked, threads=cfg.trainer.num_threads)


def _run_in(
    cfg: DictConfig, overrides: list[str], machine: Hardware, parts: Parts, place: Place
) -> float | None:
    directory = place.directory
    with ExitStack() as stack:
        if distributed.rank() == 0:
            stack.enter_context(runs.lock(directory))
            stack.enter_context(exit_on_sigterm(lambda: record_leaving(directory)))
            stack.enter_context(runs.setup_log(directory))
            write_down(cfg, overrides, machine, parts, place)
        try:
            with ranks(cfg, overrides, machine, place):
                training = train(cfg, machine, parts, place)
            if distributed.rank() != 0:
                return None
            scores = finish(trained(cfg, machine, parts, place, training))
            runs.print_summary(runs.read_json(directory / "metrics.json"), directory)
        except BaseException as error:
            record_end(directory, error)
            raise
    return scores[training.checkpoints.monitor]


# Training


def train(cfg: DictConfig, machine: Hardware, parts: Parts, place: Place) -> Training:
    """Fit from the start or from a checkpoint; return at the end of training."""
    training = assemble(cfg, machine, parts, place)
    fit(training, place)
    return training


def trained(
    cfg: DictConfig, machine: Hardware, parts: Parts, place: Place, training: Training
) -> Trained:
    """Return what is needed to finish a run that was put together."""
    loggers = training.trainer.loggers
    return Trained(cfg, machine, parts, place, training.module, training.checkpoints, loggers)


def assemble(cfg: DictConfig, machine: Hardware, parts: Parts, place: Place) -> Training:
    """Load the weights and put the run together; read the checkpoint that it goes on from."""
    task, adaptation = build_task(cfg, parts)
    data = build_data(cfg, parts, task, machine)
    module = build_module(cfg, parts, task, adaptation, data.steps_per_epoch, machine)
    state = checkpoint_io.read(place.checkpoint) if place.checkpoint is not None else None
    trainer = build_trainer(
        cfg,
        machine,
        place.directory,
        module,
        data,
        resumed_step=_resumed_step(place, state),
        hparams=place.hparams,
        group=place.group,
    )
    checkpoints = next(c for c in trainer.callbacks if isinstance(c, CheckpointCallback))  # type: ignore[attr-defined]
    if state is not None:
        _take_over(checkpoints, state, place, module, data.train_rows)
    return Training(trainer, module, data, checkpoints, adaptation.fixed)


def _resumed_step(place: Place, state: Mapping[str, Any] | None) -> int | None:
    """Return the step after which everything is logged anew; None in a new directory."""
    if state is not None:
        return int(state["global_step"])
    return 0 if place.resumed else None  # killed before its first checkpoint: from the start again


def fit(training: Training, place: Place) -> None:
    """Train to the end; raises Interrupted where it stops before, between two steps."""
    trainer, module = training.trainer, training.module
    if training.checkpoints.finished:
        return
    module.task.train()
    for fixed in training.fixed:
        fixed.eval()
    signals = StopOnSignal(lambda: setattr(module, "stop_requested", True))
    trainer.callbacks.append(signals)  # type: ignore[attr-defined]
    checkpoint = str(place.checkpoint) if place.checkpoint else None
    with signals, suppress(StoppedEarly):
        trainer.fit(module, datamodule=training.data, ckpt_path=checkpoint)


def _take_over(
    checkpoints: CheckpointCallback,
    state: Mapping[str, Any],
    place: Place,
    module: TaskModule,
    rows: str,
) -> None:
    """Read what the checkpoint says of the run; a new run starts its own record of the best.

    `rows` names the rows that this run trains on: a checkpoint of others is refused.
    """
    where = str(place.checkpoint)
    known = next(
        (v for k, v in state["callbacks"].items() if k.startswith("CheckpointCallback")), None
    )
    if known is None:
        raise ModelError("CKPT-CORRUPT", where, "not a checkpoint of a run")
    own = {name: value.shape for name, value in module.state_dict().items()}
    if own != {name: getattr(value, "shape", None) for name, value in state["state_dict"].items()}:
        raise ModelError("CKPT-MODEL", where, "is of another model")
    if state.get("rows", rows) != rows:
        what = "the train rows are not those it saw"
        raise ModelError("RESUME-DATA", where, what, "model.path=RUN takes the weights alone")
    if place.goes_on:
        checkpoints.load_state_dict(known)
        return
    checkpoints.starts_anew = module.starts_anew = True
    module.check_optimizer(state, where)
    if state["global_step"] >= module.total_steps:
        raise ConfigError(
            "TRAIN-0",
            f"ckpt_path={place.checkpoint}",
            f"is at step {state['global_step']}, this run ends at {module.total_steps}",
            "raise trainer.max_epochs",
        )


def ranks(cfg: DictConfig, overrides: list[str], machine: Hardware, place: Place) -> Any:
    """Start the other processes of this machine, unless something else has."""
    if machine.devices == 1 or distributed.is_launched():
        return ExitStack()
    payload = {
        "config": OmegaConf.to_container(cfg, resolve=True),
        "overrides": overrides,
        "directory": str(place.directory),
        "resumed": place.resumed,
        "checkpoint": str(place.checkpoint) if place.checkpoint else None,
        "path": sys.path,
    }
    # -P: a torch.py where one stands must not be imported; this process's own path is told.
    command = [sys.executable, "-P", "-m", "tunesmith.pipeline.rank_entry"]
    return distributed.launched_ranks(machine.devices, command, json.dumps(payload))


def train_beside(told: Mapping[str, Any]) -> None:
    """Run as a further process of a run, told what the first one decided: see `ranks`."""
    cfg = OmegaConf.create(told["config"])
    machine = choose_machine(cfg)
    checkpoint = Path(told["checkpoint"]) if told["checkpoint"] else None
    place = Place(Path(told["directory"]), told["resumed"], checkpoint)
    with torch_settings(machine, cfg.trainer.deterministic):
        train(cfg, machine, prepare(cfg), place)


def _recorded_score(directory: Path) -> float | None:
    return json.loads((directory / "metrics.json").read_text())["best"]


def _overrides() -> list[str]:
    from hydra.core.hydra_config import HydraConfig

    if not HydraConfig.initialized():
        return []
    # As typed: reading them would resolve ${oc.env:TOKEN}, and they are written down.
    return list(OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False))  # type: ignore[arg-type]
