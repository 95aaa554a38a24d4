"""Multi-label classification: scored is what was answered."""

import random

import numpy as np
import pytest
from sklearn import metrics as reference

from support.runs import without_a_model
from tunesmith.tasks.losses import BinaryCrossEntropy
from tunesmith.tasks.multi_label import MultiLabel

LABELS = ["a", "b", "c"]


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


def _labels(answers, rows):
    return [a["labels"] for a in answers], [row["label"] for row in rows]
