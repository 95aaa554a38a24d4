"""TensorBoard, the table, and the figures, as a real TensorBoard and a reader see them."""

import logging
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from support.servers import eventually, fetch, hparams_rows, scalars, tensorboard
from tunesmith.tasks.capabilities import (
    GeneratedExample,
    Generates,
    LabeledExample,
    ShowsExamples,
)
from tunesmith.training.csv_logger import CSVLogger
from tunesmith.training.evaluation import Evaluation
from tunesmith.training.tensorboard_callback import (
    ValidationFigures,
    confusion_matrix,
    examples_markdown,
    samples_markdown,
)
from tunesmith.training.tensorboard_logger import TensorBoardLogger, plain

FLAT = {"optimizer.lr": 3e-5, "model.path": None, "optimizer.betas": [0.9, 0.999], "test": True}


def killed_and_resumed(run: Path) -> None:
    """Log steps 0..5, die, resume from the checkpoint after step 3, log 4..7."""
    first = TensorBoardLogger(run)
    for step in range(6):
        first.log_metrics({"train/loss": 10.0 + step}, step)
        if step == 2:
            first.hparams(FLAT, "val/accuracy", 0.5, step)
            first.text("examples", "| a |", step)
            first.figure("confusion", confusion_matrix(np.eye(2, dtype=int), ["a", "b"]), step)
        if step == 5:
            first.hparams(FLAT, "val/accuracy", 0.99, step)
    first.save()
    second = TensorBoardLogger(run, purge_step=4)
    for step in range(4, 8):
        second.log_metrics({"train/loss": 20.0 + step}, step)
    second.hparams(FLAT, "val/accuracy", 0.7, 5)
    second.hparams(FLAT, "val/accuracy", 0.9731, 7)
    second.finalize("success")
    second.log_metrics({"test/accuracy": 0.5}, 7)  # as trainer.test does, after fit
    second.finalize("success")


@pytest.mark.parametrize("reader", ["--load_fast=auto", "--load_fast=false"])
def test_a_real_tensorboard_shows_one_row_with_the_true_best_and_each_step_once(
    tmp_path: Path, reader: str
) -> None:
    run = tmp_path / "a name=with $HOME ~ and ü"
    killed_and_resumed(run)
    with tensorboard(tmp_path, reader) as address:
        name = f"{run.name}/tensorboard"
        tags = eventually(lambda: fetch(f"{address}/data/plugin/scalars/tags").get(name))
        eventually(lambda: "test/accuracy" in fetch(f"{address}/data/plugin/scalars/tags")[name])
        rows = hparams_rows(address)
        losses = scalars(address, name, "train/loss")
    assert {"train/loss", "hp/val_accuracy"} <= set(tags)
    assert losses == {**{s: 10.0 + s for s in range(4)}, **{s: 20.0 + s for s in range(4, 8)}}
    assert len(rows) == 1
    (metric,) = rows[0]["metricValues"]
    assert metric["name"]["tag"] == "hp/val_accuracy"
    assert np.float32(metric["value"]) == np.float32(0.9731)
    assert rows[0]["hparams"]["optimizer.lr"] == 3e-5
    assert rows[0]["hparams"]["model.path"] == "null"
    assert rows[0]["hparams"]["optimizer.betas"] == "[0.9, 0.999]"


def test_nothing_but_events_and_the_marker_is_written(tmp_path: Path) -> None:
    board = TensorBoardLogger(tmp_path)
    board.log_hyperparams({"password": "hunter2"})
    board.hparams({"a": 1}, "val/mse", 0.5, 0)
    board.finalize("success")
    names = sorted(path.name for path in (tmp_path / "tensorboard").iterdir())
    assert names[0] == ".hparams"
    assert all("tfevents" in name for name in names[1:])
    assert not any(b"hunter2" in file.read_bytes() for file in tmp_path.rglob("*tfevents*"))


def test_a_disk_that_refuses_costs_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    board, table = (
        TensorBoardLogger(tmp_path / "file" / "run"),
        CSVLogger(tmp_path / "file" / "run"),
    )
    with caplog.at_level(logging.WARNING):
        for step in range(3):
            board.log_metrics({"train/loss": 1.0}, step)
            board.hparams(FLAT, "val/accuracy", 0.5, step)
            board.figure("x", confusion_matrix(np.eye(2, dtype=int), ["a", "b"]), step)
            board.save()
            table.log_metrics({"train/loss": 1.0}, step)
    board.finalize("success")
    table.finalize("success")
    assert [r.getMessage().split(" is not")[0] for r in caplog.records] == [
        "TensorBoard",
        "metrics.csv",
    ]


def test_a_fault_behind_the_warning_is_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    board = TensorBoardLogger(tmp_path)
    with caplog.at_level(logging.INFO):
        board.log_metrics({"x": object()}, 0)
    first, second = caplog.records
    assert first.levelname == "WARNING" and first.exc_info is None
    assert second.levelname == "INFO" and second.exc_info is not None


def test_values_of_a_row_are_plain() -> None:
    assert [plain(value) for value in (None, [1, "a"], True, 2, 0.5, "x", math.nan)] == [
        "null",
        "[1, 'a']",
        True,
        2,
        0.5,
        "x",
        "nan",
    ]


