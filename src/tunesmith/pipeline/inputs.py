"""What a run reads before it loads a weight: rows, tokenizer, model. Refused if they do not fit."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from tunesmith.config import instantiate
from tunesmith.config.run_config import RunConfig
from tunesmith.data.columns import LANGUAGE, Column, ColumnType, Rows
from tunesmith.data.load import read
from tunesmith.errors import ConfigError
from tunesmith.models import media_spec
from tunesmith.models.media_spec import MediaSpec
from tunesmith.models.spec import ModelSpec, max_tokens, resolve_model, tokenizer
from tunesmith.pipeline.run_length import check_interval, steps_per_epoch, total_steps
from tunesmith.tasks.base import Task, TaskContext
from tunesmith.tasks.capabilities import (
    SplitsRows,
    UsesOtherRows,
    modality_columns,
    truncation_modes,
)
from tunesmith.tasks.text.long_text import check_room, check_truncation, truncation_side
from tunesmith.training.hardware import Hardware
from tunesmith.training.tracking import check_logger


@dataclass(frozen=True)
class RunInputs:
    """All that can be known, and be wrong, before a weight is loaded."""

    rows: Rows
    model: ModelSpec
    tokenizer: PreTrainedTokenizerBase
    max_length: int
    encoders: Mapping[str, MediaSpec] = field(default_factory=dict)


def load_inputs(
    config: RunConfig,
    splits: Collection[str] | None = None,
    labels: Sequence[str] | None = None,
) -> RunInputs:
    """Read the rows and find the model; refuse what does not fit.

    `splits` names those to read; without it all, but not the test split of a run that does
    not test. `labels` are those of a finished run.
    """
    if splits is None and not config.test:
        splits = ("train", "validation")
    task = task_class(config)
    has_pairs = "text_pair" in task.columns and bool(config.data.text_pair)
    check_truncation(task.__name__, truncation_modes(task), config.data.truncation, has_pairs)
    rows = read_rows(config, splits, labels)
    model = resolve_model(**dict(config.model), labels=rows.labels, head=task.head)
    return fitting_inputs(config, rows, model)


def fitting_inputs(config: RunConfig, rows: Rows, model: ModelSpec) -> RunInputs:
    """Return the inputs of rows and a model; refuse them where the task cannot learn from them."""
    longest = max_tokens(model)
    length = config.data.max_length or longest
    if length > longest:
        raise ConfigError(
            "CONF-LENGTH",
            f"data.max_length={length}",
            f"{config.model.path} takes at most {longest} tokens",
            f"set data.max_length={longest} or null",
        )
    own_tokenizer = tokenizer(model)
    own_tokenizer.truncation_side = truncation_side(config.data.truncation)
    check_room(own_tokenizer, length, config.data.truncation)
    task = task_class(config)
    columns = frozenset(name for name in task.columns if getattr(config.data, name))
    task.check(TaskContext(dict(config.task), rows.labels, own_tokenizer, length, longest, columns))
    return RunInputs(rows, model, own_tokenizer, length, find_encoders(config, task))


def task_class(config: RunConfig) -> type[Task]:
    return instantiate.resolve(config.task[instantiate.TARGET], trust=config.trust)


def find_encoders(config: RunConfig, task: type[Task]) -> dict[str, MediaSpec]:
    """Find the encoders of the columns that have one of their own, where the rows have them."""
    return {
        name: media_spec.resolve_media_encoder(name, **config.task[name])
        for name in modality_columns(task)
        if getattr(config.data, name) is not None
    }


def read_rows(
    config: RunConfig,
    splits: Collection[str] | None = None,
    labels: Sequence[str] | None = None,
) -> Rows:
    """Read the columns that the task needs, of these splits."""
    columns = dict(task_class(config).columns)
    if config.data.language is not None or config.data.languages is not None:
        columns[LANGUAGE] = Column(ColumnType.GROUP)
    options = config.data.model_copy(update={"shot_seed": few_shot_seed(config)})
    return read(columns, options, Path(config.paths.cache), splits, labels)


def few_shot_seed(config: RunConfig) -> int:
    """Return the seed by which few rows of a class are drawn: the run's own unless it is set."""
    return int(config.seed if config.data.shot_seed is None else config.data.shot_seed)


def check_runnable(config: RunConfig, inputs: RunInputs, hardware: Hardware) -> None:
    """Refuse a run that would not take a step, or never be scored, or not be logged."""
    for node in dict(config.logger).values():
        check_logger(node)
    steps = total_steps(config, steps_per_epoch(config, len(inputs.rows.splits["train"])))
    if steps < 1:
        raise ConfigError("TRAIN-0", "trainer", "no optimizer step would run")
    task, micro_batches = task_class(config), config.trainer.micro_batches
    if not (
        issubclass(task, SplitsRows) or config.data.truncation == "windows"
    ):  # else encoded rows tell
        check_interval(config, steps)
    if config.data.batch_size < hardware.processes * micro_batches:
        raise ConfigError(
            "CONF-BATCH",
            f"data.batch_size={config.data.batch_size}",
            f"cannot be divided over {hardware.processes} devices x {micro_batches} micro-batches",
        )
    if issubclass(task, UsesOtherRows):
        task.check_micro_batches(dict(config.task), hardware.processes * micro_batches)
