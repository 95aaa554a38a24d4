"""Lightning's Trainer as a config asks for it, with our callbacks, loggers and checkpoint files."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.loggers import Logger
from lightning.pytorch.profilers import AdvancedProfiler, Profiler, SimpleProfiler

from tunesmith.config import instantiate, monitor_of
from tunesmith.config.run_config import RunConfig
from tunesmith.data.batching.datamodule import DataModule
from tunesmith.pipeline.run_context import RunContext
from tunesmith.pipeline.run_length import pause_step, validation_steps
from tunesmith.runtime.seeds import derive_seed
from tunesmith.training import logger_connections, tracking
from tunesmith.training.checkpoint_callback import CheckpointCallback
from tunesmith.training.checkpoint_writer import CheckpointWriter
from tunesmith.training.hardware import Hardware
from tunesmith.training.lightning_module import TaskModule
from tunesmith.training.progress import ProgressCallback
from tunesmith.training.step_seeds import SeedEachStep
from tunesmith.training.tensorboard_callback import ValidationFigures


def build_trainer(
    config: RunConfig,
    hardware: Hardware,
    context: RunContext,
    module: TaskModule,
    data: DataModule,
    resumed_step: int | None,
) -> L.Trainer:
    """Put together Lightning's Trainer with our callbacks and checkpoint files.

    What was logged after `resumed_step` is logged again; None in a new directory.
    """
    options = config.trainer
    interval = options.val_check_interval
    # Fractions are planned steps: `validation_steps`. Lightning itself then never validates.
    batches = module.total_steps + 1 if isinstance(interval, float) else interval
    writer = CheckpointWriter(
        context.directory / "checkpoints",
        own=context.checkpoint if context.continues_own else None,
        in_background=hardware.strategy in ("auto", "ddp"),  # others put a state together
    )
    return L.Trainer(
        accelerator=hardware.accelerator,
        devices=hardware.devices,
        num_nodes=hardware.num_nodes,
        strategy=_strategy(hardware),
        precision=hardware.precision,  # type: ignore[arg-type]
        max_epochs=-1 if options.max_epochs is None else options.max_epochs,
        max_steps=-1 if options.max_steps is None else options.max_steps,
        val_check_interval=batches * options.micro_batches,
        check_val_every_n_epoch=None,
        accumulate_grad_batches=options.micro_batches,
        gradient_clip_val=options.gradient_clip_val or None,
        logger=_loggers(config, context, resumed_step),
        callbacks=_callbacks(config, context, module, data.steps_per_epoch, writer),
        plugins=[writer],
        profiler=_profiler(options.profiler, context.directory),
        default_root_dir=context.directory,
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


def _strategy(hardware: Hardware) -> Any:
    if hardware.strategy == "ddp":
        from lightning.pytorch.strategies import DDPStrategy

        backend = "gloo" if hardware.accelerator == "cpu" else None
        return DDPStrategy(process_group_backend=backend)
    if hardware.strategy == "fsdp":
        from lightning.pytorch.strategies import FSDPStrategy

        return FSDPStrategy(state_dict_type="full")
    return "deepspeed_stage_2" if hardware.strategy == "deepspeed" else hardware.strategy


def _callbacks(
    config: RunConfig,
    context: RunContext,
    module: TaskModule,
    per_epoch: int,
    writer: CheckpointWriter,
) -> list[L.Callback]:
    checkpoint, early_stopping = config.callbacks.checkpoint, config.callbacks.early_stopping
    monitor, mode = monitor_of(config, module.task)
    total = module.total_steps
    checkpoints = CheckpointCallback(
        writer,
        monitor=monitor,
        mode=mode,
        every_n_steps=checkpoint.every_n_steps,
        every_n_minutes=checkpoint.every_n_minutes,
        patience=early_stopping.patience,
        min_delta=early_stopping.min_delta,
        validate_at_steps=validation_steps(config, per_epoch, total),
        pause_at_step=pause_step(config, total),
        hparams=dict(context.hparams),
        group=context.group,
    )
    shown: list[L.Callback] = [ProgressCallback(bar=config.callbacks.progress, name=context.group)]
    if config.callbacks.figures:
        shown.append(ValidationFigures(checkpoints))
    return [SeedEachStep(derive_seed(config.seed, "steps")), checkpoints, *shown]


def _loggers(config: RunConfig, context: RunContext, resumed_step: int | None) -> list[Logger]:
    loggers = []
    for options in config.logger.values():
        node = dict(options)
        if node["_target_"].startswith("tunesmith."):
            purge = None if resumed_step is None else resumed_step + 1
            node |= {"run_dir": str(context.directory), "purge_step": purge}
        elif "save_dir" in node:
            node["save_dir"] = str(context.directory)
        address = node.get("tracking_uri")
        with (
            logger_connections.connection_errors_as_one_line(address) if address else nullcontext()
        ):
            node = tracking.with_identity(node, context.directory)
            logger = instantiate.instantiate(node, trust=config.trust)
            if node["_target_"] in tracking.EXTRAS and context.hparams:
                logger.log_hyperparams(dict(context.hparams))
        loggers.append(logger)
    return loggers
