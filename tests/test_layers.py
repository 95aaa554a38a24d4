"""Imports point one way: a module imports only from its own layer and those listed before it."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src" / "tunesmith"
LAYERS = [
    "runtime",
    "errors",
    "runs",
    "data",
    "models",
    "tasks",
    "training",
    "config",
    "reporting",
    "pipeline",
    "inference",
    "search",
    "cli",
]
SEARCH = [
    "trial",
    "units",
    "space",
    "policies",
    "samplers",
    "storage",
    "worker",
    "executors",
    "study",
    "confirmation",
    "cost",
    "live_table",
    "final_output",
    "dry_run",
    "start",
    "replay",
    "api",
]
ORDERS = {"": LAYERS, "search": SEARCH}  # of the modules and sub-packages of a package
ENTRY = {
    "__init__",
    "__main__",
    "testing",
}  # a package's own doors: they show what the last layers hold
HEAVY = ["torch", "transformers", "datasets", "lightning", "pyarrow"]
LIGHT_MODULES = ["tunesmith", "tunesmith.cli.entry", "tunesmith.cli.main", "tunesmith.config"]


def layer(path: Path, package: str) -> str:
    """Return the layer that a module of a package stands in."""
    return path.relative_to(SRC / package).parts[0].removesuffix(".py")


def imported_layers(path: Path, package: str) -> Iterator[tuple[int, str]]:
    """Yield (line, layer) for each import of the package, those inside functions included."""
    start = ["tunesmith", *filter(None, [package])]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        for name in imported_names(node, path):
            parts = name.split(".")
            if parts[: len(start)] == start and len(parts) > len(start):
                yield node.lineno, parts[len(start)]  # type: ignore[attr-defined]


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


def modules(package: str = "") -> list[Path]:
    return sorted((SRC / package).rglob("*.py"))


def back_imports(package: str) -> list[str]:
    """Return the imports of a package's modules from a layer behind their own."""
    order = ORDERS[package]
    return [
        f"{path.relative_to(SRC)}:{line} imports {there}"
        for path in modules(package)
        if (here := layer(path, package)) not in ENTRY
        for line, there in imported_layers(path, package)
        if there in order and order.index(there) > order.index(here)
    ]


@pytest.mark.parametrize("package", ORDERS)
def test_every_module_has_a_layer(package: str) -> None:
    known = {*ORDERS[package], *ENTRY}
    strangers = {layer(path, package) for path in modules(package)} - known
    assert not strangers, f"put {sorted(strangers)} into the order of {package or 'tunesmith'}"


@pytest.mark.parametrize("package", ORDERS)
def test_imports_point_one_way(package: str) -> None:
    assert not back_imports(package)


def test_arrows_between_packages_are_few() -> None:
    arrows = {
        (layer(path, ""), there)
        for path in modules()
        if layer(path, "") not in {*ENTRY, "errors"}
        for _, there in imported_layers(path, "")
        if there in LAYERS and there not in {layer(path, ""), "errors"}
    }
    assert len(arrows) <= 70, sorted(arrows)


def test_the_check_finds_a_back_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "SRC", tmp_path)
    module = tmp_path / "search" / "space" / "reading.py"
    module.parent.mkdir(parents=True)
    module.write_text(
        "from tunesmith.search.trial import Result\n"
        "from tunesmith.search import start\n"
        "def late():\n"
        "    from ..study.settings import Settings\n"
    )
    assert back_imports("search") == [
        "search/space/reading.py:2 imports start",
        "search/space/reading.py:4 imports study",
    ]


def test_the_check_sees_imports_of_every_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "SRC", tmp_path)
    module = tmp_path / "data" / "rows.py"
    module.parent.mkdir()
    module.write_text(
        "import tunesmith.cli.main\n"
        "from tunesmith import runs\n"
        "def late():\n"
        "    from tunesmith.config import load\n"
        "    from ..pipeline import train\n"
        "    from .. import errors\n"
    )
    seen = {there for _, there in imported_layers(module, "")}
    assert seen == {"cli", "runs", "config", "pipeline", "errors"}


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
