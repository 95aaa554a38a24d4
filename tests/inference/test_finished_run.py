"""A finished run in use: what it predicts and scores, and what it refuses to."""

import csv
import io
import json
import os
import re
import shutil

import numpy as np
import pytest
from datasets import Dataset

from support.commands import csv_file, only_run, small, train, tunesmith
from tunesmith import load
from tunesmith.data.lazy_rows import LazyRows
from tunesmith.errors import ConfigError, DataError, ModelError
from tunesmith.inference import predict_file


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("stored")


@pytest.fixture(scope="module")
def run(folder):
    own = ["data.train_file=${oc.env:ROWS_OF_THIS_TEST}/train.csv", "callbacks.figures=false"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROWS_OF_THIS_TEST", str(folder))
        done = train([*small(folder), "trainer.max_epochs=1", *own])
    assert done.returncode == 0, done.stderr[-3000:]
    return only_run(folder)


@pytest.fixture(scope="module")
def stored(run):
    return load(run)


def changed(run, place, pattern, value):
    """Copy a run and change a line of its config."""
    shutil.copytree(run, place)
    path = place / "config.yaml"
    text, count = re.subn(pattern, value, path.read_text())
    assert count == 1
    path.write_text(text)
    return place


def lines_of(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def answered(stored, source, output):
    predict_file.predict_file(stored, source, output, io.StringIO())
    with output.open(newline="") as file:
        if output.suffix == ".jsonl":
            return [json.loads(line) for line in file]
        return list(csv.DictReader(file))


# Predictions for a file


UNEQUAL = [
    {"id": 1, "text": "lovely"},
    {"text": "awful", "id": 2},
    {"text": "lovely", "label": "true label", "note": {"by": "me"}, "id": 3, "tags": ["a", "b"]},
]


def test_rows_with_other_keys_stay_in_their_columns(stored, tmp_path):
    rows = answered(stored, lines_of(tmp_path / "in.jsonl", UNEQUAL), tmp_path / "out.csv")
    answer = ["predicted_label", "probabilities:neg", "probabilities:pos"]
    assert list(rows[0]) == ["id", "text", "label", "note", "tags", *answer]
    assert [row["id"] for row in rows] == ["1", "2", "3"]
    assert [row["label"] for row in rows] == ["", "", "true label"]
    assert rows[2]["note"] == '{"by": "me"}' and rows[2]["tags"] == '["a", "b"]'
    assert {row["predicted_label"] for row in rows} <= {"neg", "pos"}


def test_the_answer_has_one_name_in_every_json_line(stored, tmp_path):
    rows = answered(stored, lines_of(tmp_path / "in.jsonl", UNEQUAL), tmp_path / "out.jsonl")
    assert [row.get("label") for row in rows] == [None, None, "true label"]
    assert all({"predicted_label", "probabilities"} <= row.keys() for row in rows)


def test_bytes_of_files_are_not_written(stored, tmp_path):
    image = {"bytes": b"P6 1 1 255", "path": "0.ppm"}
    given = Dataset.from_list([{"text": "lovely", "photos": [image], "raw": b"P6"}])
    given.to_parquet(tmp_path / "in.parquet")
    [row] = answered(stored, tmp_path / "in.parquet", tmp_path / "out.jsonl")
    assert row["photos"] == [{"bytes": None, "path": "0.ppm"}] and row["raw"] is None
    [row] = answered(stored, tmp_path / "in.parquet", tmp_path / "out.csv")
    assert row["photos"] == '[{"bytes": null, "path": "0.ppm"}]' and row["raw"] == ""


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_predicting_an_output_again_overwrites_nothing(stored, tmp_path, suffix):
    (tmp_path / "0.csv").write_text("id,text\n1,lovely\n2,awful\n")
    before = answered(stored, tmp_path / "0.csv", tmp_path / f"1.{suffix}")
    before = [{**row, "predicted_label": "mine"} for row in before]
    if suffix == "jsonl":
        lines_of(tmp_path / "1.jsonl", before)
    else:
        with (tmp_path / "1.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, before[0].keys())
            writer.writeheader()
            writer.writerows(before)
    after = answered(stored, tmp_path / f"1.{suffix}", tmp_path / f"2.{suffix}")
    assert [{key: row[key] for key in before[0]} for row in after] == before
    assert {"predicted_label_2"} < after[0].keys() - before[0].keys()


def test_a_row_without_the_text_is_told_before_anything_is_predicted(stored, tmp_path, monkeypatch):
    source = lines_of(tmp_path / "in.jsonl", [{"text": "a"}, {"text": "b"}, {"body": "c"}])
    monkeypatch.setattr(type(stored), "predict_stream", None)
    with pytest.raises(DataError, match=r":3: no column 'text'; columns: body"):
        predict_file.predict_file(stored, source, tmp_path / "out.csv", io.StringIO())
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ("x.parquet", "unknown extension '.parquet'; .csv, .tsv, .jsonl, .ndjson, .json"),
        ("x", "unknown extension ''; .csv"),
        (".", "is a folder; name a file in it"),
        ("folder.csv", "is a folder; name a file in it"),
        ("nowhere/x.csv", "no folder nowhere"),
    ],
)
def test_an_output_that_cannot_be_is_refused_at_once(tmp_path, monkeypatch, output, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(ConfigError) as caught:
        predict_file.check_output(predict_file.Path(output))
    assert str(caught.value).startswith(f"error[CLI] --output {output}: {says}")


def test_several_and_nested_columns_are_read_as_one_text(run, tmp_path):
    nested = load(changed(run, tmp_path / "nested", "  text: text\n", "  text: [doc.a, doc.b]\n"))
    good = [{"id": n, "doc": {"a": "ba", "b": "lovely"}} for n in range(2)]
    source = lines_of(tmp_path / "in.jsonl", [*good, {"id": 2, "doc": None}])
    found = answered(nested, source, tmp_path / "out.jsonl")
    assert [row["id"] for row in found] == [0, 1, 2] and found[0]["doc"] == good[0]["doc"]
    texts = load(run).predict(["ba lovely", "ba lovely", ""])
    assert [row["label"] for row in found] == [answer["label"] for answer in texts]
    assert found[0]["probabilities"] == pytest.approx(texts[0]["probabilities"])
    lines_of(source, [*good, {"id": 2, "doc": {"a": "x", "c": "y"}}])
    says = r":3: no column 'doc.b'; columns: id, doc, doc.a, doc.c; did you mean 'doc.c'\?"
    with pytest.raises(DataError, match=says):
        predict_file.predict_file(nested, source, tmp_path / "out.jsonl", io.StringIO())


# Rows given in Python


def test_one_row_is_no_list_of_rows(stored):
    for rows in ("ba da", {"text": "ba da"}, b"ba"):
        with pytest.raises(TypeError, match=r"predict takes a list of rows, and this is one"):
            stored.predict(rows)


def test_a_row_is_a_text_its_values_or_a_mapping(stored):
    rows = ["lovely", ["lovely"], {"text": "lovely", "id": 3}, np.array(["lovely"])]
    answers = stored.predict(iter(rows))
    assert len(answers) == 4 and all(answer == answers[0] for answer in answers)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"sentence": "x"}, "no 'text'; columns: sentence; the run reads text"),
        ({}, "no 'text'; columns: none; the run reads text"),
        (None, "is a NoneType, not a text, values or a mapping; the run reads text"),
        (3, "is a int, not a text, values or a mapping; the run reads text"),
        (["a", "b"], "2 values; the run reads text"),
        ([], "0 values; the run reads text"),
        ({"text": "a", "text_pair": "b"}, "has 'text_pair'; the run was trained on text alone"),
        ({"text": {}}, "text is a dict, not a text"),
        ("a\ud800", "text holds half a character (a lone surrogate)"),
    ],
)
def test_a_row_of_another_shape_is_refused_with_what_is_there(stored, row, says):
    with pytest.raises(DataError) as caught:
        stored.predict(["lovely", row])
    assert str(caught.value).partition("] ")[2] == f"row 2: {says}"


