"""From a config to the parts of a run: rows, task, data, module, trainer."""

import inspect
import math
from collections.abc import Collection, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.loggers import Logger
from lightning.pytorch.profilers import AdvancedProfiler, Profiler, SimpleProfiler
from omegaconf import DictConfig, OmegaConf
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from transformers import PreTrainedTokenizerBase

from tunesmith import config, store, targets
from tunesmith.adapt import Adaptation
from tunesmith.data.module import DataModule
from tunesmith.data.rows import COLUMNS, Rows
from tunesmith.data.source import read
from tunesmith.errors import ConfigError, DataError
from tunesmith.models.encoder import load_model
from tunesmith.models.source import Source, find, max_tokens, tokenizer
from tunesmith.optim.schedulers import held
from tunesmith.seeds import derive
from tunesmith.tasks.base import Task
from tunesmith.training.checkpoints import Checkpoints
from tunesmith.training.figures import Figures
from tunesmith.training.machine import Machine
from tunesmith.training.module import Module
from tunesmith.training.progress import Progress
from tunesmith.training.randomness import SeedEachStep, set_seed
from tunesmith.training.storage import AtomicCheckpointIO
from tunesmith.training.tracking import check_logger

NOT_READING = (  # keys of `data` that say how rows are encoded and batched, not how they are read
    "max_length",
    "truncation",
    "on_long",
    "batch_size",
    "eval_batch_size",
    "bucket_window",
    "workers",
)


FORMAT = 2  # of encoded features; a higher one leaves older files alone


@dataclass(frozen=True)
class Parts:
    """All that can be known, and be wrong, before a weight is loaded."""

    rows: Rows
    source: Source
    tokenizer: PreTrainedTokenizerBase
    max_length: int


def prepare(cfg: DictConfig, only: Collection[str] | None = None) -> Parts:
    """Read the rows and find the model; refuse what does not fit.

    `only` names the splits to read; without it all, but not the test split of a run that does
    not test.
    """
    if only is None and not cfg.test:
        only = ("train", "validation")
    task = targets.resolve(cfg.task._target_, trust=cfg.trust)
    rows = read_rows(cfg, only)
    source = find(**plain(cfg.model), labels=rows.labels, problem=task.problem)
    longest = max_tokens(source)
    wanted = cfg.data.max_length or longest
    if wanted > longest:
        raise ConfigError(
            "CONF-LENGTH",
            f"data.max_length={wanted}",
            f"{cfg.model.path} takes at most {longest} tokens",
            f"set data.max_length={longest} or null",
        )
    words = tokenizer(source)
    words.truncation_side = cfg.data.truncation
    task.check(plain(cfg.task), rows.labels, words, wanted)
    return Parts(rows, source, words, wanted)


def read_rows(cfg: DictConfig, only: Collection[str] | None = None) -> Rows:
    """Read the columns that the task wants, of the splits that `only` names."""
    columns = targets.resolve(cfg.task._target_, trust=cfg.trust).columns
    data = {str(k): v for k, v in plain(cfg.data).items() if k not in NOT_READING}
    names = {column: data.pop(column) for column in COLUMNS}
    return read(columns, names=names, **data, cache=Path(cfg.paths.cache), only=only)


def check_plan(cfg: DictConfig, parts: Parts, machine: Machine) -> None:
    """Refuse a run that would not take a step, or never be scored, or not be logged."""
    for node in plain(cfg.logger).values():
        check_logger(node)
    steps = total_steps(cfg, steps_per_epoch(cfg, len(parts.rows.splits["train"])))
    if steps < 1:
        raise ConfigError("TRAIN-0", "trainer", "no optimizer step would run")
    interval = cfg.trainer.val_check_interval
    if isinstance(interval, int) and interval > steps:
        raise ConfigError(
            "CONF-RANGE",
            f"trainer.val_check_interval={interval}",
            f"the run has {steps} steps and would never be scored",
        )
    if cfg.data.batch_size < machine.processes * cfg.trainer.accumulate:
        raise ConfigError(
            "CONF-BATCH",
            f"data.batch_size={cfg.data.batch_size}",
            f"cannot be cut into {machine.processes} devices x {cfg.trainer.accumulate} parts",
        )


