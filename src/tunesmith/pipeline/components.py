"""From a config to the parts of a run: rows, task, data, module."""

import inspect
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from transformers import PreTrainedTokenizerBase

from tunesmith import config
from tunesmith.config import instantiate
from tunesmith.data.batching.datamodule import DataModule
from tunesmith.data.columns import COLUMNS, LANGUAGE, Column, ColumnType, Rows
from tunesmith.data.load import read
from tunesmith.data.prepare.media import without_files
from tunesmith.errors import ConfigError, DataError
from tunesmith.models import media_encoder, media_spec
from tunesmith.models.encoder import load_model
from tunesmith.models.media_spec import MediaSpec
from tunesmith.models.spec import ModelSpec, max_tokens, resolve_model, tokenizer
from tunesmith.runtime.seeds import derive_seed
from tunesmith.tasks.base import Task, TaskContext
from tunesmith.tasks.text.long_text import check_cut, check_room, truncation_side
from tunesmith.training.adapt import Adaptation
from tunesmith.training.hardware import Hardware
from tunesmith.training.lightning_module import TaskModule
from tunesmith.training.schedulers import step_every
from tunesmith.training.step_seeds import set_seed
from tunesmith.training.tracking import check_logger

NOT_READING = (  # keys of `data` that say how rows are encoded and batched, not how they are read
    "max_length",
    "truncation",
    "on_truncation",
    "batch_size",
    "eval_batch_size",
    "bucket_window",
    "language_temperature",
    "workers",
)


FORMAT = 2  # of encoded features; a higher one leaves older files alone


@dataclass(frozen=True)
class Parts:
    """All that can be known, and be wrong, before a weight is loaded."""

    rows: Rows
    source: ModelSpec
    tokenizer: PreTrainedTokenizerBase
    max_length: int
    encoders: Mapping[str, MediaSpec] = field(default_factory=dict)


def prepare(cfg: DictConfig, only: Collection[str] | None = None) -> Parts:
    """Read the rows and find the model; refuse what does not fit.

    `only` names the splits to read; without it all, but not the test split of a run that does
    not test.
    """
    if only is None and not cfg.test:
        only = ("train", "validation")
    task = instantiate.resolve(cfg.task._target_, trust=cfg.trust)
    check_cut(task, cfg.data.truncation, "text_pair" in task.columns and bool(cfg.data.text_pair))
    rows = read_rows(cfg, only)
    problem = task.problem_of(plain(cfg.task))
    source = resolve_model(**plain(cfg.model), labels=rows.labels, problem=problem)
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
    words.truncation_side = truncation_side(cfg.data.truncation)
    check_room(words, wanted, cfg.data.truncation)
    task.check(plan_of(cfg, rows.labels, words, wanted, longest))
    return Parts(rows, source, words, wanted, find_encoders(cfg, task))


def find_encoders(cfg: DictConfig, task: type[Task]) -> dict[str, MediaSpec]:
    """Find what reads the columns that have an encoder of their own, where the rows have them."""
    return {
        name: media_spec.resolve_media_encoder(name, **plain(cfg.task[name]))
        for name in task.encoded_columns
        if cfg.data[name] is not None
    }


def plan_of(
    cfg: DictConfig,
    labels: list[str] | None,
    words: PreTrainedTokenizerBase,
    max_length: int,
    longest: int,
) -> TaskContext:
    """Return what a task is checked by; `longest` is how many tokens the model takes."""
    columns = instantiate.resolve(cfg.task._target_, trust=cfg.trust).columns
    has = frozenset(name for name in columns if cfg.data[name])
    return TaskContext(plain(cfg.task), labels, words, max_length, longest, has)


def read_rows(cfg: DictConfig, only: Collection[str] | None = None) -> Rows:
    """Read the columns that the task wants, of the splits that `only` names."""
    columns = dict(instantiate.resolve(cfg.task._target_, trust=cfg.trust).columns)
    data = {str(k): v for k, v in plain(cfg.data).items() if k not in NOT_READING}
    names = {column: data.pop(column) for column in COLUMNS}
    data["shot_seed"] = draw_of(cfg)
    if data["languages"] is not None:
        names[LANGUAGE] = LANGUAGE
    if names[LANGUAGE] is not None:
        columns[LANGUAGE] = Column(ColumnType.GROUP)
    return read(columns, names=names, **data, cache=Path(cfg.paths.cache), only=only)


def draw_of(cfg: DictConfig) -> int:
    """Return the seed by which few rows of a class are drawn: the run's own unless it is given."""
    return int(cfg.seed if cfg.data.shot_seed is None else cfg.data.shot_seed)


def check_plan(cfg: DictConfig, parts: Parts, machine: Hardware) -> None:
    """Refuse a run that would not take a step, or never be scored, or not be logged."""
    for node in plain(cfg.logger).values():
        check_logger(node)
    steps = total_steps(cfg, steps_per_epoch(cfg, len(parts.rows.splits["train"])))
    if steps < 1:
        raise ConfigError("TRAIN-0", "trainer", "no optimizer step would run")
    task = instantiate.resolve(cfg.task._target_, trust=cfg.trust)
    if not (task.parts_rows or cfg.data.truncation == "windows"):  # else encoded rows tell
        check_interval(cfg, steps)
    if cfg.data.batch_size < machine.processes * cfg.trainer.micro_batches:
        raise ConfigError(
            "CONF-BATCH",
            f"data.batch_size={cfg.data.batch_size}",
            f"cannot be cut into {machine.processes} devices x {cfg.trainer.micro_batches} parts",
        )
    task.check_pieces(plain(cfg.task), machine.processes * cfg.trainer.micro_batches)


