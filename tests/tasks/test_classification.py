"""Classification: its scores are those of scikit-learn; what is no number is said."""

import json
import random

import numpy as np
import pytest
from sklearn import metrics as reference

from support.commands import only_run, small
from support.runs import composed, without_a_model
from support.tiny_models import sentences
from tunesmith.cli import main
from tunesmith.errors import DataError
from tunesmith.pipeline.train import train as run
from tunesmith.reporting.terminal.cells import scores as shown
from tunesmith.tasks.bases.single_label import answer
from tunesmith.tasks.classification import Classification
from tunesmith.tasks.losses import CrossEntropy


def task_of(labels):
    return without_a_model(Classification, labels, CrossEntropy())


def guessed(task, count, dice):
    """Make probabilities at random, and rows of which most labels are the likeliest one."""
    labels = list(task.label_to_id)
    answers = [
        answer(task.label_to_id, np.array([dice.random() for _ in labels])) for _ in range(count)
    ]
    rows = [{"label": a["label"] if dice.random() < 0.6 else dice.choice(labels)} for a in answers]
    return answers, rows


@pytest.mark.parametrize("labels", [["no", "yes"], ["b", "a"], list("xyz"), list("vwxyz")])
def test_scores_are_those_of_scikit_learn(labels):
    task, dice = task_of(labels), random.Random(0)
    for _ in range(10):
        answers, rows = guessed(task, dice.randint(20, 60), dice)
        scores = task.score(answers, rows)
        given, wanted = [a["label"] for a in answers], [row["label"] for row in rows]
        expected = {
            "accuracy": reference.accuracy_score(wanted, given),
            "f1_macro": reference.f1_score(wanted, given, average="macro"),
            "f1_micro": reference.f1_score(wanted, given, average="micro"),
            "mcc": reference.matthews_corrcoef(wanted, given),
        }
        if len(labels) == 2:  # of the second, however they are sorted
            expected["f1"] = reference.f1_score(wanted, given, pos_label=labels[1])
        assert {k: scores[k] for k in expected} == pytest.approx(expected, abs=1e-6)
        assert ("f1" in scores) == (len(labels) == 2)
        assert ("f1" in task.undefined_metrics({"label": wanted})) == (len(labels) > 2)


def test_a_label_that_nobody_gave_or_wanted_has_an_f1_of_0():
    task = task_of(["no", "yes"])
    assert (
        task.score([answer(task.label_to_id, np.array([0.9, 0.1]))] * 3, [{"label": "no"}] * 3)[
            "f1"
        ]
        == 0
    )


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """Make files of three labels; return the overrides of a short run on them."""
    folder = tmp_path_factory.mktemp("three")
    words = small(folder)
    for seed, split in enumerate(("train", "validation", "test")):
        rows = [f"{text},{'xyz'[i % 3]}" for i, text in enumerate(sentences(24, seed=seed))]
        (folder / f"{split}.csv").write_text("\n".join(["text,label", *rows]))
    return folder, [*words, "trainer.max_steps=2", "logger=none"]


def test_the_f1_of_two_labels_is_no_score_of_three(three, capsys):
    folder, words = three
    run(composed(*words))
    directory = only_run(folder)
    metrics = json.loads((directory / "metrics.json").read_text())
    assert not {"val/f1", "test/f1"} & set(metrics["scores"])
    assert "f1" not in shown(metrics)
    assert {"accuracy", "f1_macro"} < set(shown(metrics))
    ours = {name: v for name, v in metrics["scores"].items() if name.startswith("val/")}
    command = ["evaluate", str(directory), "--split", "validation"]
    capsys.readouterr()
    main._command([*command, "--json"])
    assert json.loads(capsys.readouterr().out) == ours
    main._command(command)
    named = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert named == sorted(ours)


def test_the_f1_of_two_labels_cannot_say_which_of_three_is_best(three):
    _, words = three
    with pytest.raises(DataError) as caught:
        run(composed(*words, "callbacks.checkpoint.monitor=val/f1"))
    assert str(caught.value) == (
        "error[DATA-LABEL] validation: 3 labels, not two: val/f1 is not defined; "
        "set callbacks.checkpoint.monitor, for example val/loss"
    )
