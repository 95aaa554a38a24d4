"""The scores of tasks that give a text one label: those of scikit-learn."""

import numpy as np
import pytest
from sklearn import metrics as reference

from tunesmith.tasks.classification import Classification
from tunesmith.tasks.losses import CrossEntropy


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("count", [2, 5])
def test_scores_are_those_of_the_reference(seed: int, count: int) -> None:
    labels = [f"label {i}" for i in range(count)]
    task = Classification(
        model=None, tokenizer=None, labels=labels, max_length=8, truncation="right",
        loss=CrossEntropy(),
    )  # fmt: skip
    dice = np.random.default_rng(seed)
    truths = np.concatenate([np.arange(count), dice.integers(0, count, 40)])
    logits = dice.normal(size=(len(truths), count)) + 2 * np.eye(count)[truths] * (seed % 3)
    rows = [{"label": labels[i]} for i in truths]
    answers = task.aggregate([[row.astype(np.float32)] for row in logits], rows)
    given = [labels.index(answer["label"]) for answer in answers]
    assert given == logits.argmax(1).tolist()
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    several = {"multi_class": "ovr"} if count > 2 else {}
    wanted = {
        "accuracy": reference.accuracy_score(truths, given),
        **({"f1": reference.f1_score(truths, given)} if count == 2 else {}),
        "f1_macro": reference.f1_score(truths, given, average="macro"),
        "f1_micro": reference.f1_score(truths, given, average="micro"),
        "mcc": reference.matthews_corrcoef(truths, given),
        "auroc": reference.roc_auc_score(truths, shares if several else shares[:, 1], **several),
    }
    assert task.score(answers, rows) == pytest.approx(wanted, abs=1e-5)
    assert task.confusion(answers, rows).tolist() == (
        reference.confusion_matrix(truths, given, labels=range(count)).tolist()
    )
