"""The contract of a task: small, and each class of it abstract or final."""

import ast
import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tunesmith.tasks
from tunesmith.tasks import capabilities
from tunesmith.tasks.base import Task
from tunesmith.tasks.task_conformance import TaskConformance

FOLDER = Path(tunesmith.tasks.__file__).parent


def final_classes() -> list[tuple[str, ast.ClassDef]]:
    """Return the classes of the files that are tasks, not bases of them."""
    files = [f for f in FOLDER.glob("*.py") if f.stem not in ("base", "capabilities", "losses")]
    trees = [(file.stem, ast.parse(file.read_text(encoding="utf-8"))) for file in files]
    return [(f"{s}.{n.name}", n) for s, t in trees for n in t.body if isinstance(n, ast.ClassDef)]


def test_the_contract_has_few_members() -> None:
    own = {n for n in vars(Task) if not n.startswith("_")}
    declared = {n for n in Task.__annotations__ if "ClassVar" in str(Task.__annotations__[n])}
    members = own | declared
    assert members == {
        "columns", "head", "losses", "metrics", "monitor",
        "check", "fit_statistics", "encode", "encode_batch", "collate", "forward", "predict",
        "decode", "aggregate", "score", "baseline",
    }  # fmt: skip


def test_no_capability_has_code() -> None:
    classes = [c for _, c in inspect.getmembers(capabilities, inspect.isclass)]
    own = [c for c in classes if c.__module__ == capabilities.__name__ and not issubclass(c, tuple)]
    assert len(own) > 8
    concrete = [
        f"{c.__name__}.{name}"
        for c in own
        for name, member in vars(c).items()
        if not name.startswith("_")
        and callable(getattr(member, "__func__", member))
        and name not in c.__abstractmethods__
    ]
    assert concrete == []


def calls_super(function: ast.FunctionDef) -> bool:
    names = [n.func for n in ast.walk(function) if isinstance(n, ast.Call)]
    return any(isinstance(name, ast.Name) and name.id == "super" for name in names)


def test_what_a_final_class_overrides_it_overrides_whole() -> None:
    functions = [
        (f"{name}.{n.name}", n)
        for name, node in final_classes()
        for n in node.body
        if isinstance(n, ast.FunctionDef) and n.name != "__init__"
    ]
    assert len(functions) > 100
    assert [name for name, function in functions if calls_super(function)] == []


class Appends:
    """Adds two tokens to each text, as one adds to a list."""

    def encode(self, row: dict[str, str]) -> list[dict[str, Any]]:
        return [{"input_ids": [1, 2], "length": 2, "full_length": 2}]

    def collate(self, features: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        return {"input_ids": torch.tensor(np.stack([f["input_ids"] + [8, 9] for f in features]))}


class OfAppends(TaskConformance):
    __test__ = False

    def make_task(self, seed: int) -> Any:
        return Appends()

    def rows(self) -> list[dict[str, Any]]:
        return [{"text": "a"}] * 8


def test_a_task_that_takes_what_is_read_from_a_file_for_a_list_keeps_no_promise() -> None:
    with pytest.raises(AssertionError, match="input_ids"):
        OfAppends().test_features_read_from_their_file_make_the_same_batch()
