"""Multi-label classification: scored is what was answered."""

import random
import sys

import numpy as np
import pytest
from sklearn import metrics as reference

from support.runs import SPLITS, lines, of_files, trained, without_a_model
from support.tiny_models import tiny_bert
from tunesmith import load
from tunesmith.errors import DataError
from tunesmith.inference.predict_file import predict_file
from tunesmith.tasks.losses import BinaryCrossEntropy
from tunesmith.tasks.multi_label import MultiLabel

LABELS = ["a", "b", "c"]


def rows_of(count, seed):
    """Make texts whose labels are words of theirs; some have none."""
    dice = random.Random(seed)
    given = [[label for label in LABELS if dice.random() < 0.5] for _ in range(count)]
    return [{"text": " ".join(["lo", *labels, "lo"]), "label": labels} for labels in given]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("labels")
    tiny_bert(folder / "model")
    for seed, split in enumerate(SPLITS):
        lines(folder / f"{split}.jsonl", rows_of(80, seed))
    own = ["optimizer.lr=1e-2", "trainer.max_epochs=4", "test=false", "logger=none"]
    directory, record = trained(folder, *of_files(folder, "multi_label", *own))
    assert record["best"] > 0.7
    return directory


@pytest.fixture
def task():
    return without_a_model(MultiLabel, LABELS, BinaryCrossEntropy(), threshold=0.5)


def test_a_label_at_the_threshold_is_given_and_scored_so(task):
    dice = random.Random(0)
    answers = [
        task._answer(np.array([dice.choice([0.1, 0.5, 0.9]) for _ in LABELS])) for _ in range(40)
    ]
    rows = [{"label": [label for label in LABELS if dice.random() < 0.5]} for _ in range(40)]
    given, wanted = ([task.label_of({"label": x}) for x in side] for side in _labels(answers, rows))
    scores = task.score(answers, rows)
    expected = {
        "exact_match": reference.accuracy_score(wanted, given),
        "f1_macro": reference.f1_score(wanted, given, average="macro"),
        "f1_micro": reference.f1_score(wanted, given, average="micro"),
        "auroc": reference.roc_auc_score(
            wanted, [list(a["probabilities"].values()) for a in answers]
        ),
    }
    assert {name: scores[name] for name in expected} == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_what_predict_writes_is_read_back_and_all_right(finished, tmp_path, suffix):
    lines(tmp_path / "in.jsonl", [{"text": row["text"]} for row in rows_of(20, 9)])
    stored, output = load(finished), tmp_path / f"out.{suffix}"
    predict_file(stored, tmp_path / "in.jsonl", output, sys.stdout)
    with pytest.raises(DataError, match=r"no column 'label'; columns: .*; --set data.label=labels"):
        stored.evaluate(data=str(output))
    again = load(finished, options={"data.label": "labels"}).evaluate(data=str(output))
    names = ("accuracy", "exact_match", "f1_macro", "f1_micro")
    assert [again[f"test/{name}"] for name in names] == [1.0] * 4


def test_the_threshold_of_a_finished_run_is_set_anew(finished):
    texts = [row["text"] for row in rows_of(20, 9)]
    usual, high = (load(finished, options={"task.threshold": t}) for t in (0.5, 0.9999))
    assert any(answer["labels"] for answer in usual.predict(texts))
    assert not any(answer["labels"] for answer in high.predict(texts))


def _labels(answers, rows):
    return [a["labels"] for a in answers], [row["label"] for row in rows]
