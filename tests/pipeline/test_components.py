"""What a run is built from: what its encoded rows are stored under."""

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from support.runs import composed
from tunesmith.config import instantiate, resolved
from tunesmith.pipeline import components
from tunesmith.pipeline.run_length import validation_steps
from tunesmith.tasks.classification import Classification

MINE = """
from tunesmith.tasks.classification import Classification
class Mine(Classification):
    def encode(self, row):
        return super().encode({**row, "text": row["text"].CASE()})
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_task", raising=False)
    path = tmp_path / "my_task.py"
    path.write_text(MINE.replace("CASE", "upper"))
    importlib.invalidate_caches()
    return path


def identity(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, **task: Any) -> dict[str, Any]:
    """Return what names the encoded rows of a run with this task."""
    config = resolved(composed(f"paths.cache={tmp_path}")).model_copy(
        update={"task": {"_target_": "my_task.Mine", **task}, "trust": ["my_task"]}
    )
    rows = SimpleNamespace(splits={}, fingerprint="f", hashes={}, labels=["a"])
    source = SimpleNamespace(tokenizer_fingerprint="t")
    parts = SimpleNamespace(rows=rows, model=source, max_length=8)
    monkeypatch.setattr(components, "DataModule", lambda *_, identity, **__: identity)
    return components.build_data(config, parts, SimpleNamespace(max_length=8))  # type: ignore[arg-type, return-value]


def test_encoded_rows_are_those_of_the_task_as_it_is_now(
    module: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = identity(monkeypatch, tmp_path)
    assert identity(monkeypatch, tmp_path) == before
    assert identity(monkeypatch, tmp_path, window=3) != before
    module.write_text(MINE.replace("CASE", "lower"))
    assert identity(monkeypatch, tmp_path) != before


def test_only_code_that_we_do_not_ship_is_hashed(module: Path) -> None:
    assert instantiate.code_of(Classification) == {}
    (name,) = instantiate.code_of(instantiate.resolve("my_task.Mine", ["my_task"]))
    assert name == "my_task"


@pytest.mark.parametrize(
    ("interval", "validate_at", "per_epoch", "total", "steps"),
    [
        (0.3333, [1 / 6, 1 / 2, 1], 64, 128, [22, 43, 64, 86, 107, 128]),
        (1.0, [], 5, 12, [5, 10]),  # the last step is always scored, by another rule
        (0.5, [1 / 3], 5, 10, [3, 4, 5, 8, 10]),
        (0.4, [], 10, 20, [4, 8, 14, 18]),
        (1e-9, [], 3, 4, [1, 2, 3, 4]),
        (2, [0.5], 10, 20, [10]),  # whole steps are Lightning's to count
    ],
)
def test_fractions_of_an_epoch_and_of_all_steps_round_alike(
    interval: float, validate_at: list[float], per_epoch: int, total: int, steps: list[int]
) -> None:
    words = ["data.train_file=x", f"trainer.val_check_interval={interval}"]
    config = resolved(composed("data=files", "model.path=x", *words))
    config = config.with_options("trainer", validate_at=validate_at)
    assert sorted(validation_steps(config, per_epoch, total)) == steps
