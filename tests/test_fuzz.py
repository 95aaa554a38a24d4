"""Command lines and directories made at random: one line each, nothing executed, nothing outside.

Part of `make torture`. Each case is a function of its number: FUZZ_FROM and FUZZ_COUNT say which
ones run, so that one that failed can be run alone.
"""

import json
import os
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.commands import only_run, small, train, tunesmith
from tunesmith.config.run_config import RunConfig
from tunesmith.runtime.options import keys_of

SECONDS = 20.0  # that a refusal may take; a run of a few steps is shorter too
FIRST = int(os.environ.get("FUZZ_FROM", "0"))
KEYS = [key.path for key in keys_of(RunConfig)]
VALUES = [
    *("null", "true", "false", "0", "-1", "1", "3", "1e-3", "1e30", "nan", "inf", "-inf", "2**70"),
    *("9" * 400, "x", "''", "' '", "auto", "[]", "[1]", "[a,b]", "{}", "{a: 1}", "???", "${x}"),
    *(
        "${oc.env:HOME}",
        "/proc/x",
        "/dev/zero",
        "..",
        "../../etc",
        "~",
        "x" * 300,
        "é\u200b",
        "a=b",
    ),
    *("'\\\\'", "choice(1,2)", "range(1,5)", "interval(0,1)", "1,2", "https://h/x?token=t", "%s"),
]
GROUPS = ("task", "model", "optimizer", "scheduler", "trainer", "loss", "adapt", "data", "search")
NAMES = ("base", "mlm", "regression", "multi_label", "adamw", "sgd", "linear", "frozen", "no", "..")
COMMANDS = ("evaluate", "predict", "show", "runs", "studies", "report", "best", "replay", "keys")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz")
    words = [*small(folder, rows=16), "trainer.max_steps=2", "data.max_length=32"]
    done = train([*words, "callbacks.figures=false"], cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def files_of(folder: Path) -> set[str]:
    skipped = ("runs", "__pycache__")
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.relative_to(folder).parts[0] not in skipped
    }


def told(call: Callable[[], subprocess.CompletedProcess[str]], words: list[Any]) -> list[str]:
    """Run a command; return what is wrong with how it ended."""
    try:
        done = call()
    except subprocess.TimeoutExpired:
        return [f"hang: {words}"]
    said = done.stderr + done.stdout
    wrong = [word for word in ("INTERNAL", "Traceback", "panicked") if word in said]
    if done.returncode < 0:
        wrong.append(f"signal {-done.returncode}")
    if done.returncode not in (0, 1, 2, 3, 4, 5, 6, 7, 8, 75):
        wrong.append(f"exit code {done.returncode}")
    if done.returncode and not wrong and "error[" not in done.stderr:
        wrong.append("no line that says why")
    lines = [line for line in done.stderr.splitlines() if "error[" in line]
    return [f"{', '.join(wrong)}: {words}: {lines[:1]}"] if wrong else []


def command_line(dice: random.Random, home: Path) -> tuple[list[str], bool]:
    """Return the words of a random command, and whether it is one that trains."""
    if dice.random() < 0.25:
        run = str(dice.choice([only_run(home), home / "runs", home, "nothing", "x" * 300, ""]))
        words = [dice.choice(COMMANDS), *([run] if dice.random() < 0.9 else [])]
        extra = [
            "--split",
            "validation",
            "--set",
            "--json",
            "--text",
            "x",
            "--output",
            "-3",
            "--data",
        ]
        return [*words, *dice.choices([*extra, *VALUES], k=dice.randrange(3))], False
    words = [*small_words(home), "trainer.max_steps=1", "logger=none", "test=false"]
    for _ in range(dice.randint(1, 3)):
        key = dice.choice(KEYS)
        if key.startswith("paths."):
            continue
        sign = dice.choice(["", "", "", "", "+", "++", "~"])
        words.append(f"{sign}{key}={dice.choice(VALUES)}")
    if dice.random() < 0.3:
        words.append(f"{dice.choice(GROUPS)}={dice.choice(NAMES)}")
    if dice.random() < 0.15:
        words.append("-m")
        words += ["search.trials=1", "search.confirm.top=0", "executor.workers=1"]
    dice.shuffle(words)
    return words, True


