"""A finished run as a thing to use: predict, evaluate. Needs nothing but its directory."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from tunesmith import runs
from tunesmith.config import RunConfig, inference_options, read_run_config
from tunesmith.data.columns import NAMED, Column, ColumnType, Rows, SourceName
from tunesmith.data.prepare.media import without_files
from tunesmith.data.sources.file_layout import FileFormat
from tunesmith.data.sources.resolve import file_source
from tunesmith.errors import (
    ConfigError,
    DataError,
    MachineError,
    ModelError,
    SafetyError,
    nearest,
)
from tunesmith.inference.input_rows import Given, check_is_row_list, input_row
from tunesmith.models.heads import saved_labels
from tunesmith.models.options import saved_model
from tunesmith.models.spec import resolve_model
from tunesmith.models.untrusted_files import inside
from tunesmith.models.weights import check_weights, read_weights
from tunesmith.pipeline.components import build_data, make_task
from tunesmith.pipeline.inputs import RunInputs, fitting_inputs, load_inputs, task_class
from tunesmith.tasks.base import Answer, Task
from tunesmith.tasks.capabilities import (
    HasModalities,
    UsesOtherRows,
    is_saved_with_encoder,
    modality_columns,
)
from tunesmith.training.evaluation import autocast, evaluate, torch_device
from tunesmith.training.hardware import Hardware, resolve_hardware, torch_settings

log = logging.getLogger(__name__)

CHUNK = 2048  # rows held in memory at once by predict
CHUNK_OF_FILES = 64  # the same where rows hold images or sounds


class FinishedRun:
    """A finished run: `predict` for new rows, `evaluate` for labelled ones.

    Built through the targets that Tunesmith ships; one that used your own code needs
    `trust=["my_package"]` again.
    """

    def __init__(self, directory: Path, config: RunConfig) -> None:
        self.directory, self.config = directory, _with_own_encoders(config, directory)
        self.hardware = _hardware(config)
        self._task: Task | None = None

    @property
    def metrics(self) -> dict[str, Any]:
        """What metrics.json holds: the best step, the scores, the baseline."""
        return runs.read_json(self.directory / "metrics.json")

    @property
    def task(self) -> Task:
        """The trained task, in evaluation mode, loaded when first used."""
        if self._task is None:
            self._task = _load_task(self.config, self._inputs())
        return self._task

    @property
    def chunk(self) -> int | None:
        """How many rows are answered at once; None: all, which must then fit into memory."""
        if isinstance(self.task, UsesOtherRows):
            return None
        return CHUNK_OF_FILES if isinstance(self.task, HasModalities) else CHUNK

    @property
    def columns(self) -> dict[str, SourceName]:
        """The columns that a prediction reads: {our name: its name or names in the run's files}."""
        named = {name: getattr(self.config.data, name) for name in inputs_of(self.task)}
        return {
            ours: theirs if isinstance(theirs, str) else list(theirs)
            for ours, theirs in named.items()
            if theirs
        }

    def predict(self, rows: Iterable[Given]) -> list[Answer]:
        """Answer each row: a mapping under our column names, or its values in their order.

        A run on texts takes strings, one on pairs of texts two of them a row. Raises TypeError
        for what is no list of rows, DataError for a row that the run was not trained to read.
        """
        check_is_row_list(rows)
        separator = self.config.data.label_separator
        inputs, read = inputs_of(self.task), self.columns
        columns = {name: column for name, column in inputs.items() if name in read}
        given = (
            input_row(row, columns, inputs.keys() - read.keys(), separator, number)
            for number, row in enumerate(rows, start=1)
        )
        return list(self.predict_stream(given))

    def predict_stream(self, rows: Iterable[Mapping[str, Any]]) -> Iterator[Answer]:
        """Answer rows one after another, in constant memory unless they depend on each other."""
        task, remaining = self.task, iter(rows)
        with torch_settings(self.hardware, True):
            while chunk := list(islice(remaining, self.chunk)):
                yield from _answers(task, chunk, self.config.data.eval_batch_size, self.hardware)

    def evaluate(self, split: str | None = None, data: str | None = None) -> dict[str, float]:
        """Score a split of the run's own data, or a labelled file, as training did: to the bit.

        By default the test split. Raises DataError DATA-CHANGED where the run's files hold other
        rows than it was trained with: `data` scores those.
        """
        if split is not None and data is not None:
            what = f"split {split!r} and a file: one of them is scored"
            raise ConfigError("CLI", "evaluate", what, "leave out the split")
        split, config = split or "test", _with_model(self.config, self.directory)
        if data is not None:
            self._check_has_labels(data)
            files = {"train_file": None, "validation_file": None, "test_file": data, "path": None}
            whole = {"limit": None, "shots_per_class": None, "validation_shots_per_class": None}
            config = config.with_options("data", **files, **whole)
        with (
            torch_settings(self.hardware, config.trainer.deterministic),
            _cache_of(self.directory) as cache,
        ):
            config = config.with_options("paths", cache=str(cache))
            inputs = load_inputs(config, [split], self._labels)
            if split not in inputs.rows.splits:
                raise DataError("DATA-SPLIT", split, "this run's data has no such split")
            if split in inputs.rows.hidden_labels:
                raise DataError("DATA-HIDDEN", split, "labels are hidden (-1): predict only")
            if data is None:
                self._refuse_other_rows(split, inputs.rows.hashes[split])
            if split == "test":
                self._count(inputs.rows.hashes[split], whole=data is None)
            return _evaluate(config, inputs, self.task, split, self.hardware)

    def _check_has_labels(self, file: str) -> None:
        """Refuse a file without the run's column of labels; name the one that `predict` wrote."""
        source = file_source(file, FileFormat.of(self.config.data))
        for ours, column in self.task.columns.items():
            named = getattr(self.config.data, ours)
            if not column.target or named is None or source.has_column(named):
                continue
            known, own = source.known_columns(), getattr(self.task, "decision", None)
            is_answer = own in known and column.kind is not ColumnType.SPANS
            near = own if is_answer else nearest(named, known) or "COLUMN"
            what = f"no column {named!r}; columns: {', '.join(known)}"
            raise DataError("DATA-COL", file, what, f"--set data.{ours}={near}")

    def _refuse_other_rows(self, split: str, hashed: str) -> None:
        if self._trained_on.get(split, hashed) != hashed:
            what = "the rows, or their labels, are no longer those of this run"
            raise DataError("DATA-CHANGED", split, what, "--data FILE scores other rows")

    def _count(self, hashed: str, whole: bool) -> None:
        """Count a use of the test set; a file (not `whole`) may hold other rows."""
        known = hashed == self._trained_on.get("test") or runs.is_test_set(self.directory, hashed)
        if not whole and not known:
            return
        uses = runs.count_test_use(self.directory, hashed)
        if uses > 1:
            log.warning("test set used %d times: the best of many looks is lucky", uses)

    @property
    def _trained_on(self) -> Mapping[str, Any]:
        """The hash of each split's rows, as the run wrote it down."""
        known = runs.read_json(self.directory / "metrics.json").get("rows")
        return known if isinstance(known, Mapping) else {}

    @property
    def _labels(self) -> list[str] | None:
        """The names of the run's labels, in order, as the model has them; None: it has none."""
        labels = saved_labels(self.directory / "model")
        columns = task_class(self.config).columns.values()
        if labels is None and any(column.target and column.kind in NAMED for column in columns):
            raise ModelError("MODEL-CORRUPT", "labels.json", "is not there: the labels are unknown")
        return labels

    def _inputs(self) -> RunInputs:
        """Return what a task is built from, without its data."""
        labels = self._labels
        model = resolve_model(
            str(self.directory / "model"),
            attention=self.config.model.attention,  # the same arithmetic: scores repeat to the bit
            labels=labels,
            head=task_class(self.config).head,
        )
        return fitting_inputs(self.config, Rows({}, labels, ""), model)


def load(
    run: str | Path, trust: Sequence[str] = (), options: Mapping[str, Any] | None = None
) -> FinishedRun:
    """Open a finished run, or the winner of a study. Nothing in its directory is executed.

    `options` replace values of the run that change its answers, such as {"task.num_beams": 4}.
    Raises ModelError where it is no run or not finished, SafetyError where it asks for code,
    ConfigError for an option.
    """
    directory = runs.resolve(Path(run))
    if not runs.is_finished(directory):
        state = runs.read_status(directory).get("state", "unfinished")
        raise ModelError(
            "RUN", str(run), f"is {state!r}, not finished", f"go on with resume={directory}"
        )
    if not (directory / "model").is_dir():
        raise ModelError("RUN", str(run), "has no model/")
    runs.check_format(directory)
    config = RunConfig.model_validate(read_run_config(directory, trust))
    return FinishedRun(directory, inference_options.with_options(config, options or {}))


# Inside


def inputs_of(task: Task) -> dict[str, Column]:
    """Return the columns that a prediction needs, in order: all but what is learnt from."""
    return {
        n: column for n, column in task.columns.items() if not (column.target or column.learning)
    }


def _hardware(config: RunConfig) -> Hardware:
    """Take the precisions and threads of the run; its device where this machine has it."""
    rest = config.trainer.num_threads, config.trainer.float32_matmul_precision
    try:
        return resolve_hardware("auto", 1, 1, "auto", config.trainer.precision, *rest)
    except MachineError as error:
        if error.code != "ENV-PRECISION":
            raise
        log.warning("%s: %s; used with 32: scores may differ a little", error.where, error.what)
        return resolve_hardware("auto", 1, 1, "auto", "32", *rest)


@contextmanager
def _cache_of(directory: Path) -> Iterator[Path]:
    """Give the cache of the runs that this one lies among; a copy elsewhere gets one to throw."""
    home = runs.home_of(directory)
    if home is not None:
        yield home / ".cache"
        return
    with TemporaryDirectory(prefix="tunesmith-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _with_model(config: RunConfig, directory: Path) -> RunConfig:
    """Return the config with the trained model in place of the one it started from."""
    model = saved_model(str(directory / "model"), config.model.attention)
    return config.model_copy(update={"model": model})


def _with_own_encoders(config: RunConfig, directory: Path) -> RunConfig:
    """Return the config with the run's own encoders in place of those that it started from."""
    task = dict(config.task)
    for name in modality_columns(task_class(config)):
        own = {"path": str(directory / "model" / name), "revision": None}
        task[name] = {**task[name], **own, "pretrained": True, "config": {}}
    return config.model_copy(update={"task": task})


def _load_task(config: RunConfig, inputs: RunInputs) -> Task:
    task = make_task(config, inputs)
    if (inputs.model.folder / "task.safetensors").exists():
        _restore(task, inside(inputs.model.folder, "task.safetensors"))
    return task.eval()


def _restore(task: Task, file: Path) -> None:
    """Put back what the task learnt besides its encoders: what it declares, and all of it."""
    check_weights([file])
    tensors = read_weights([file])
    if isinstance(task, HasModalities):
        task.allocate_state({name: tuple(tensor.shape) for name, tensor in tensors.items()})
    ours = {name: p for name, p in task.named_parameters() if not is_saved_with_encoder(task, name)}
    lacking = sorted(ours.keys() - tensors.keys())
    if lacking:
        raise ModelError("MODEL-MISSING", file.name, f"lacks {len(lacking)}, such as {lacking[0]}")
    modules = {n: m for n, m in task.named_modules() if not is_saved_with_encoder(task, f"{n}.")}
    for name, tensor in tensors.items():
        if name in ours:
            if ours[name].shape != tensor.shape:
                raise ModelError("MODEL-CORRUPT", file.name, f"{name!r} has another shape")
            ours[name].data.copy_(tensor)
            continue
        owner, _, buffer = name.rpartition(".")
        if owner not in modules or buffer not in modules[owner]._buffers:
            raise SafetyError("UNSAFE-STATE", file.name, f"sets {name!r}, nothing of the task's")
        known = modules[owner]._buffers[buffer]
        if known is not None and known.shape != tensor.shape:
            raise ModelError("MODEL-CORRUPT", file.name, f"{name!r} has another shape")
        modules[owner]._buffers[buffer] = tensor


def _evaluate(
    config: RunConfig, inputs: RunInputs, task: Task, split: str, hardware: Hardware
) -> dict[str, float]:
    data = build_data(config, inputs, task)
    evaluation = evaluate(
        task,
        data.evaluation_loader(split),
        data.encoded[split],
        without_files(inputs.rows.splits[split]),
        hardware,
        list(map(str, config.data.train_languages or ())),
    )
    return evaluation.scores_of("val" if split == "validation" else split)


def _answers(
    task: Task, rows: Sequence[Mapping[str, Any]], batch_size: int, hardware: Hardware
) -> list[Answer]:
    """Answer a few rows: encoded, sorted by length, batched, put back in order."""
    targets_ = set(task.columns) - set(inputs_of(task))
    inputs = [{k: v for k, v in row.items() if k not in targets_} for row in rows]
    by_row = task.encode_batch(inputs)
    features = [f for windows in by_row for f in windows]
    order = sorted(range(len(features)), key=lambda i: -features[i]["length"])
    predictions: list[Any] = [None] * len(features)
    device = torch_device(hardware)
    task.to(device)
    with torch.inference_mode(), autocast(hardware.precision, device):
        for start in range(0, len(order), batch_size):
            picked = order[start : start + batch_size]
            batch = task.collate([features[i] for i in picked])
            batch = {name: tensor.to(device) for name, tensor in batch.items()}
            for i, prediction in zip(picked, task.predict(batch), strict=True):
                predictions[i] = prediction
    remaining = iter(predictions)
    grouped = [list(islice(remaining, len(windows))) for windows in by_row]
    return [_plain(answer) for answer in task.aggregate(grouped, inputs)]


def _plain(answer: Answer) -> Answer:
    """Return an answer as it is written down: a view of an array becomes a dict."""
    return {k: dict(v) if isinstance(v, Mapping) else v for k, v in answer.items()}
