"""The wheel, built and installed away from the source: what is in it, and that it trains."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from support.tiny_models import sentences, tiny_bert

ROOT = Path(__file__).parents[1]
SOURCES = ["src", "conf", "tests"]
FILES = ["pyproject.toml", "train.py", "Makefile", "constraints.txt", "LICENSE", "README.md"]
FLOORS = {  # older ones have known holes
    "lightning": "2.6.6",
    "pytorch-lightning": "2.6.6",
    "torch": "2.10",
    "hydra-core": "1.3.4",
    "transformers": "5.20",
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build an sdist and, from it, the wheel, out of a copy of the source; return their folder."""
    source = tmp_path_factory.mktemp("source")
    for name in SOURCES:
        ignored = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    for name in FILES:
        shutil.copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(source / "dist")]
    done = subprocess.run([*command, str(source)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return source / "dist"


@pytest.fixture(scope="module")
def contents(built: Path) -> set[str]:
    return set(zipfile.ZipFile(next(built.glob("*.whl"))).namelist())


@pytest.fixture(scope="module")
def tunesmith(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel into an environment of its own; return its `tunesmith` command."""
    home = tmp_path_factory.mktemp("environment")
    run([sys.executable, "-m", "venv", "--without-pip", str(home)])
    python = home / "bin" / "python"
    wheel = next(built.glob("*.whl"))
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    run([*pip, "--no-deps", "--no-index", str(wheel)])
    # The packages around it come from here. A .pth file named in a .pth file is not read, so the
    # editable Tunesmith of this environment stays out.
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(home)}))
    (packages / "around.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home / "bin" / "tunesmith"


def run(command: list[str], folder: Path | None = None) -> str:
    """Run a command to its end, without our paths and the network; return its output."""
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    kept |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(command, cwd=folder, env=kept, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def write_rows(path: Path, count: int = 40) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["text", "label"])
        rows.writerows([text, ["bad", "good"][i % 2]] for i, text in enumerate(sentences(count)))
    return path


def test_the_wheel_holds_the_code_and_every_config(contents: set[str]) -> None:
    configs = {f"tunesmith/conf/{p.relative_to(ROOT / 'conf')}" for p in yaml_files()}
    code = {str(p.relative_to(ROOT / "src")) for p in (ROOT / "src").rglob("*.py")}
    assert configs | code | {"tunesmith/py.typed", "tunesmith/reporting/html/style.css"} <= contents


def yaml_files() -> list[Path]:
    return list((ROOT / "conf").rglob("*.yaml"))


def test_the_wheel_holds_the_licence_and_nothing_of_ours_beside_the_package(
    contents: set[str],
) -> None:
    assert any(name.endswith("dist-info/licenses/LICENSE") for name in contents)
    tops = {name.split("/")[0] for name in contents}
    assert {top for top in tops if not top.endswith(".dist-info")} <= {"tunesmith", "hydra_plugins"}


def test_the_sdist_can_be_tested_and_trained(built: Path) -> None:
    import tarfile

    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {
        *FILES,
        "conf/train.yaml",
        "tests/support/tiny_models.py",
        "src/tunesmith/pipeline/train.py",
    } <= names


def test_the_installed_package_is_the_one_from_the_wheel(tunesmith: Path, tmp_path: Path) -> None:
    script = "import tunesmith, torch; print(tunesmith.__file__)"
    found = run([str(tunesmith.with_name("python")), "-c", script], tmp_path)
    assert Path(found.strip()).is_relative_to(tunesmith.parents[1])


def test_your_own_groups_are_found_beside_the_packaged_ones(
    tunesmith: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own" / "optimizer" / "gentle.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("defaults:\n  - adamw\n\nlr: 1.25e-06\n")
    options = ["--config-dir", "own", "optimizer=gentle", "--cfg", "job"]
    printed = run([str(tunesmith), "train", *options], tmp_path)
    assert "lr: 1.25e-06" in printed
    assert "_target_: torch.optim.AdamW" in printed


def test_trains_on_your_own_files_in_an_empty_folder(tunesmith: Path, tmp_path: Path) -> None:
    model = tiny_bert(tmp_path / "model")
    rows = write_rows(tmp_path / "rows.csv")
    folder = tmp_path / "empty"
    folder.mkdir()
    data = ["data=files", f"data.train_file={rows}", "data.batch_size=8", "data.max_length=32"]
    data += ["data.split.validation=0.2", "data.split.test=0.2"]
    options = ["model=base", f"model.path={model}", "trainer.max_epochs=1", "trainer.precision=32"]
    run([str(tunesmith), "train", *data, *options], folder)
    (metrics,) = (folder / "runs" / "default").glob("*/metrics.json")
    assert {"val/accuracy", "test/accuracy"} <= json.loads(metrics.read_text())["scores"].keys()
    assert [path.name for path in folder.iterdir()] == ["runs"]


def test_trains_the_default_in_an_empty_folder(tunesmith: Path, tmp_path: Path) -> None:
    options = ["optimizer.lr=3e-5", "debug=fast", "data.max_length=32"]
    run([str(tunesmith), "train", *options], tmp_path)
    (metrics,) = (tmp_path / "runs" / "debug").glob("*/metrics.json")
    assert json.loads(metrics.read_text())["steps"] == 3
    assert "lr: 3.0e-05" in (metrics.parent / "config.yaml").read_text()


def pins() -> dict[str, Version]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    named = [line.partition("==") for line in lines if line and not line.startswith("#")]
    return {name: Version(version) for name, _, version in named}


def requirements() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    installed = project["dependencies"] + extras["demo"] + extras["dev"] + extras["bench"]
    return [Requirement(r) for r in installed]


def test_constraints_pin_nothing_with_a_known_hole() -> None:
    pinned = pins()
    assert not {"2.6.2", "2.6.3"} & {str(pinned[n]) for n in ("lightning", "pytorch-lightning")}
    assert {n: str(pinned[n]) for n, floor in FLOORS.items() if pinned[n] < Version(floor)} == {}


def test_requirements_admit_the_pins_and_no_known_hole() -> None:
    pinned = pins()
    refused = [str(r) for r in requirements() if pinned[r.name] not in r.specifier]
    assert refused == []
    lightning = next(r.specifier for r in requirements() if r.name == "lightning")
    assert not list(lightning.filter(["2.6.2", "2.6.3", "2.6.5"]))


def test_pins_are_of_no_one_machine() -> None:
    assert [str(version) for version in pins().values() if version.local] == []
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = [line for line in lines if not line.startswith("#")]
    assert [line for line in pinned if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []
