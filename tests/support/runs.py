"""A task, and runs of it in this process, as its tests need them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from torch import nn

from support.commands import only_run, tunesmith
from support.tiny_models import word_pieces
from tunesmith import load
from tunesmith.cli.entry import exit_code
from tunesmith.config import CONF, check
from tunesmith.errors import TunesmithError
from tunesmith.pipeline.train import train as run
from tunesmith.tasks.base import Task

SPLITS = ("train", "validation", "test")


def composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", list(overrides))


def without_a_model(task: type[Task], labels: Sequence[str], loss: nn.Module, **own: Any) -> Any:
    """Return a task that answers and scores, and reads nothing."""
    common = {"max_length": 20, "truncation": "right", "tokenizer": word_pieces()}
    return task(model=nn.Identity(), labels=labels, loss=loss, **common, **own)


def lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write rows as json lines."""
    path.write_text("\n".join(map(json.dumps, rows)))


def of_files(folder: Path, task: str, *own: str, suffix: str = "jsonl") -> list[str]:
    """Return the overrides of a small run on a file a split and a model below `folder`."""
    return [
        f"task={task}",
        "data=files",
        *(f"data.{split}_file={folder}/{split}.{suffix}" for split in SPLITS),
        "data.max_length=32",
        "data.batch_size=8",
        "model=base",
        f"model.path={folder}/model",
        "optimizer.lr=1e-3",
        "trainer.num_threads=1",
        f"paths.runs={folder}/runs",
        *own,
    ]


def trained(folder: Path, *overrides: str, name: str = "default") -> tuple[Path, dict[str, Any]]:
    """Train; return the run's directory below `folder`, and its metrics.json."""
    best = run(composed(*overrides, f"name={name}"))
    directory = only_run(folder, name)
    record = json.loads((directory / "metrics.json").read_text())
    assert record["best"] == best
    return directory, record


def scored_again(directory: Path) -> dict[str, str]:
    """Return what a stored run scores on validation and test, to the bit."""
    return to_the_bit(load(directory).evaluate("validation") | load(directory).evaluate("test"))


def to_the_bit(scores: Mapping[str, float]) -> dict[str, str]:
    return {name: float(value).hex() for name, value in scores.items()}


def predicted(directory: Path, file: Path, output: Path) -> list[dict[str, Any]]:
    """Return what `tunesmith predict` writes for the rows of a file."""
    done = tunesmith(["predict", directory, file, "--output", output])
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in output.read_text().splitlines()]


def refused(cfg: DictConfig) -> TunesmithError:
    """Return the first mistake that a run is refused for."""
    with pytest.raises(TunesmithError) as caught:
        for error in check(cfg):
            raise error
        run(cfg)
    first: TunesmithError = getattr(caught.value, "errors", [caught.value])[0]
    return first


def one_line(cfg: DictConfig, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Return the exit code of a run that cannot be, and the one line that says why."""
    capsys.readouterr()
    code = exit_code(lambda: run(cfg))
    said = capsys.readouterr().err.strip()
    assert "\n" not in said
    return code, said
