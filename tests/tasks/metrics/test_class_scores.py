"""Scores of classes: those of scikit-learn, on odd answers too, in little memory."""

import time
import tracemalloc
import warnings

import numpy as np
import pytest
from sklearn import metrics as reference

from support.runs import without_a_model
from tunesmith.tasks.classification import Classification
from tunesmith.tasks.losses import BinaryCrossEntropy, CrossEntropy
from tunesmith.tasks.metrics import class_scores
from tunesmith.tasks.metrics.class_scores import Probabilities
from tunesmith.tasks.multi_label import MultiLabel

ODD = {
    "constant": lambda dice, n, c: (dice.integers(0, c, n), np.zeros(n, dtype=int)),
    "constant and rare": lambda dice, n, c: ((dice.random(n) < 0.05) * 1, np.zeros(n, dtype=int)),
    "one true class": lambda dice, n, c: (np.ones(n, dtype=int), dice.integers(0, c, n)),
    "all the same": lambda dice, n, c: (np.ones(n, dtype=int), np.ones(n, dtype=int)),
    "a class that nobody has": lambda dice, n, c: (dice.integers(1, c, n), dice.integers(1, c, n)),
    "a class never said": lambda dice, n, c: (dice.integers(0, c, n), dice.integers(1, c, n)),
    "all wrong": lambda dice, n, c: (np.zeros(n, dtype=int), np.ones(n, dtype=int)),
    "random": lambda dice, n, c: (dice.integers(0, c, n), dice.integers(0, c, n)),
}


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("classes", [2, 3, 7])
def test_odd_answers_score_as_in_scikit_learn(kind: str, classes: int) -> None:
    for seed in range(5):
        truths, guesses = ODD[kind](np.random.default_rng(seed), 40, classes)
        confusion = class_scores.confusion_matrix(truths, guesses, classes)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            f1 = reference.f1_score(truths, guesses, average="macro")
            mcc = reference.matthews_corrcoef(truths, guesses)
        assert confusion.tolist() == (
            reference.confusion_matrix(truths, guesses, labels=range(classes)).tolist()
        )
        assert class_scores.accuracy(confusion) == (truths == guesses).mean()
        assert class_scores.f1_macro(confusion) == pytest.approx(f1, abs=1e-12)
        assert class_scores.matthews(confusion) == pytest.approx(mcc, abs=1e-12)


def test_auroc_is_that_of_scikit_learn_ties_too_and_no_number_without_both_sides() -> None:
    for seed in range(8):
        dice = np.random.default_rng(seed)
        truths = np.concatenate([np.arange(3), dice.integers(0, 3, 60)])
        scores = dice.integers(1, 5, (63, 3)) / 1.0
        scores /= scores.sum(1, keepdims=True)
        expected = reference.roc_auc_score(truths, scores, multi_class="ovr")
        found = class_scores.auroc(scores, np.eye(3, dtype=bool)[truths])
        assert found == pytest.approx(expected, abs=1e-12)
    assert np.isnan(class_scores.auroc(scores, np.eye(3, dtype=bool)[np.zeros(63, dtype=int)]))


def test_labels_that_nobody_has_count_as_in_scikit_learn() -> None:
    dice = np.random.default_rng(0)
    truths, guesses = dice.random((30, 4)) < 0.3, dice.random((30, 4)) < 0.3
    truths[:, 3] = guesses[:, 3] = False
    for average, found in (
        ("macro", class_scores.f1_per_label(truths, guesses).mean()),
        ("micro", class_scores.f1_micro(truths, guesses)),
    ):
        expected = reference.f1_score(truths, guesses, average=average, zero_division=0)
        assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("kind", ["one label", "several"])
def test_a_thousand_classes_and_twenty_thousand_rows_need_little(kind: str) -> None:
    """Two gigabytes and ten seconds are the most that a validation of this size may take."""
    count, rows_count = 1000, 20_000
    labels = [f"class {i}" for i in range(count)]
    dice = np.random.default_rng(0)
    tracemalloc.start()
    begun = time.monotonic()
    if kind == "one label":
        task = without_a_model(Classification, labels, CrossEntropy())
        rows = [{"label": labels[i % count]} for i in range(rows_count)]
    else:
        task = without_a_model(MultiLabel, labels, BinaryCrossEntropy(), threshold=0.5)
        rows = [{"label": [labels[i % count], labels[-1]]} for i in range(rows_count)]
    logits = dice.standard_normal((rows_count, count), dtype=np.float32) - 3
    answers = task.aggregate([[row] for row in logits], rows)
    scores = task.score(answers, rows)
    seconds, peak = time.monotonic() - begun, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert set(scores) >= {"accuracy", "f1_macro", "f1_micro", "auroc"}
    assert peak < 2e9
    assert seconds < 20  # half of it and less where nothing else runs and no memory is traced


def test_a_view_of_probabilities_is_a_mapping() -> None:
    view = Probabilities({"a": 0, "b": 1}, np.array([0.25, 0.75], dtype=np.float32))
    assert view == {"a": 0.25, "b": 0.75}
    assert (list(view), view["b"], repr(view)) == (["a", "b"], 0.75, "{'a': 0.25, 'b': 0.75}")
    assert class_scores.matrix_of([view, {"a": 1.0, "b": 0.0}]).tolist() == [[0.25, 0.75], [1, 0]]