def test_a_run_on_pairs_takes_pairs(run, tmp_path):
    pairs = load(changed(run, tmp_path / "pairs", "text_pair: null", "text_pair: second"))
    assert len(pairs.predict([("a", "b"), {"text": "a", "text_pair": "b"}])) == 2
    for row in ("a", {"text": "a"}):
        with pytest.raises(DataError, match="the run reads text, text_pair"):
            pairs.predict([row])


# Scores


def test_texts_that_no_score_needs_are_not_read_into_memory(stored, monkeypatch):
    read, value = set(), LazyRows.value

    def noted(rows, name, index):
        read.update({name} & set(rows.names))
        return value(rows, name, index)

    monkeypatch.setattr(LazyRows, "value", noted)
    stored.evaluate("validation")
    assert read == {"label"}


def test_the_train_split_is_scored_under_its_name(stored, folder):
    scores = stored.evaluate("train")
    assert {name.partition("/")[0] for name in scores} == {"train"}
    same = stored.evaluate(data=str(folder / "train.csv"))
    assert scores["train/loss"] == same["test/loss"]


def test_a_run_is_scored_where_the_variable_that_named_its_rows_is_gone(stored, folder):
    assert "ROWS_OF_THIS_TEST" not in os.environ
    assert stored.config.data.train_file == f"{folder}/train.csv"
    assert stored.evaluate("train")


