"""The contract of a task: small, and each class of it abstract or final."""

import ast
import inspect
from pathlib import Path

import tunesmith.tasks
from tunesmith.tasks import capabilities
from tunesmith.tasks.base import Task

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
