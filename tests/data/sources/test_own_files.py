"""Files of the exact shapes that published sets have: each trains as it comes.

Where a first command is refused, its message has the options that make the second one train.
"""

import json
import re
import shlex
from collections.abc import Iterable
from pathlib import Path

import pytest

from support.commands import make_inputs, only_run, train, tunesmith, use_inputs

WORDS = ("river", "stone", "market", "garden", "window", "letter", "bridge")
LABELS = ("ham", "spam")


def text(i: int) -> str:
    return f"{'awful' if i % 2 else 'lovely'} {WORDS[i % 7]} and {WORDS[i % 5]} of {WORDS[i % 3]}"


def table(rows: Iterable[list[str]], sep: str = "\t") -> str:
    return "".join(sep.join(row) + "\n" for row in rows)


def cola(i: int) -> list[str]:
    return [f"gj{i:02}", str(i % 2), "*" if i % 2 else "", f'"{text(i)}' if i % 9 == 0 else text(i)]


def sms(i: int) -> list[str]:
    return [LABELS[i % 2], f'"{text(i)}' if i % 7 == 0 else text(i)]


def sts(i: int) -> list[str]:
    extra = [f"source {i}"] * (i % 3)  # rows of seven to nine fields
    score, pair = str(1.25 + i % 5), [f"{text(i)} today", text(i + 2)]
    return ["main-news", "headlines", "2015", f"{i:04}", score, *pair, *extra]


def conllu(i: int) -> str:
    lines = [f"# sent_id = {i}", f"# text = {text(i)}", "1-2\tab" + "\t_" * 8]
    for n, word in enumerate(text(i).split()):
        tag = ("ADJ", "VERB")[i % 2] if n == 0 else "NOUN"
        lines.append(f"{n + 1}\t{word}\t{word}\t{tag}\tNN\t_\t0\troot\t_\t_")
    return "\n".join([*lines, "", ""])


def iob1(i: int) -> str:
    kind = ("LOC", "PER")[i % 2]
    lines = ["-DOCSTART- -X- O O", ""] if i % 5 == 0 else []
    for n, word in enumerate(text(i).split()):
        tag = {1: f"I-{kind}", 2: f"B-{kind}" if i % 4 == 0 else "O"}.get(n, "O")
        lines.append(f"{word} NN I-NP {tag}")
    return "\n".join([*lines, "", ""])


def emerging(i: int) -> str:
    words = [[word, "B-person" if word == "awful" else "O"] for word in text(i).split()]
    return table(words) + "\n"


def cloze(i: int) -> list[str]:
    choices = ["lovely", "awful"] if i % 2 else ["awful", "lovely"]
    return [f"{i}", text(i), *choices, str(2 - i % 2)]


