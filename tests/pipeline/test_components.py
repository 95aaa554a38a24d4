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
