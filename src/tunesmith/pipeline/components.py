"""The components of a run: task, data, LightningModule, and Lightning's Trainer around them."""

import inspect
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from tunesmith.config import instantiate, monitor_of
from tunesmith.config.run_config import RunConfig
from tunesmith.data.batching.datamodule import DataModule
from tunesmith.data.batching.loaders import no_augmentation
from tunesmith.data.columns import Rows
from tunesmith.data.prepare.media import without_files
from tunesmith.errors import ConfigError, DataError, ModelError
from tunesmith.models import media_encoder
from tunesmith.models.compilation import compile_forward
from tunesmith.models.encoder import load_model
from tunesmith.pipeline.frozen_states import use_cached_states
from tunesmith.pipeline.graph_choice import graphed_lengths
from tunesmith.pipeline.inputs import RunInputs, task_class
from tunesmith.pipeline.probe import check_limits
from tunesmith.pipeline.run_context import RunContext
from tunesmith.pipeline.run_length import check_interval, note_of_end, total_steps
from tunesmith.pipeline.trainer import build_trainer
from tunesmith.runtime.seeds import derive_seed
from tunesmith.tasks.base import Task
from tunesmith.tasks.capabilities import (
    Augments,
    HasModalities,
    HasUndefinedMetrics,
    NotesTruncation,
    fillers_of,
    modality_columns,
)
from tunesmith.tasks.text import padding
from tunesmith.training import checkpoint_io, checkpoint_state, distributed
from tunesmith.training.adapt.base import Adaptation
from tunesmith.training.checkpoint_callback import CheckpointCallback
from tunesmith.training.hardware import Hardware, fused_optimizer
from tunesmith.training.lightning_module import MakeScheduler, TaskModule
from tunesmith.training.schedulers import step_every
from tunesmith.training.step_seeds import set_seed

log = logging.getLogger(__name__)

FORMAT = 2  # of encoded features; a higher one leaves older files alone


@dataclass(frozen=True)
class Training:
    """The components of a run, put together: everything is loaded, no step is taken."""

    trainer: L.Trainer
    module: TaskModule
    data: DataModule
    checkpoints: CheckpointCallback
    frozen: list[nn.Module]  # they stay in evaluation mode


def build_training(
    config: RunConfig, inputs: RunInputs, context: RunContext, hardware: Hardware
) -> Training:
    """Load the weights and put the run together; read the checkpoint that it goes on from."""
    task, adaptation = build_task(config, inputs)
    lengths = graphed_lengths(config, hardware, task, inputs.max_length)
    data = build_data(config, inputs, task, lengths)
    note = note_of_end(config, data.steps_per_epoch)
    if note is not None and distributed.rank() == 0:
        log.warning("%s", note)
    if context.checkpoint is None:
        check_limits(task, data, inputs.max_length)
        random = frozen_at_random(task, inputs, adaptation)
        if random and distributed.rank() == 0:
            what = "%s: random weights are frozen and never learn; adapt=full, or pretrained ones"
            log.warning(what, ", ".join(random))
    use_cached_states(config, hardware, task, adaptation, data, has_graphs=bool(lengths))
    if config.trainer.compile:  # not before the limits were met: that is on the CPU
        compile_forward(task.model, Path(config.paths.cache) / "compiled")
    module = build_module(config, inputs, task, adaptation, data.steps_per_epoch, hardware, lengths)
    state = checkpoint_io.read(context.checkpoint) if context.checkpoint is not None else None
    trainer = build_trainer(config, hardware, context, module, data, _resumed_step(context, state))
    checkpoints = next(c for c in trainer.callbacks if isinstance(c, CheckpointCallback))  # type: ignore[attr-defined]
    if state is not None:
        _restore_progress(checkpoints, state, context, module, data.train_rows)
        ours = trainer.fit_loop.state_dict()
        checkpoint_state.check_kinds(
            {"fit_loop": ours}, state.get("loops"), "record of the loops", str(context.checkpoint)
        )
    return Training(trainer, module, data, checkpoints, adaptation.fixed)


# The task