def steps_per_epoch(cfg: DictConfig, rows: int) -> int:
    batches = -(-rows // cfg.data.batch_size)
    limit = cfg.trainer.limit_train_batches
    return batches if limit is None else min(batches, limit)


def total_steps(cfg: DictConfig, per_epoch: int) -> int:
    """Return the horizon of the run in optimizer steps."""
    ends = []
    if cfg.trainer.max_epochs is not None:
        ends.append(cfg.trainer.max_epochs * per_epoch)
    if cfg.trainer.max_steps is not None:
        ends.append(cfg.trainer.max_steps)
    return min(ends)


def step_at(fraction: float, total: int) -> int:
    """Return the optimizer step at which a fraction of `total` is done, at least 1."""
    return max(1, math.ceil(fraction * total - 1e-9))  # 1/3 of 9 is 3, whatever floats say


def stop_step(cfg: DictConfig, total: int) -> int | None:
    """Return the optimizer step at which a run pauses; a fraction is one of `total`."""
    stop = cfg.trainer.stop_at_step
    return step_at(stop, total) if isinstance(stop, float) else stop


def build_task(cfg: DictConfig, parts: Parts) -> tuple[Task, Adaptation]:
    """Load the weights, put a seeded head on them, fit the task to the train split."""
    set_seed(derive(cfg.seed, "head"))
    task = make_task(cfg, parts)
    _check_monitor(cfg, task, parts.rows)
    if "train" in parts.rows.splits:
        task.fit_to(parts.rows.splits["train"])
    if cfg.trainer.gradient_checkpointing:
        task.model.gradient_checkpointing_enable({"use_reentrant": False})
    return task, targets.build(cfg.adapt, trust=cfg.trust, task=task)


def _check_monitor(cfg: DictConfig, task: Task, rows: Rows) -> None:
    """Refuse a run whose best could never be told: its score is no number on these rows."""
    monitor, _ = config.monitor_of(cfg, task)
    reasons = task.undefined(rows.splits["validation"]) if "validation" in rows.splits else {}
    reason = reasons.get(monitor.removeprefix("val/"))
    if reason is not None:
        fix = "set callbacks.checkpoint.monitor, for example val/loss"
        raise DataError("DATA-LABEL", "validation", f"{reason}: {monitor} is not defined", fix)


def make_task(cfg: DictConfig, parts: Parts) -> Task:
    loss = targets.build(cfg.loss, trust=cfg.trust)
    problem = targets.resolve(cfg.task._target_, trust=cfg.trust).problem
    if problem not in getattr(loss, "takes", (problem,)):
        what = f"{type(loss).__name__} is for {', '.join(loss.takes)}, the task is {problem}"
        raise ConfigError("CONF-LOSS", "loss", what)
    return targets.build(
        cfg.task,
        trust=cfg.trust,
        model=load_model(parts.source),
        tokenizer=parts.tokenizer,
        labels=parts.rows.labels,
        max_length=parts.max_length,
        truncation=cfg.data.truncation,
        loss=loss,
    )


def build_data(cfg: DictConfig, parts: Parts, task: Task, machine: Machine) -> DataModule:
    """Encode the splits, or open what was encoded before."""
    names = ("on_long", "batch_size", "eval_batch_size", "bucket_window", "workers")
    return DataModule(
        parts.rows.splits,
        task,
        identity={
            "features": FORMAT,
            "rows": parts.rows.fingerprint,
            "tokenizer": parts.source.tokenizer_fingerprint,
            "task": plain(cfg.task),
            "code": targets.code_of(targets.resolve(cfg.task._target_, trust=cfg.trust)),
            "labels": parts.rows.labels,
            "max_length": parts.max_length,
            "truncation": cfg.data.truncation,
        },
        train_rows=parts.rows.hashes.get("train", ""),
        cache=Path(cfg.paths.cache),
        seed=derive(cfg.seed, "order"),
        accumulate=cfg.trainer.accumulate,
        limit_train_batches=cfg.trainer.limit_train_batches,
        limit_val_batches=cfg.trainer.limit_val_batches,
        **{name: cfg.data[name] for name in names},
    )


def build_module(
    cfg: DictConfig,
    parts: Parts,
    task: Task,
    adaptation: Adaptation,
    per_epoch: int,
    machine: Machine,
) -> Module:
    """Put the task under its optimizer and schedule."""
    how = plain(cfg.scheduler)
    every = how.pop("frequency") * (per_epoch if how.pop("interval") == "epoch" else 1)
    monitor = how.pop("monitor")
    make_schedule = targets.build(how, trust=cfg.trust)
    takes_steps = (
        "steps" in inspect.signature(targets.resolve(how["_target_"], trust=cfg.trust)).parameters
    )
    optimizer = plain(cfg.optimizer)
    if machine.precision == "16-mixed" and "fused" in optimizer:
        optimizer["fused"] = None  # a fused step unscales gradients after they were clipped

    def make_scheduler(optimizer: Optimizer, steps: int) -> Any:
        if not takes_steps:
            return make_schedule(optimizer)
        made = make_schedule(optimizer, steps=steps)
        return held(made, every) if isinstance(made, LambdaLR) else made

    return Module(
        task,
        targets.build(optimizer, trust=cfg.trust),
        make_scheduler,
        lr=cfg.optimizer.lr,
        factors=adaptation.factors,
        rows=parts.rows.splits,
        total_steps=total_steps(cfg, per_epoch),
        scheduler_every=every,
        scheduler_monitor=monitor,
        accumulate=cfg.trainer.accumulate,
        log_every_n_steps=cfg.trainer.log_every_n_steps,
    )


def build_trainer(
    cfg: DictConfig,
    machine: Machine,
    directory: Path,
    module: Module,
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
        val_check_interval=batches * how.accumulate,
        check_val_every_n_epoch=1 if per_epoch else None,
        accumulate_grad_batches=how.accumulate,
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


def _strategy(machine: Machine) -> Any:
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
    module: Module,
    hparams: Mapping[str, Any] | None,
    group: str,
) -> list[L.Callback]:
    how = cfg.callbacks
    monitor, mode = config.monitor_of(cfg, module.task)
    checkpoints = Checkpoints(
        directory / "checkpoints",
        monitor=monitor,
        mode=mode,
        every_n_steps=how.checkpoint.every_n_steps,
        every_n_minutes=how.checkpoint.every_n_minutes,
        patience=how.early_stopping.patience,
        min_delta=how.early_stopping.min_delta,
        validate_at_steps=[step_at(f, module.total_steps) for f in cfg.trainer.validate_at],
        stop_at_step=stop_step(cfg, module.total_steps),
        hparams=_flat(config.redacted(cfg)) if hparams is None else dict(hparams),
        group=group,
    )
    shown: list[L.Callback] = [Progress(bar=how.progress)]
    if how.figures:
        shown.append(Figures(checkpoints))
    return [SeedEachStep(derive(cfg.seed, "steps")), checkpoints, *shown]


def _loggers(cfg: DictConfig, directory: Path, resumed_step: int | None) -> list[Logger]:
    loggers = []
    for node in plain(cfg.logger).values():
        if node["_target_"].startswith("tunesmith."):
            purge = None if resumed_step is None else resumed_step + 1
            node |= {"run_dir": str(directory), "purge_step": purge}
        elif "save_dir" in node:
            node["save_dir"] = str(directory)
        address = node.get("tracking_uri")
        with store.opening(address) if address else nullcontext():
            loggers.append(targets.build(node, trust=cfg.trust))
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


def plain(node: Any) -> dict[str, Any]:
    """Return a config node as a plain, resolved dict of its own."""
    if OmegaConf.is_config(node):
        return OmegaConf.to_container(node, resolve=True)  # type: ignore[return-value]
    return dict(node)
