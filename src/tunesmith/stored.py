"""A finished run as a thing to use: predict, evaluate. Needs nothing but its directory."""

import csv
import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from itertools import islice
from pathlib import Path
from typing import IO, Any

import torch
from omegaconf import DictConfig, OmegaConf

from tunesmith import config, rundir, targets
from tunesmith.build import Parts, build_data, make_task, prepare
from tunesmith.data.cells import converter
from tunesmith.data.files import stream
from tunesmith.data.rows import Column, Rows
from tunesmith.errors import DataError, MachineError, ModelError, SafetyError
from tunesmith.models.safety import inside
from tunesmith.models.source import find, max_tokens, tokenizer
from tunesmith.models.weights import check_weights, read_weights
from tunesmith.tasks.base import Answer, Task
from tunesmith.training.machine import Machine, choose, settled
from tunesmith.training.module import Module

log = logging.getLogger(__name__)

CHUNK = 2048  # rows held in memory at once by predict


class Stored:
    """A finished run: `predict` for new rows, `evaluate` for labelled ones.

    Built through the targets that Tunesmith ships; one that used your own code needs
    `trust=["my_package"]` again.
    """

    def __init__(self, directory: Path, cfg: DictConfig) -> None:
        self.directory, self.cfg = directory, cfg
        self.machine = _machine(cfg)
        self._task: Task | None = None

    @property
    def task(self) -> Task:
        """The trained task, in evaluation mode, loaded when first used."""
        if self._task is None:
            self._task = _load_task(self.cfg, self._parts())
        return self._task

    def predict(self, rows: Iterable[str | Sequence[str] | Mapping[str, Any]]) -> list[Answer]:
        """Answer each row: a mapping under our column names, or its values in their order.

        A task on a text takes a string, one on pairs of texts two of them.
        """
        names = list(inputs_of(self.task))
        return list(self.predict_each(_as_row(row, names) for row in rows))

    def predict_each(self, rows: Iterable[Mapping[str, Any]]) -> Iterator[Answer]:
        """Answer rows one after another, in constant memory."""
        task, remaining = self.task, iter(rows)
        with settled(self.machine, True):
            while chunk := list(islice(remaining, CHUNK)):
                yield from _answers(task, chunk, self.cfg.data.eval_batch_size, self.machine)

    def evaluate(self, split: str = "test", data: str | None = None) -> dict[str, float]:
        """Score a split of the run's own data, or a labelled file, as training did: to the bit."""
        cfg = self.cfg.copy()
        if data is not None:
            split = "test"
            files = {"train_file": None, "validation_file": None, "test_file": data, "path": None}
            cfg.data = OmegaConf.merge(cfg.data, files, {"limit": None})
        with settled(self.machine, cfg.trainer.deterministic):
            parts = prepare(_with_model(cfg, self.directory), only=[split])
            if split not in parts.rows.splits:
                raise DataError("DATA-SPLIT", split, "this run's data has no such split")
            if split in parts.rows.hidden_labels:
                raise DataError("DATA-HIDDEN", split, "labels are hidden (-1): predict only")
            if split == "test" and data is None:
                rundir.count_test_use(rundir.runs_of(self.directory), parts.rows.fingerprint)
            return _evaluate(cfg, parts, self.task, split, self.machine)

    def _parts(self) -> Parts:
        """Return what a task is built from, without its data."""
        cfg = self.cfg
        problem = targets.resolve(cfg.task._target_, trust=cfg.trust).problem
        labels = list(cfg.data.labels) if cfg.data.labels is not None else None
        source = find(
            str(self.directory / "model"),
            attention=cfg.model.attention,  # the same arithmetic: scores repeat to the bit
            labels=labels,
            problem=problem,
        )
        words = tokenizer(source)
        words.truncation_side = cfg.data.truncation
        return Parts(Rows({}, labels, ""), source, words, cfg.data.max_length or max_tokens(source))


def load(run: str | Path, trust: Sequence[str] = ()) -> Stored:
    """Open a finished run, or the winner of a study. Nothing in its directory is executed.

    Raises ModelError where it is no run or not finished, SafetyError where it asks for code.
    """
    directory = rundir.resolve(Path(run))
    cfg = OmegaConf.create(config.read_stored(directory / "config.yaml", trust=trust))
    cfg.trust = list(trust)
    if not rundir.is_finished(directory):
        state = rundir.read_status(directory).get("state", "unfinished")
        raise ModelError(
            "RUN", str(run), f"is {state!r}, not finished", f"go on with resume={directory}"
        )
    if not (directory / "model").is_dir():
        raise ModelError("RUN", str(run), "has no model/")
    return Stored(directory, cfg)


