"""Imports point one way: a module imports only from its own layer and those to its left."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src" / "tunesmith"
LAYERS = [
    "addresses",
    "errors",
    "explain",
    "disk",
    "store",
    "yaml_file",
    "seeds",
    "data",
    "models",
    "loss",
    "metrics",
    "tasks",
    "optim",
    "adapt",
    "training",
    "targets",
    "rules",
    "schema",
    "config",
    "grammar",
    "overrides",
    "environment",
    "rundir",
    "build",
    "vocabulary",
    "trainer",
    "place",
    "finish",
    "run",
    "stored",
    "predictions",
    "sweep",
    "program",
    "cli",
]
ENTRY = {"__init__", "__main__"}  # the package's own doors: they show what the last layers hold
HEAVY = ["torch", "transformers", "datasets", "lightning", "pyarrow"]
LIGHT_MODULES = ["tunesmith", "tunesmith.program", "tunesmith.cli", "tunesmith.config"]


def layer(path: Path) -> str:
    return path.relative_to(SRC).parts[0].removesuffix(".py")


def imported_layers(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, layer) for each import of tunesmith, those inside functions included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        for name in imported_names(node, path):
            parts = name.split(".")
            if parts[0] == "tunesmith" and len(parts) > 1:
                yield node.lineno, parts[1]  # type: ignore[attr-defined]


def imported_names(node: ast.AST, path: Path) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    base = absolute(node, path)
    return [f"{base}.{alias.name}" for alias in node.names]


def absolute(node: ast.ImportFrom, path: Path) -> str:
    """Spell out a relative import."""
    if not node.level:
        return node.module or ""
    package = ["tunesmith", *path.relative_to(SRC).parts[:-1]]
    return ".".join([*package[: len(package) - node.level + 1], *filter(None, [node.module])])


def modules() -> list[Path]:
    return sorted(SRC.rglob("*.py"))


def test_every_module_has_a_layer() -> None:
    strangers = {layer(path) for path in modules()} - {*LAYERS, *ENTRY}
    assert not strangers, f"put {sorted(strangers)} into LAYERS"


def test_imports_point_left() -> None:
    wrong = [
        f"{path.relative_to(SRC)}:{line} imports {there}"
        for path in modules()
        if (here := layer(path)) not in ENTRY
        for line, there in imported_layers(path)
        if there in LAYERS and LAYERS.index(there) > LAYERS.index(here)
    ]
    assert not wrong


def test_the_check_sees_imports_of_every_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "SRC", tmp_path)
    module = tmp_path / "data" / "rows.py"
    module.parent.mkdir()
    module.write_text(
        "import tunesmith.cli\n"
        "from tunesmith import run\n"
        "def late():\n"
        "    from tunesmith.config import load\n"
        "    from ..program import guarded\n"
        "    from .. import stored\n"
    )
    seen = {there for _, there in imported_layers(module)}
    assert seen == {"cli", "run", "config", "program", "stored"}


def test_no_module_is_a_drawer_for_everything() -> None:
    banned = {"util", "utils", "helper", "helpers", "common", "misc"}
    files = [path.relative_to(SRC) for path in modules()]
    assert not [str(file) for file in files if banned & set(file.with_suffix("").parts)]


def unsafe_calls(source: str) -> list[str]:
    """Return the calls that could run code from a file and that ruff has no rule for."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return [ast.unparse(call) for call in calls if is_unsafe(call)]


def is_unsafe(call: ast.Call) -> bool:
    name = ast.unparse(call.func)
    told = {word.arg: ast.unparse(word.value) for word in call.keywords}
    if told.get("trust_remote_code", "False") != "False" or name == "joblib.load":
        return True
    return name == "torch.load" and told.get("weights_only") != "True"


def test_no_call_can_run_code_from_a_file() -> None:
    found = {path.name: unsafe_calls(path.read_text(encoding="utf-8")) for path in modules()}
    assert not {name: calls for name, calls in found.items() if calls}


@pytest.mark.parametrize(
    "call",
    [
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=wanted)",
        "AutoModel.from_pretrained(name, trust_remote_code=True)",
        "joblib.load(path)",
    ],
)
def test_the_check_finds_an_unsafe_call(call: str) -> None:
    assert unsafe_calls(f"def late():\n    return {call}\n") == [call]


@pytest.mark.parametrize("module", LIGHT_MODULES)
def test_the_way_to_help_imports_nothing_heavy(module: str) -> None:
    script = f"import sys, {module}; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")