ROWS = range(60)
PLAIN = [{"text": text(i), "label": LABELS[i % 2]} for i in ROWS]
EXCEL = "".join(f"{i};{text(i)};{LABELS[i % 2]};;\n" for i in ROWS)
CLASSES, TAGS = "classification", "token_classification"
SHAPES = {  # a file: its content, the task, options that say what the columns mean, the labels
    "train.tsv": (
        table([["sentence", "label"], *([text(i), str(i % 2)] for i in ROWS)]),
        *(CLASSES, "data.text=sentence", ["0", "1"]),
    ),
    "sst.tsv": (table([text(i), str(i % 2)] for i in ROWS), CLASSES, "", ["0", "1"]),
    "in_domain_train.tsv": (table(map(cola, ROWS)), CLASSES, "", ["0", "1"]),
    "SMSSpamCollection": (table(map(sms, ROWS)), CLASSES, "", ["ham", "spam"]),
    "train_5500.label": (
        "".join(f"{'DESC:manner' if i % 2 else 'NUM:dist'} {text(i)} ?\n" for i in ROWS),
        *(CLASSES, "", ["DESC:manner", "NUM:dist"]),
    ),
    "fasttext.train": (
        "".join(f"__label__{LABELS[i % 2]} {text(i)}\n" for i in ROWS),
        *(CLASSES, "", ["ham", "spam"]),
    ),
    "sts-train.csv": (table(map(sts, ROWS)), "regression", "", None),
    "en-ud-train.conllu": (
        "".join(map(conllu, ROWS)),
        *(TAGS, "data.tags=upos task.entities=false", ["ADJ", "NOUN", "VERB"]),
    ),
    "eng.train": ("".join(map(iob1, ROWS)), TAGS, "", ["B-LOC", "B-PER", "O"]),
    "emerging.test.annotated": ("".join(map(emerging, ROWS)), TAGS, "", ["B-person", "O"]),
    "cloze_spring2016.csv": (
        table([["id", "text", "a", "b", "answer"], *map(cloze, ROWS)], ","),
        *("multiple_choice", '"data.choices=[a,b]" data.label=answer', None),
    ),
    "excel.csv": (
        f"\ufeff\ufeffsep=;\nid;text;label;;\n{EXCEL};;;;\n;;;;\n",
        *(CLASSES, "", ["ham", "spam"]),
    ),
    "rows.json": (json.dumps(PLAIN, indent=1), CLASSES, "", ["ham", "spam"]),
    "wrapped.json": (json.dumps({"v": 1, "data": PLAIN}), CLASSES, "", ["ham", "spam"]),
    "semicolons.csv": (
        "text;label\n" + "".join(f"{text(i)}, and more;{LABELS[i % 2]}\n" for i in ROWS),
        *(CLASSES, "", ["ham", "spam"]),
    ),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    make_inputs(folder, train=8)
    return folder


def small_run(folder: Path, home: Path) -> list[str]:
    """Return the options of a run of two steps."""
    model = [word for word in use_inputs(folder) if word.startswith("model")]
    size = ["data.max_length=24", "data.batch_size=8", "trainer.max_steps=2"]
    plain = ["trainer.num_threads=1", "trainer.precision=32", "logger=none"]
    return [*model, *size, *plain, f"paths.runs={home}/runs"]


@pytest.mark.parametrize("name", SHAPES)
def test_a_published_file_trains_at_the_first_try_or_as_the_message_says(
    folder: Path, tmp_path: Path, name: str
) -> None:
    content, task, own, labels = SHAPES[name]
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    words = [
        *("data=files", f"task={task}", f"data.train_file={path}", "data.split.validation=0.3"),
        *small_run(folder, tmp_path),
        *shlex.split(own),
    ]
    done = train(words)
    if done.returncode:
        assert "error[DATA-COL]" in done.stderr, done.stderr
        said = r'data\.header=none "[^"]+"(?: data\.text_pair=text_pair)?'
        [fix] = re.findall(said, done.stderr)
        done = train([*words, *shlex.split(fix)])
    assert done.returncode == 0, done.stderr
    found = only_run(tmp_path) / "model" / "labels.json"
    assert (sorted(json.loads(found.read_text())) if found.exists() else None) == labels


@pytest.mark.parametrize(
    "name", ["SMSSpamCollection", "sts-train.csv", "en-ud-train.conllu", "excel.csv", "sst.tsv"]
)
def test_inspect_prints_a_command_that_trains(folder: Path, tmp_path: Path, name: str) -> None:
    content, _, _, labels = SHAPES[name]
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    done = tunesmith(["inspect", path])
    assert done.returncode == 0, done.stderr
    printed = done.stdout.splitlines()[-1]
    assert printed.startswith("tunesmith train data=files")
    again = train([*shlex.split(printed)[2:], *small_run(folder, tmp_path)])
    assert again.returncode == 0, again.stderr
    found = only_run(tmp_path) / "model" / "labels.json"
    assert (sorted(json.loads(found.read_text())) if found.exists() else None) == labels