def predict_file(
    stored: Stored, source: Path, output: Path | None, out: IO[str], excel_safe: bool = False
) -> int:
    """Answer each row of a csv, tsv or json-lines file; write the same rows plus the answers.

    Streams: memory does not grow with the file. `output` appears whole or not at all. Returns
    the number of rows.
    """
    names = {c: stored.cfg.data[c] for c in inputs_of(stored.task) if stored.cfg.data[c]}
    options = {k: stored.cfg.data[k] for k in ("sep", "encoding", "encoding_errors")}
    as_csv = (output or Path("x.jsonl")).suffix.lower() in (".csv", ".tsv")
    with _whole_file(output, out) as file:
        writer = _CsvRows(file, output, excel_safe) if as_csv else _JsonRows(file)
        header = _columns(source, options)
        if header is not None:
            _need(header, names, source)
            writer.header(header)
        count = 0
        for row, answer in _paired(stored, source, names, options):
            writer.write(row, answer)
            count += 1
        writer.close()
    return count


# Inside


def inputs_of(task: Task) -> dict[str, Column]:
    """Return the columns that a prediction needs, in order: all but what is predicted."""
    return {name: column for name, column in task.columns.items() if not column.target}


def _as_row(row: str | Sequence[str] | Mapping[str, Any], names: list[str]) -> Mapping[str, Any]:
    if isinstance(row, Mapping):
        return row
    cells = [row] if isinstance(row, str) else list(row)
    if len(cells) > len(names):
        what = f"a row of {len(cells)} values"
        raise DataError("DATA-COL", "row", what, f"the task reads {', '.join(names)}")
    return dict(zip(names, cells, strict=False))


def _machine(cfg: DictConfig) -> Machine:
    """Take the precision and threads of the run; its device where this machine has it."""
    how = cfg.trainer
    return choose("auto", 1, 1, "auto", how.precision, how.threads)


def _with_model(cfg: DictConfig, directory: Path) -> DictConfig:
    """Return the config with the trained model in place of the one it started from."""
    cfg = cfg.copy()
    cfg.model = {"path": str(directory / "model"), "attention": cfg.model.attention}
    cfg.paths = {"cache": str(rundir.runs_of(directory) / ".cache")}
    return cfg


def _load_task(cfg: DictConfig, parts: Parts) -> Task:
    task = make_task(cfg, parts)
    if (parts.source.folder / "task.safetensors").exists():
        _restore(task, inside(parts.source.folder, "task.safetensors"))
    return task.eval()


def _restore(task: Task, file: Path) -> None:
    """Put back what the task learnt besides its model: buffers that it declares, nothing else."""
    check_weights([file])
    modules = {name: m for name, m in task.named_modules() if name.partition(".")[0] != "model"}
    for name, tensor in read_weights([file]).items():
        owner, _, buffer = name.rpartition(".")
        if owner not in modules or buffer not in modules[owner]._buffers:
            raise SafetyError("UNSAFE-STATE", file.name, f"sets {name!r}, no buffer of the task")
        known = modules[owner]._buffers[buffer]
        if known is not None and known.shape != tensor.shape:
            raise ModelError("MODEL-CORRUPT", file.name, f"{name!r} has another shape")
        modules[owner]._buffers[buffer] = tensor