def test_a_split_and_a_file_are_not_both_scored(stored, folder):
    with pytest.raises(ConfigError, match="one of them is scored; leave out the split"):
        stored.evaluate("validation", str(folder / "test.csv"))


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_rows_that_were_changed_are_not_scored_as_the_runs_own(stored, folder, split):
    path = folder / f"{split}.csv"
    before = path.read_text()
    header, *rows = before.splitlines()
    try:
        path.write_text("\n".join([header, *reversed(rows)]) + "\n")
        stored.evaluate(split)  # the same rows in another order
        path.write_text(before.replace(",pos", ",neg", 1))
        with pytest.raises(DataError) as caught:
            stored.evaluate(split)
    finally:
        path.write_text(before)
    assert (caught.value.code, caught.value.exit_code) == ("DATA-CHANGED", 3)
    assert caught.value.fix == "--data FILE scores other rows"


def test_every_look_at_the_test_rows_is_counted(run, folder, tmp_path, caplog):
    uses = folder / "runs/test_uses.jsonl"
    before = uses.read_text().splitlines()
    shutil.copy(folder / "test.csv", tmp_path / "renamed.csv")
    stored = load(run)
    stored.evaluate()
    stored.evaluate(data=str(tmp_path / "renamed.csv"))
    stored.evaluate(data=str(csv_file(tmp_path / "more.csv", 12, seed=9)))
    stored.evaluate("validation")
    after = [json.loads(line)["data"] for line in uses.read_text().splitlines()]
    assert len(after) == len(before) + 2
    assert len(set(after)) == 1  # with that of the training
    assert f"test set used {len(after)} times" in caplog.text


def test_a_copy_elsewhere_writes_nothing_beside_it(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "models/best")
    files = {path for path in tmp_path.rglob("*")}
    load(copy).evaluate("validation")
    assert {path for path in tmp_path.rglob("*")} == files


def test_a_run_in_half_precision_is_used_without_a_gpu(run, tmp_path, caplog):
    half = changed(run, tmp_path / "half", r"\bprecision: .*", "precision: 16-mixed")
    assert load(half).predict(["lovely"])[0]["label"] in ("neg", "pos")
    assert "trainer.precision=16-mixed: needs a GPU; used with 32" in caplog.text


def test_a_run_of_another_format_is_refused_in_one_line(run, tmp_path):
    place = shutil.copytree(run, tmp_path / "other")
    known = json.loads((place / "environment.json").read_text())
    for version in ({"format": known["format"] + 1}, {}):
        own = {name: value for name, value in known.items() if name != "format"}
        (place / "environment.json").write_text(json.dumps(own | version))
        with pytest.raises(ModelError) as caught:
            load(place)
        number = version.get("format")
        assert str(caught.value) == (
            f"error[RUN] {place}: is a run of format {number}, this version reads format "
            f"{known['format']}; train it again"
        )


def test_a_finished_run_is_scored_without_a_trainer(stored, run, monkeypatch):
    for name in ("fit", "validate", "test"):
        monkeypatch.setattr(f"lightning.Trainer.{name}", None)
    logged = json.loads((run / "metrics.json").read_text())["scores"]
    scores = stored.evaluate("validation")
    assert scores == {k: v for k, v in logged.items() if k.startswith("val/")}


OWN_TASK = """
from typing import Annotated, Any, ClassVar
from annotated_types import Ge, Lt
from tunesmith.tasks.capabilities import Generates
from tunesmith.tasks.multi_label import MultiLabel

class Mine(MultiLabel, Generates):
    inference_options: ClassVar = ("margin",)

    def __init__(self, *, margin: Annotated[float, Ge(0), Lt(1)], **common: Any) -> None:
        super().__init__(**common)
        self.threshold = margin

    def generated_examples(self, answers, rows):
        return []
"""


def test_set_changes_an_option_of_a_task_of_the_users_own(tmp_path, monkeypatch):
    (tmp_path / "own_task.py").write_text(OWN_TASK)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    own = ["task=multi_label", "task._target_=own_task.Mine", "trust=[own_task]"]
    own += ["+task.margin=0.5", "loss.class_weights=none", "trainer.max_epochs=1"]
    done = train([*small(tmp_path), *own])
    assert done.returncode == 0, done.stderr[-3000:]
    options = {"trust": ["own_task"], "options": {"task.margin": 0}}
    assert len(load(only_run(tmp_path), **options).predict(["lovely"])[0]["labels"]) == 2
    command = ["predict", only_run(tmp_path), "--text", "lovely", "--trust", "own_task", "--set"]
    done = tunesmith([*command, "task.margin=0"])
    assert len(json.loads(done.stdout)["labels"]) == 2, done.stderr
    done = tunesmith([*command, "task.margin=1"])
    assert done.returncode == 2
    assert done.stderr == "error[CONF-RANGE] task.margin=1: must be a number >= 0 and < 1\n"
