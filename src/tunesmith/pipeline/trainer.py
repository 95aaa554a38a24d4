"""Lightning's Trainer as a config asks for it, with our callbacks, loggers and checkpoint files."""

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.loggers import Logger
from lightning.pytorch.profilers import AdvancedProfiler, Profiler, SimpleProfiler
from omegaconf import DictConfig

from tunesmith import config
from tunesmith.config import instantiate
from tunesmith.data.batching.datamodule import DataModule
from tunesmith.pipeline.components import plain, step_at, stop_step
from tunesmith.runtime.seeds import derive_seed
from tunesmith.training import logger_connections
from tunesmith.training.checkpoint_callback import CheckpointCallback
from tunesmith.training.checkpoint_io import AtomicCheckpointIO
from tunesmith.training.hardware import Hardware
from tunesmith.training.lightning_module import TaskModule
from tunesmith.training.progress import ProgressCallback
from tunesmith.training.step_seeds import SeedEachStep
from tunesmith.training.tensorboard_callback import ValidationFigures


def build_trainer(
    cfg: DictConfig,
    machine: Hardware,
    directory: Path,
    module: TaskModule,
    data: DataModule,
    resumed_step: int | None,
    hparams: Mapping[str, Any] | None = None,
    group: str = "",
) -> L.Trainer:
    """Put together Lightning's Trainer with our callbacks and checkpoint files.

    `hparams` is what the run's HPARAMS row shows, by default its whole config; runs of one
    `group` share a row.
    """
    how, steps = cfg.trainer, data.steps_per_epoch if "train" in data.rows else 1
    every = how.val_check_interval
    per_epoch = isinstance(every, float)
    batches = max(1, int(steps * every)) if per_epoch else every
    return L.Trainer(
        accelerator=machine.accelerator,
        devices=machine.devices,
        num_nodes=machine.num_nodes,
        strategy=_strategy(machine),
        precision=machine.precision,  # type: ignore[arg-type]
        max_epochs=-1 if how.max_epochs is None else how.max_epochs,
        max_steps=-1 if how.max_steps is None else how.max_steps,
        val_check_interval=batches * how.micro_batches,
        check_val_every_n_epoch=1 if per_epoch else None,
        accumulate_grad_batches=how.micro_batches,
        gradient_clip_val=how.gradient_clip_val or None,
        logger=_loggers(cfg, directory, resumed_step),
        callbacks=_callbacks(cfg, directory, module, hparams, group),
        plugins=[AtomicCheckpointIO()],
        profiler=_profiler(how.profiler, directory),
        default_root_dir=directory,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def _profiler(name: str | None, directory: Path) -> Profiler | None:
    """Return Lightning's profiler, which writes a report into the run directory at the end."""
    kinds = {"simple": SimpleProfiler, "advanced": AdvancedProfiler}
    return kinds[name](dirpath=directory, filename="profile") if name is not None else None


def _strategy(machine: Hardware) -> Any:
    if machine.strategy == "ddp":
        from lightning.pytorch.strategies import DDPStrategy

        backend = "gloo" if machine.accelerator == "cpu" else None
        return DDPStrategy(process_group_backend=backend)
    if machine.strategy == "fsdp":
        from lightning.pytorch.strategies import FSDPStrategy

        return FSDPStrategy(state_dict_type="full")
    return "deepspeed_stage_2" if machine.strategy == "deepspeed" else machine.strategy


def _callbacks(
    cfg: DictConfig,
    directory: Path,
    module: TaskModule,
    hparams: Mapping[str, Any] | None,
    group: str,
) -> list[L.Callback]:
    how = cfg.callbacks
    monitor, mode = config.monitor_of(cfg, module.task)
    checkpoints = CheckpointCallback(
        directory / "checkpoints",
        monitor=monitor,
        mode=mode,
        every_n_steps=how.checkpoint.every_n_steps,
        every_n_minutes=how.checkpoint.every_n_minutes,
        patience=how.early_stopping.patience,
        min_delta=how.early_stopping.min_delta,
        validate_at_steps=[step_at(f, module.total_steps) for f in cfg.trainer.validate_at],
        pause_at_step=stop_step(cfg, module.total_steps),
        hparams=_flat(config.redact_config(cfg)) if hparams is None else dict(hparams),
        group=group,
    )
    shown: list[L.Callback] = [ProgressCallback(bar=how.progress)]
    if how.figures:
        shown.append(ValidationFigures(checkpoints))
    return [SeedEachStep(derive_seed(cfg.seed, "steps")), checkpoints, *shown]


def _loggers(cfg: DictConfig, directory: Path, resumed_step: int | None) -> list[Logger]:
    loggers = []
    for node in plain(cfg.logger).values():
        if node["_target_"].startswith("tunesmith."):
            purge = None if resumed_step is None else resumed_step + 1
            node |= {"run_dir": str(directory), "purge_step": purge}
        elif "save_dir" in node:
            node["save_dir"] = str(directory)
        address = node.get("tracking_uri")
        with (
            logger_connections.connection_errors_as_one_line(address) if address else nullcontext()
        ):
            loggers.append(instantiate.instantiate(node, trust=cfg.trust))
    return loggers


def _flat(node: Any, prefix: str = "") -> dict[str, Any]:
    """Flatten a nested config into dotted names, without what does not belong in a table."""
    if not isinstance(node, dict):
        return {prefix: node}
    flat: dict[str, Any] = {}
    for key, value in node.items():
        if key not in ("paths", "logger", "callbacks", "resume", "ckpt_path", "trust"):
            flat |= _flat(value, f"{prefix}.{key}" if prefix else key)
    return flat
