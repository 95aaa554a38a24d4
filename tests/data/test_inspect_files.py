"""What `tunesmith inspect` says of files: columns, labels, guesses, a command."""

import json
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from support.commands import tunesmith
from support.load_rows import write
from tunesmith.config import CONF
from tunesmith.data.inspect_files import command, summarize
from tunesmith.data.sources.file_layout import FileFormat

FORM = FileFormat()
DEFAULTS = OmegaConf.load(CONF / "data/files.yaml")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def csv(name: str, labels: list[str], text: str = "text", label: str = "label") -> Path:
    body = "".join(f"some words of row {i},{x}\n" for i, x in enumerate(labels))
    return Path(write(name, f"{text},{label}\n{body}"))


def test_columns_are_counted_and_described() -> None:
    records = [
        {"id": i, "body": f"a text of row {i}", "stars": i / 7, "tags": ["x", "y"][: i % 3]}
        for i in range(40)
    ]
    records[3]["body"] = ""
    write("t.jsonl", "".join(json.dumps(r) + "\n" for r in records))
    file = summarize(Path("t.jsonl"), FORM)
    body, tags = file.columns["body"], file.columns["tags"]
    assert (file.rows, body.kind, body.missing, set(body.words)) == (40, "text", 1, {5})
    assert (tags.kind, dict(tags.counts)) == ("list of texts", {"x": 26, "y": 13})
    assert file.columns["stars"].kind == "number"


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"sentence": "w w w", "polarity": "ab"}, "data.text=sentence data.label=polarity"),
        ({"text": "w w w", "label": "ab"}, ""),
        ({"text": "w w w", "score": "number"}, "task=regression data.label=score"),
        ({"text": "w w w", "label": "lists"}, "task=multi_label"),
        ({"tokens": "words", "ner_tags": "tags"}, "task=token_classification"),
        ({"w": "words", "pos": "plain tags"}, "task=token_classification data.words=w "
         "data.tags=pos task.entities=false"),
        ({"text": "w w w"}, "task=mlm"),
        ({"question": "w w", "context": "w w", "answers": "w"}, "task=question_answering"),
    ],
)  # fmt: skip
def test_the_command_names_the_task_and_the_columns(columns: dict[str, str], expected: str) -> None:
    cells = {
        "ab": lambda i: "ab"[i % 2],
        "number": lambda i: i * 1.37,
        "lists": lambda i: ["x", "y"][: i % 3],
        "words": lambda i: ["a", "b", f"c{i}"],
        "tags": lambda i: ["O", "B-x", "I-x"],
        "plain tags": lambda i: ["DET", "NOUN", "NOUN"],
    }
    rows = [
        {name: cells.get(kind, lambda i, k=kind: f"{k} {i}")(i) for name, kind in columns.items()}
        for i in range(30)
    ]
    if "score" in columns:  # a label by its name alone where its values never repeat
        rows = [{"text": row["text"], "label": row["score"]} for row in rows]
        expected = "task=regression"
    write("t.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    line = command([summarize(Path("t.jsonl"), FORM)], DEFAULTS)
    begin, end = "tunesmith train data=files data.train_file=t.jsonl", "data.split.validation=0.1"
    assert line == " ".join(part for part in (begin, expected, end) if part)


def test_files_of_several_splits_make_one_command() -> None:
    names = ("my train.csv", "dev.csv", "test.csv")
    files = [summarize(csv(name, ["x", "y"] * 5), FORM) for name in names]
    assert [file.split for file in files] == ["train", "validation", "test"]
    assert command(files, DEFAULTS, ["data.sep=,"]) == (
        "tunesmith train data=files data.sep=, 'data.train_file=my train.csv' "
        "data.validation_file=dev.csv data.test_file=test.csv"
    )


def test_the_command_line_prints_a_table_and_refuses_in_one_line() -> None:
    csv("t.csv", ["x", "y", "y"] * 3)
    done = tunesmith(["inspect", "t.csv"])
    assert done.returncode == 0
    assert "t.csv: csv, cells parted by ',', 9 rows, as train" in done.stdout
    assert "y 6, x 3" in done.stdout
    done = tunesmith(["inspect", "t.csv", "data.batch_size=3"])
    assert (done.returncode, done.stderr) == (
        2,
        "error[CONF-KEY] data.batch_size: does not say how a file is read; "
        "did you mean 'data.sep'?\n",
    )
    done = tunesmith(["inspect", "no.csv"])
    assert (done.returncode, done.stderr.startswith("error[DATA-404] no.csv")) == (3, True)