def _evaluate(
    cfg: DictConfig, parts: Parts, task: Task, split: str, machine: Machine
) -> dict[str, float]:
    import lightning as L

    rundir.quiet_libraries()
    data = build_data(cfg, parts, task, machine)
    module = Module(
        task,
        lambda groups: torch.optim.SGD(groups),  # never asked for
        lambda optimizer, steps: torch.optim.lr_scheduler.ConstantLR(optimizer),
        lr=0.0,
        factors={},
        rows=parts.rows.splits,
        total_steps=0,
    )
    trainer = L.Trainer(
        accelerator=machine.accelerator,
        devices=1,
        precision=machine.precision,  # type: ignore[arg-type]
        logger=False,
        use_distributed_sampler=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    ask = trainer.validate if split == "validation" else trainer.test
    ask(module, datamodule=data, verbose=False)
    return dict(module.scores)


def _answers(
    task: Task, rows: Sequence[Mapping[str, Any]], batch_size: int, machine: Machine
) -> list[Answer]:
    """Answer a few rows: encoded, sorted by length, batched, put back in order."""
    targets_ = set(task.columns) - set(inputs_of(task))
    inputs = [{k: v for k, v in row.items() if k not in targets_} for row in rows]
    by_row = [task.encode(row) for row in inputs]
    features = [f for windows in by_row for f in windows]
    order = sorted(range(len(features)), key=lambda i: -features[i]["length"])
    predictions: list[Any] = [None] * len(features)
    device = torch.device("cuda" if machine.accelerator == "gpu" else "cpu")
    task.to(device)
    with torch.inference_mode(), _autocast(machine, device):
        for start in range(0, len(order), batch_size):
            picked = order[start : start + batch_size]
            batch = task.collate([features[i] for i in picked])
            batch = {name: tensor.to(device) for name, tensor in batch.items()}
            for i, prediction in zip(picked, task.predict(batch), strict=True):
                predictions[i] = prediction
    remaining = iter(predictions)
    return task.gather([list(islice(remaining, len(windows))) for windows in by_row], inputs)


def _autocast(machine: Machine, device: torch.device) -> Any:
    kinds = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
    if machine.precision not in kinds:
        return nullcontext()
    return torch.autocast(device.type, kinds[machine.precision])


def _columns(source: Path, options: Mapping[str, Any]) -> list[str] | None:
    """Return the header of a csv or tsv file; json lines have none."""
    from tunesmith.data.files import columns_of

    if source.suffix.lower() not in (".csv", ".tsv"):
        return None
    return columns_of(source, **options)


def _need(have: Iterable[str], names: Mapping[str, str], source: Path, line: int = 1) -> None:
    have = list(have)
    missing = [name for name in names.values() if name not in have]
    if missing:
        raise DataError(
            "DATA-COL", f"{source}:{line}", f"no column {missing[0]!r}; columns: {', '.join(have)}"
        )


def _paired(
    stored: Stored, source: Path, names: Mapping[str, str], options: Mapping[str, Any]
) -> Iterator[tuple[dict[str, Any], Answer]]:
    """Pair each raw row with its answer, a chunk in memory at a time."""
    raw = stream(source, **options)
    columns, separator = stored.task.columns, stored.cfg.data.label_separator
    read = {c: (name, converter(columns[c], None, separator)) for c, name in names.items()}
    while chunk := list(islice(raw, CHUNK)):
        for line, row in chunk:
            _need(row, names, source, line)
        wanted = [_converted(row, read, f"{source}:{line}") for line, row in chunk]
        yield from zip((row for _, row in chunk), stored.predict_each(wanted), strict=True)


def _converted(
    row: Mapping[str, Any], read: Mapping[str, tuple[str, Any]], where: str
) -> dict[str, Any]:
    cells = {}
    for column, (name, convert) in read.items():
        try:
            cells[column] = convert(row[name])
        except ValueError as error:
            raise DataError("DATA-CELL", where, f"{name} {error}") from None
    return cells


@contextmanager
def _whole_file(output: Path | None, out: IO[str]) -> Iterator[IO[str]]:
    if output is None:
        yield out
        return
    temporary = output.with_name(f".{output.name}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            yield file
        temporary.replace(output)
    except OSError as error:
        raise MachineError("ENV-DISK", str(output), f"cannot be written: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _named(row: Mapping[str, Any], answer: Answer) -> dict[str, Any]:
    """Put the answer beside the row; what the row already calls so keeps its name."""
    return {**row, **{(f"predicted_{k}" if k in row else k): v for k, v in answer.items()}}


class _JsonRows:
    def __init__(self, file: IO[str]) -> None:
        self.file = file

    def header(self, columns: list[str]) -> None:
        pass  # every line names its own

    def close(self) -> None:
        pass

    def write(self, row: Mapping[str, Any], answer: Answer) -> None:
        self.file.write(json.dumps(_named(row, answer), ensure_ascii=False) + "\n")


class _CsvRows:
    def __init__(self, file: IO[str], output: Path | None, excel_safe: bool) -> None:
        tab = output is not None and output.suffix.lower() == ".tsv"
        self.writer = csv.writer(file, delimiter="\t" if tab else ",", lineterminator="\n")
        self.excel_safe = excel_safe
        self.columns: list[str] = []
        self.named = False

    def header(self, columns: list[str]) -> None:
        self.columns = columns

    def write(self, row: Mapping[str, Any], answer: Answer) -> None:
        flat = _flat_answer(_named(row, answer))
        if not self.named:
            self.writer.writerow(flat)
            self.named = True
        self.writer.writerow([self._cell(value) for value in flat.values()])

    def close(self) -> None:
        if not self.named:  # no rows: the header says what there would be
            self.writer.writerow(self.columns)

    def _cell(self, value: Any) -> Any:
        risky = self.excel_safe and isinstance(value, str) and value[:1] in tuple("=+-@\t\r")
        return f"'{value}" if risky else value


def _flat_answer(row: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, dict):
            flat |= {f"{name}:{label}": p for label, p in value.items()}
        else:
            flat[name] = _flat_list(value) if isinstance(value, list) else value
    return flat


def _flat_list(values: list[Any]) -> str:
    plain = all(isinstance(value, str) for value in values)
    return "|".join(values) if plain else json.dumps(values, ensure_ascii=False)