def frozen_at_random(task: Task, inputs: RunInputs, adaptation: Adaptation) -> list[str]:
    """Name the encoders that no checkpoint filled, and of which some modules are fixed."""
    encoders: dict[str, nn.Module] = {} if inputs.model.pretrained else {"model": task.model}
    if isinstance(task, HasModalities):
        specs = inputs.encoders
        encoders |= {
            f"task.{name}": encoder
            for name, encoder in task.encoders.items()
            if not specs[name].weights
        }
    fixed = set(adaptation.fixed)
    return [name for name, one in encoders.items() if not fixed.isdisjoint(one.modules())]


def build_task(config: RunConfig, inputs: RunInputs) -> tuple[Task, Adaptation]:
    """Load the weights, put a seeded head on them, fit the task to the train split."""
    set_seed(derive_seed(config.seed, "head"))
    task = make_task(config, inputs)
    _check_monitor(config, task, inputs.rows)
    if "train" in inputs.rows.splits:
        task.fit_statistics(inputs.rows.splits["train"])
    if config.trainer.gradient_checkpointing:
        if not task.model.supports_gradient_checkpointing:
            where = "trainer.gradient_checkpointing=true"
            what = f"{task.model.config.model_type} models cannot"
            raise ConfigError("CONF-MODEL", where, what, "set it to false")
        task.model.gradient_checkpointing_enable({"use_reentrant": False})
    return task, instantiate.instantiate(config.adapt, trust=config.trust, task=task)


def make_task(config: RunConfig, inputs: RunInputs) -> Task:
    """Return the task around its model, as it is before anything is fitted to rows."""
    loss = instantiate.instantiate(config.loss, trust=config.trust)
    model = load_model(inputs.model)
    encoders = {name: media_encoder.load(spec) for name, spec in inputs.encoders.items()}
    return instantiate.instantiate(
        config.task,
        trust=config.trust,
        model=model,
        tokenizer=inputs.tokenizer,
        labels=inputs.rows.labels,
        max_length=inputs.max_length,
        truncation=config.data.truncation,
        loss=loss,
        **({"encoders": encoders} if modality_columns(task_class(config)) else {}),
    )


def _check_monitor(config: RunConfig, task: Task, rows: Rows) -> None:
    """Refuse a run without a best checkpoint: its score is no number on these rows."""
    monitor, _ = monitor_of(config, task)
    if not isinstance(task, HasUndefinedMetrics) or "validation" not in rows.splits:
        return
    undefined = task.undefined_metrics(rows.splits["validation"])
    reason = undefined.get(monitor.removeprefix("val/"))
    if reason is not None:
        fix = "set callbacks.checkpoint.monitor, for example val/loss"
        raise DataError("DATA-LABEL", "validation", f"{reason}: {monitor} is not defined", fix)


# Data and module


def build_data(
    config: RunConfig, inputs: RunInputs, task: Task, lengths: Sequence[int] = ()
) -> DataModule:
    """Encode the splits, or open what was encoded before.

    Batches of training are padded to the next of `lengths` tokens; none: to their longest row.
    """
    names = ("on_truncation", "batch_size", "eval_batch_size", "bucket_window", "workers")
    return DataModule(
        inputs.rows.splits,
        task,
        augment=task.augment if isinstance(task, Augments) else no_augmentation,
        widen=partial(padding.widen, lengths, fillers_of(task)) if lengths else None,
        truncation_note=_truncation_note(task),
        identity={
            "features": FORMAT,
            "rows": inputs.rows.fingerprint,
            "tokenizer": inputs.model.tokenizer_fingerprint,
            "task": dict(config.task),
            "code": instantiate.code_of(task_class(config)),
            "labels": inputs.rows.labels,
            "max_length": inputs.max_length,
            "truncation": config.data.truncation,
        },
        train_rows=inputs.rows.hashes.get("train", ""),
        cache=Path(config.paths.cache),
        processes=torch.get_num_threads(),
        seed=derive_seed(config.seed, "order"),
        micro_batches=config.trainer.micro_batches,
        limit_train_batches=config.trainer.limit_train_batches,
        limit_val_batches=config.trainer.limit_val_batches,
        language_temperature=config.data.language_temperature,
        **{name: getattr(config.data, name) for name in names},
    )