def check_interval(cfg: DictConfig, steps: int) -> None:
    """Raise ConfigError where a run of so many steps ends before its first validation."""
    interval = cfg.trainer.val_check_interval
    if isinstance(interval, int) and interval > steps:
        what = f"the run has {steps} steps and would never be scored"
        raise ConfigError("CONF-RANGE", f"trainer.val_check_interval={interval}", what)


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
    stop = cfg.trainer.pause_at_step
    return step_at(stop, total) if isinstance(stop, float) else stop


def build_task(cfg: DictConfig, parts: Parts) -> tuple[Task, Adaptation]:
    """Load the weights, put a seeded head on them, fit the task to the train split."""
    set_seed(derive_seed(cfg.seed, "head"))
    task = make_task(cfg, parts)
    _check_monitor(cfg, task, parts.rows)
    if "train" in parts.rows.splits:
        task.fit_to(parts.rows.splits["train"])
    if cfg.trainer.gradient_checkpointing:
        task.model.gradient_checkpointing_enable({"use_reentrant": False})
    return task, instantiate.instantiate(cfg.adapt, trust=cfg.trust, task=task)


def _check_monitor(cfg: DictConfig, task: Task, rows: Rows) -> None:
    """Refuse a run whose best could never be told: its score is no number on these rows."""
    monitor, _ = config.monitor_of(cfg, task)
    reasons = task.undefined(rows.splits["validation"]) if "validation" in rows.splits else {}
    reason = reasons.get(monitor.removeprefix("val/"))
    if reason is not None:
        fix = "set callbacks.checkpoint.monitor, for example val/loss"
        raise DataError("DATA-LABEL", "validation", f"{reason}: {monitor} is not defined", fix)


def make_task(cfg: DictConfig, parts: Parts) -> Task:
    loss = instantiate.instantiate(cfg.loss, trust=cfg.trust)
    problem = parts.source.problem
    if problem not in getattr(loss, "takes", (problem,)):
        what = f"{type(loss).__name__} is for {', '.join(loss.takes)}, the task is {problem}"
        raise ConfigError("CONF-LOSS", "loss", what)
    encoded = instantiate.resolve(cfg.task._target_, trust=cfg.trust).encoded_columns
    model = load_model(parts.source)
    encoders = {name: media_encoder.load(source) for name, source in parts.encoders.items()}
    return instantiate.instantiate(
        cfg.task,
        trust=cfg.trust,
        model=model,
        tokenizer=parts.tokenizer,
        labels=parts.rows.labels,
        max_length=parts.max_length,
        truncation=cfg.data.truncation,
        loss=loss,
        **({"encoders": encoders} if encoded else {}),
    )


def build_data(cfg: DictConfig, parts: Parts, task: Task, machine: Hardware) -> DataModule:
    """Encode the splits, or open what was encoded before."""
    names = ("on_truncation", "batch_size", "eval_batch_size", "bucket_window", "workers")
    return DataModule(
        parts.rows.splits,
        task,
        identity={
            "features": FORMAT,
            "rows": parts.rows.fingerprint,
            "tokenizer": parts.source.tokenizer_fingerprint,
            "task": plain(cfg.task),
            "code": instantiate.code_of(instantiate.resolve(cfg.task._target_, trust=cfg.trust)),
            "labels": parts.rows.labels,
            "max_length": parts.max_length,
            "truncation": cfg.data.truncation,
        },
        train_rows=parts.rows.hashes.get("train", ""),
        cache=Path(cfg.paths.cache),
        seed=derive_seed(cfg.seed, "order"),
        micro_batches=cfg.trainer.micro_batches,
        limit_train_batches=cfg.trainer.limit_train_batches,
        limit_val_batches=cfg.trainer.limit_val_batches,
        language_temperature=cfg.data.language_temperature,
        **{name: cfg.data[name] for name in names},
    )


def build_module(
    cfg: DictConfig,
    parts: Parts,
    task: Task,
    adaptation: Adaptation,
    per_epoch: int,
    machine: Hardware,
) -> TaskModule:
    """Put the task under its optimizer and schedule."""
    check_interval(cfg, total_steps(cfg, per_epoch))
    how = plain(cfg.scheduler)
    every = how.pop("frequency") * (per_epoch if how.pop("interval") == "epoch" else 1)
    monitor = how.pop("monitor")
    make_schedule = instantiate.instantiate(how, trust=cfg.trust)
    takes_steps = (
        "steps"
        in inspect.signature(instantiate.resolve(how["_target_"], trust=cfg.trust)).parameters
    )
    optimizer = plain(cfg.optimizer)
    if machine.precision == "16-mixed" and "fused" in optimizer:
        optimizer["fused"] = None  # a fused step unscales gradients after they were clipped

    def make_scheduler(optimizer: Optimizer, steps: int) -> Any:
        if not takes_steps:
            return make_schedule(optimizer)
        made = make_schedule(optimizer, steps=steps)
        return step_every(made, every) if isinstance(made, LambdaLR) else made

    return TaskModule(
        task,
        instantiate.instantiate(optimizer, trust=cfg.trust),
        make_scheduler,
        lr=cfg.optimizer.lr,
        factors=adaptation.factors,
        rows={split: without_files(rows) for split, rows in parts.rows.splits.items()},
        learnt_languages=cfg.data.train_languages or (),
        total_steps=total_steps(cfg, per_epoch),
        scheduler_every=every,
        scheduler_monitor=monitor,
        micro_batches=cfg.trainer.micro_batches,
        log_every_n_steps=cfg.trainer.log_every_n_steps,
    )


def plain(node: Any) -> dict[str, Any]:
    """Return a config node as a plain, resolved dict of its own."""
    if OmegaConf.is_config(node):
        return OmegaConf.to_container(node, resolve=True)  # type: ignore[return-value]
    return dict(node)