def small_words(home: Path) -> list[str]:
    files = [f"data.{split}_file={home}/{split}.csv" for split in ("train", "validation")]
    model = ["model=base", f"model.path={home}/model", "data.max_length=32"]
    return ["data=files", *files, *model, f"paths.runs={home}/runs/made", "trainer.num_threads=1"]


@pytest.mark.torture
def test_no_command_line_ends_otherwise_than_in_one_line(home: Path) -> None:
    before, wrong = files_of(home), []
    for number in range(FIRST, FIRST + int(os.environ.get("FUZZ_COUNT", "2000"))):
        words, is_training = command_line(random.Random(number), home)
        call = train if is_training else tunesmith
        wrong += told(lambda w=words, c=call: c(w, cwd=home, timeout=3 * SECONDS), [number, *words])
        shutil.rmtree(home / "runs" / "made", ignore_errors=True)
    assert files_of(home) == before
    assert not wrong, "\n".join(wrong)


# Directories


def mutate(dice: random.Random, run: Path) -> str:
    """Change something of a run's files; return what."""
    files = [path for path in run.rglob("*") if path.is_file() and path.suffix != ".log"]
    path = dice.choice(sorted(files))
    kind = dice.choice(
        ["bytes", "cut", "empty", "gone", "value", "value", "value", "link", "folder"]
    )
    if kind == "value" and path.suffix in (".json", ".yaml"):
        load, dump = (
            (json.loads, json.dumps) if path.suffix == ".json" else (yaml.safe_load, yaml.dump)
        )
        try:
            node = load(path.read_text())
        except (ValueError, yaml.YAMLError):  # it was changed before
            node = None
        place = _replace_one(dice, node)
        path.write_text(dump(node if place else dice.choice([7, [], "x", None])))
        return f"{path.name}: {place}"
    data = path.read_bytes()
    if kind == "cut":
        path.write_bytes(data[: dice.randrange(len(data) + 1)])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind in ("gone", "link", "folder"):
        path.unlink()
        if kind == "link":
            path.symlink_to(dice.choice(["/etc/passwd", "../../../outside", path.name]))
        elif kind == "folder":
            path.mkdir()
    else:
        changed = bytearray(data)
        for _ in range(dice.randint(1, 20)):
            if changed:
                changed[dice.randrange(len(changed))] = dice.randrange(256)
        path.write_bytes(bytes(changed))
    return f"{path.name}: {kind}"


def _replace_one(dice: random.Random, node: Any) -> str:
    """Replace one value in nested data, in place; return where."""
    odd = [None, -1, 10**30, "x", "../..", [], {}, [[[]]], "os.system", 1e308, True, "${x}", "\0"]
    path = []
    while isinstance(node, dict | list) and node:
        key = dice.choice(sorted(node) if isinstance(node, dict) else range(len(node)))
        path.append(str(key))
        if not isinstance(node[key], dict | list) or not node[key] or dice.random() < 0.2:
            if isinstance(node, dict) and dice.random() < 0.2:
                del node[key]
            else:
                node[key] = dice.choice(odd)
            return ".".join(path)
        node = node[key]
    return ""


@pytest.mark.torture
def test_no_directory_of_a_stranger_does_more_than_it_may(home: Path) -> None:
    original, wrong = only_run(home), []
    outside = home / "outside"
    for number in range(FIRST, FIRST + int(os.environ.get("FUZZ_COUNT", "500"))):
        dice = random.Random(10**6 + number)
        copy = home / "runs" / "strange" / original.name
        shutil.rmtree(copy.parent, ignore_errors=True)
        shutil.copytree(original, copy)
        what = [mutate(dice, copy) for _ in range(dice.randint(1, 2))]
        before = files_of(home)
        words = dice.choice(
            [
                ["predict", copy, "--text", "one two"],
                ["evaluate", copy, "--split", "validation"],
                ["show", copy],
                ["runs", copy.parent],
                ["train", f"resume={copy}", f"paths.runs={home}/runs"],
            ]
        )
        call = lambda w=words: tunesmith([*map(str, w)], cwd=home, timeout=3 * SECONDS)  # noqa: E731
        if words[0] == "train":
            if dice.random() < 0.7:
                (copy / "metrics.json").unlink(missing_ok=True)
            call = lambda w=words: train([*map(str, w[1:])], cwd=home, timeout=3 * SECONDS)  # noqa: E731
        wrong += told(call, [number, what, words[0]])
        assert files_of(home) == before
        assert not outside.exists()
    assert not wrong, "\n".join(wrong)