def _truncation_note(task: Task) -> str:
    if isinstance(task, NotesTruncation):
        return task.truncation_note()
    return f"texts truncated at {task.max_length} tokens"


def build_module(
    config: RunConfig,
    inputs: RunInputs,
    task: Task,
    adaptation: Adaptation,
    per_epoch: int,
    hardware: Hardware,
    lengths: Sequence[int] = (),
) -> TaskModule:
    """Put the task under its optimizer and schedule.

    Steps of whole batches of one of `lengths` tokens are CUDA graphs.
    """
    steps = total_steps(config, per_epoch)
    check_interval(config, steps)
    schedule = dict(config.scheduler)
    every = schedule.pop("frequency") * (per_epoch if schedule.pop("interval") == "epoch" else 1)
    monitor = schedule.pop("monitor")
    optimizer = dict(config.optimizer)
    if "fused" in optimizer:
        optimizer["fused"], _ = fused_optimizer(optimizer["fused"], hardware.precision)
    return TaskModule(
        task,
        instantiate.instantiate(optimizer, trust=config.trust),
        _make_scheduler(schedule, every, config.trust),
        lr=config.optimizer["lr"],
        factors=adaptation.factors,
        rows={split: without_files(rows) for split, rows in inputs.rows.splits.items()},
        learnt_languages=list(map(str, config.data.train_languages or ())),
        total_steps=steps,
        scheduler_every=every,
        scheduler_monitor=monitor,
        micro_batches=config.trainer.micro_batches,
        log_every_n_steps=config.trainer.log_every_n_steps,
        graph_shapes=[(config.data.batch_size, length) for length in lengths],
    )


def _make_scheduler(schedule: Mapping[str, Any], every: int, trust: Any) -> MakeScheduler:
    """Return what makes the scheduler of an optimizer; one of ours is made for so many steps."""
    make = instantiate.instantiate(schedule, trust=trust)
    target = instantiate.resolve(schedule[instantiate.TARGET], trust=trust)
    if "steps" not in inspect.signature(target).parameters:
        return lambda optimizer, steps: make(optimizer)

    def make_scheduler(optimizer: Optimizer, steps: int) -> Any:
        scheduler = make(optimizer, steps=steps)
        return step_every(scheduler, every) if isinstance(scheduler, LambdaLR) else scheduler

    return make_scheduler


# Resuming


def _resumed_step(context: RunContext, state: Mapping[str, Any] | None) -> int | None:
    """Return the step after which everything is logged again; None in a new directory."""
    if state is not None:
        return int(state["global_step"])
    return 0 if context.resumed else None  # killed before its first checkpoint: from the start


def _restore_progress(
    checkpoints: CheckpointCallback,
    state: Mapping[str, Any],
    context: RunContext,
    module: TaskModule,
    train_rows: str,
) -> None:
    """Read what the checkpoint says of the run; a new run starts its own record of the best.

    `train_rows` names the rows that this run trains on: a checkpoint of others is refused.
    """
    path = str(context.checkpoint)
    progress = next(
        (v for k, v in state["callbacks"].items() if k.startswith("CheckpointCallback")), None
    )
    if progress is None:
        raise ModelError("CKPT-CORRUPT", path, "not a checkpoint of a run")
    checkpoint_state.check_tensors(state, path)
    checkpoint_state.check_progress(progress, path)
    own = {name: value.shape for name, value in module.state_dict().items()}
    if own != {name: getattr(value, "shape", None) for name, value in state["state_dict"].items()}:
        raise ModelError("CKPT-MODEL", path, "is of another model")
    if state.get("rows", train_rows) != train_rows:
        message = "the train rows are not those it saw"
        raise ModelError("RESUME-DATA", path, message, "model.path=RUN takes the weights alone")
    checkpoints.from_other_run = not context.continues_own
    module.takes_own_settings = checkpoints.from_other_run or context.changes_settings
    module.check_optimizer(state, path)
    if context.continues_own:
        checkpoints.load_state_dict(progress)
        return
    if state["global_step"] >= module.total_steps:
        raise ConfigError(
            "TRAIN-0",
            f"ckpt_path={context.checkpoint}",
            f"is at step {state['global_step']}, this run ends at {module.total_steps}",
            "raise trainer.max_epochs",
        )
