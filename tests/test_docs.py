"""What README and CONTRIBUTING say is so: each command, table and example is tried."""

import ast
import json
import os
import pkgutil
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from support.commands import only_run, tunesmith
from support.tiny_models import sentences, tiny_bert
from tunesmith import errors

ROOT = Path(__file__).parents[1]
PAGES = {
    name: (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "CONTRIBUTING.md")
}
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")


def said(page: str) -> list[str]:
    """Return everything a reader could type: lines of blocks, and code inside sentences."""
    lines = [line for _, body in BLOCK.findall(PAGES[page]) for line in body.splitlines()]
    return lines + INLINE.findall(BLOCK.sub("", PAGES[page]))


def commands(start: str) -> list[str]:
    """Return each command that begins so, without its comment."""
    typed = [line.lstrip("# ").partition("  #")[0].strip() for page in PAGES for line in said(page)]
    return sorted({line for line in typed if line == start or line.startswith(f"{start} ")})


def examples() -> dict[str, str]:
    """Return the files that CONTRIBUTING shows, whole, by the path in their first comment."""
    bodies = [body for kind, body in BLOCK.findall(PAGES["CONTRIBUTING.md"]) if kind]
    path = re.compile(r"(?:# @package \S+\n)?# (\S+\.(?:yaml|py))\n")
    return {found[1]: body for body in bodies if (found := path.match(body))}


@pytest.fixture(scope="module")
def conf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy conf/ and add the examples of CONTRIBUTING to it."""
    folder = tmp_path_factory.mktemp("documented")
    shutil.copytree(ROOT / "conf", folder / "conf")
    for path, text in examples().items():
        (folder / path).write_text(text)
    sys.path.append(str(folder))  # for the guide's own packages
    (folder / "conf" / "experiment" / "best.yaml").write_text("# @package _global_\n")  # a study's
    return folder / "conf"


def composed(conf: Path, overrides: list[str]) -> DictConfig:
    with initialize_config_dir(str(conf), version_base="1.3"):
        return compose("train", overrides)


def overrides_of(command: str) -> list[str]:
    """Return a command's overrides; flags of Hydra and their values are not among them."""
    words = shlex.split(command)[2:]
    return [w for w in words if w.startswith("~") or ("=" in w and not w.startswith("-"))]


def searches() -> list[str]:
    return commands("python train.py -m")


@pytest.mark.parametrize("command", sorted({*commands("python train.py")} - {*searches()}))
def test_every_training_command_composes(command: str, conf: Path) -> None:
    config = composed(conf, overrides_of(command))
    keys = [word.lstrip("+~").partition("=")[0] for word in overrides_of(command)]
    groups = [re.split(r"[./]", key)[0] for key in keys]
    assert all(group in config or group in ("experiment", "debug") for group in groups)


@pytest.mark.parametrize("command", commands("make"))
def test_every_make_target_exists(command: str) -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    words = [word for word in shlex.split(command)[1:] if "=" not in word]
    assert set(words) <= set(targets)


@pytest.mark.parametrize("name", sorted({c.split()[1] for c in commands("tunesmith")}))
def test_every_tool_is_a_command(name: str) -> None:
    script = "from tunesmith.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", script, name, "--help"], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert name in done.stdout


@pytest.mark.parametrize("command", commands("tunesmith"))
def test_every_tool_takes_the_options_shown(command: str) -> None:
    from tunesmith.cli.main import _parser

    words = shlex.split(command)[1:]
    assert _parser().parse_args(words).run_command


def test_the_table_of_groups_is_conf() -> None:
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \|$", PAGES["README.md"], re.MULTILINE)
    shown = {group: re.findall(r"`(\w+)`", choices) for group, choices in rows}
    folders = [folder for folder in (ROOT / "conf").iterdir() if folder.is_dir()]
    assert shown == {f.name: sorted(path.stem for path in f.glob("*.yaml")) for f in folders}


def test_the_table_of_tasks_has_each(conf: Path) -> None:
    table = PAGES["README.md"].partition("## What it learns")[2].partition("\n## ")[0]
    shown = re.findall(r"^\| [^|]+ \| `(python train.py[^`]*)` \|", table, re.MULTILINE)
    targets = [str(composed(conf, overrides_of(line)).task._target_) for line in shown]
    defined = {
        re.search(r"_target_: (\S+)", path.read_text())[1]  # type: ignore[index]
        for path in (ROOT / "conf/task").glob("*.yaml")
    }
    assert sorted(targets) == sorted(defined)


def test_the_links_within_a_page_lead_somewhere() -> None:
    for text in PAGES.values():
        heads = {
            re.sub(r"[^\w -]", "", head).strip().lower().replace(" ", "-")
            for head in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        }
        assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= heads


def test_the_table_of_exit_codes_is_complete() -> None:
    shown = set(map(int, re.findall(r"^\| (\d+) \|", PAGES["README.md"], re.MULTILINE)))
    kinds = errors.TunesmithError.__subclasses__()
    defined = {errors.TunesmithError.exit_code} | {kind.exit_code for kind in kinds}
    assert shown == defined | {0, errors.INTERRUPTED}