def test_a_resumed_table_has_each_step_once(tmp_path: Path) -> None:
    first = CSVLogger(tmp_path)
    for step in range(6):
        first.log_metrics({"train/loss": 1 / (step + 1), "val/f1, macro": math.nan}, step)
    with (tmp_path / "metrics.csv").open("a") as file:
        file.write("6,train/lo")  # torn by a kill
    second = CSVLogger(tmp_path, purge_step=4)
    second.log_metrics({"train/loss": 0.5}, 4)
    second.finalize("success")
    second.log_metrics({"test/accuracy": 0.25}, 5)
    lines = (tmp_path / "metrics.csv").read_text().split("\n")
    assert lines[:3] == ["step,name,value", "0,train/loss,1.0", '0,"val/f1, macro",nan']
    assert lines[-3:] == ["4,train/loss,0.5", "5,test/accuracy,0.25", ""]
    steps = [line.split(",")[0] for line in lines if "train/loss" in line]
    assert steps == ["0", "1", "2", "3", "4"]
    assert "1,train/loss," + repr(1 / 2) in lines


def test_a_table_without_a_purge_step_goes_on_at_the_end(tmp_path: Path) -> None:
    for step in range(2):
        CSVLogger(tmp_path).log_metrics({"a": step}, step)
    assert (tmp_path / "metrics.csv").read_text() == "step,name,value\n0,a,0.0\n1,a,1.0\n"


@pytest.mark.parametrize("size", [2, 5, 21, 50])
def test_a_confusion_matrix_is_drawn_for_any_number_of_labels(size: int) -> None:
    labels = [f"label {i} $x_{{$" for i in range(size - 1)] + ["\x1b]0;" + "long " * 20]
    figure = confusion_matrix(np.diag(np.arange(1, size + 1)), labels)
    figure.canvas.draw()  # type: ignore[no-untyped-call]
    axes = figure.axes[0]
    shown = [text.get_text() for text in axes.get_xticklabels()]
    assert shown[0] == "label 0 $x_{$"
    assert shown[-1].startswith("\\x1b]0;long") and len(shown[-1]) <= 24
    cells = [text.get_text() for text in axes.texts]
    assert ("2\n100%" in cells) == (size <= 20)
    assert "2" in cells or size <= 20


def test_a_confusion_matrix_wants_one_label_a_row() -> None:
    with pytest.raises(ValueError, match=r"counts is \(C, C\) for C labels, but got \(2, 2\), 3"):
        confusion_matrix(np.eye(2), ["a", "b", "c"])


def test_examples_cannot_write_markup() -> None:
    evil = "a|b\n<script>alert(1)</script>\x1b[31m [x](javascript:y) " + "z" * 300
    table = examples_markdown([(evil, "p|q", "<b>", 0.9), ("fine", "p", "p", 0.8)])
    head, _, wrong, right = table.split("\n")
    assert head == "| | label | predicted | probability | text |"
    assert right == "| right | p | p | 0.800 | fine |"
    assert wrong.startswith("| wrong | p&#124;q | &#60;b&#62; | 0.900 | a&#124;b&#92;n&#60;script")
    assert wrong.count("|") == 6 and "<" not in wrong and "\x1b" not in wrong and "[" not in wrong


def test_samples_stand_side_by_side_and_cannot_write_markup() -> None:
    evil = "a|b\n<script>alert(1)</script>\x1b[31m " + "z" * 900
    head, _, first, second = samples_markdown([("t", "w", evil), ("u", "v", "x")]).split("\n")
    assert head == "| text | wanted | written |"
    assert second == "| u | v | x |"
    assert first.startswith("| t | w | a&#124;b&#92;n&#60;script")
    assert first.count("|") == 4 and "<" not in first and "\x1b" not in first
    assert 600 < len(first) < 900


class Shown(Generates, ShowsExamples):
    """A task that shows an example and a text."""

    def examples(self, answers: Any, rows: Any) -> list[LabeledExample]:
        return [LabeledExample("a", "b", "b", 0.5)]

    def generated_examples(self, answers: Any, rows: Any) -> list[GeneratedExample]:
        return [GeneratedExample("a", "b", "c")]


def test_samples_are_shown_at_each_validation_and_examples_at_the_best() -> None:
    shown: list[tuple[str, int]] = []
    board = SimpleNamespace(figure=None, text=lambda tag, _, step: shown.append((tag, step)))
    trainer: Any = SimpleNamespace(
        sanity_checking=False, loggers=[board], is_global_zero=True, global_step=0
    )
    module: Any = SimpleNamespace(task=Shown(), evaluation=Evaluation({}, [{}], [{}]))
    figures = ValidationFigures(SimpleNamespace(best_step=5))
    for step in (5, 5, 10):
        trainer.global_step = step
        figures.on_validation_end(trainer, module)
    assert shown == [("val/samples", 5), ("val/examples", 5), ("val/samples", 10)]


def test_the_surest_mistakes_come_first_and_right_ones_beside_them() -> None:
    wrong = [(f"w{i}", "a", "b", i / 100) for i in range(40)]
    right = [(f"r{i}", "a", "a", i / 100) for i in range(3)]
    rows = examples_markdown(wrong + right, most=8).split("\n")[2:]
    assert [row.split(" | ")[4][:-2] for row in rows] == [
        "w39", "w38", "w37", "w36", "w35", "r2", "r1", "r0",
    ]  # fmt: skip