def test_the_pages_link_to_files_that_exist() -> None:
    links = [link for page in PAGES.values() for link in re.findall(r"\]\(([^)#:]+)\)", page)]
    named = [
        word
        for page in PAGES
        for word in said(page)
        if re.fullmatch(r"(src|tests|conf)/[\w./]+", word)
    ]
    assert [path for path in links + named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("command", searches())
def test_every_search_is_one(command: str, conf: Path) -> None:
    from hydra.types import RunMode

    from tunesmith.config import hydra_internals
    from tunesmith.config.composer import Composer
    from tunesmith.search.study.parse_request import checked

    loader = hydra_internals.loader(conf)
    cfg = loader.load_configuration("train", overrides_of(command), RunMode.MULTIRUN)
    typed = list(cfg.hydra.overrides.task)
    space, settings = checked(cfg, typed, loader, Composer(conf))
    assert space.dimensions
    assert all(d.is_listed for d in space.dimensions) or settings.trials


def guide(folder: Path, name: str) -> None:
    """Write the files of the guide that begin with this name."""
    for path, text in examples().items():
        if Path(path).stem.removeprefix("test_") == name:
            (folder / path).write_text(text)


def held_to_our_promises(folder: Path, file: str) -> str:
    """Run a test file of a stranger's package, as they would."""
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", file]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout


def test_the_policy_of_the_guide_promotes_the_better_half(tmp_path: Path) -> None:
    from tunesmith.search.policies.base import Promote, Start, TrialState

    guide(tmp_path, "half")
    made: dict = {}
    exec((tmp_path / "half.py").read_text(), made)  # noqa: S102 - our own page
    policy = made["Half"]([0.5, 1.0])
    worse, better = (TrialState(n, 0, {0: 0.1 * n}, False, False) for n in range(2))
    assert policy.next([worse], True) == Start(0)
    assert policy.next([worse, better], True) == Promote(1)
    assert policy.next([worse, better._replace(running=True)], False) is None
    assert "5 passed" in held_to_our_promises(tmp_path, "test_half.py")


def test_the_task_of_the_guide_trains_outside_of_our_tree(
    conf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tunesmith.pipeline.train import train as run

    guide(tmp_path, "likelihood")
    monkeypatch.syspath_prepend(tmp_path)
    rows = [f"{text},{i % 11 / 10}" for i, text in enumerate(sentences(40))]
    (tmp_path / "odds.csv").write_text("\n".join(["text,label", *rows]))
    line = re.search(
        r"^python train.py (task._target_=likelihood.*)$", PAGES["CONTRIBUTING.md"], re.M
    )
    assert line is not None
    small = ["data.batch_size=8", "data.max_length=32", "model=base", "trainer.max_epochs=1"]
    small += [f"model.path={tiny_bert(tmp_path / 'model')}", "trainer.precision=32", "logger=none"]
    small += [f"paths.runs={tmp_path}/runs", f"data.train_file={tmp_path}/odds.csv"]
    brier = run(composed(conf, [*line[1].split(), *small]))
    assert brier is not None
    assert 0 < brier < 1
    metrics = json.loads((only_run(tmp_path, "default") / "metrics.json").read_text())
    assert 0 < metrics["baseline"]["val/brier"] < 1
    test = tmp_path / "test_likelihood.py"
    own = ", ".join(f'"{word}"' for word in small)
    test.write_text(test.read_text().replace("    overrides = [", f"    overrides = [{own},", 1))
    assert "12 passed" in held_to_our_promises(tmp_path, "test_likelihood.py")


def test_the_guide_shows_each_kind_of_file() -> None:
    folders = {str(Path(path).parent) for path in examples()}
    assert folders == {
        "conf/data",
        "conf/optimizer",
        "conf/scheduler",
        "conf/space",
        ".",
    }


def test_the_reference_is_what_the_options_say() -> None:
    from tunesmith.config import reference

    assert (ROOT / "docs/reference.md").read_text() == reference.page(), "run: make reference"
    assert (ROOT / "docs/config.schema.json").read_text() == reference.schema()


def test_every_key_has_its_sentence_and_no_field_a_default() -> None:
    from tunesmith.config import reference, schema
    from tunesmith.config.run_config import RunConfig
    from tunesmith.runtime.options import nested

    entries = [entry for section in reference.sections() for entry in section.entries]
    assert {entry.path for entry in entries} == set(schema.packaged_keys())
    assert [entry.path for entry in entries if not entry.sentence] == []

    def with_default(options: type) -> list[str]:
        fields = options.model_fields.items()  # type: ignore[attr-defined]
        below = [nested(field.annotation) for _, field in fields]
        own = [f"{options.__name__}.{name}" for name, field in fields if not field.is_required()]
        return [*own, *(name for inner in filter(None, below) for name in with_default(inner))]

    assert with_default(RunConfig) == []


def test_a_key_is_explained_in_a_terminal() -> None:
    done = tunesmith(["keys", "reduction_factor"])
    assert done.stdout.splitlines()[:2] == [
        "search.policy.reduction_factor = 3   (an integer >= 2; conf/search/policy/asha.yaml)",
        "    one trial of so many goes on from a rung",
    ]


def glossary() -> list[tuple[str, str, str]]:
    """Return (word, symbol, packages) of each entry."""
    row = r"^\| ([^|]+) \| [^|]+ \| `([^`|]+)` \| ([^|]+) \|$"
    return re.findall(row, (ROOT / "docs/glossary.md").read_text(), re.MULTILINE)


def test_the_glossary_is_short_and_every_word_is_in_the_code() -> None:
    entries = glossary()
    assert 30 <= len(entries) <= 40
    assert len({word for word, _, _ in entries}) == len(entries)
    for word, symbol, _ in entries:
        assert pkgutil.resolve_name(symbol) is not None, word


def test_a_word_of_the_glossary_names_things_in_its_packages_alone() -> None:
    source = ROOT / "src/tunesmith"
    names: dict[str, set[str]] = {}
    for path in source.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                words = re.findall(r"[A-Z]?[a-z]+", node.name)
                package = path.relative_to(source).parts[0].removesuffix(".py")
                for word in words:
                    names.setdefault(word.lower().removesuffix("s"), set()).add(package)
    for word, _, packages in glossary():
        if packages != "any":
            assert names.get(word, set()) <= set(packages.split(", ")) | {"testing", "config"}, word
