"""An answer that is the same for every row is known as such, whatever kind of answer it is."""

from types import SimpleNamespace

import numpy as np
import pytest
from datasets import Dataset

from support.runs import without_a_model
from tunesmith.pipeline.hints import hints
from tunesmith.reporting.trial_results import COLLAPSE, DIVERGED, Validation
from tunesmith.search.worker.run_segment import _failure
from tunesmith.tasks.base import Task
from tunesmith.tasks.classification import Classification
from tunesmith.tasks.losses import BinaryCrossEntropy, CrossEntropy, MeanSquaredError
from tunesmith.tasks.multi_label import MultiLabel
from tunesmith.tasks.multiple_choice import MultipleChoice
from tunesmith.tasks.question_answering import QuestionAnswering
from tunesmith.tasks.regression import Regression
from tunesmith.tasks.token_classification import TokenClassification
from tunesmith.training.checkpoint_callback import _is_constant
from tunesmith.training.evaluation import Evaluation


def bare(kind: type[Task], **values) -> Task:
    """Make a task without what it is made of: it is asked about its answers alone."""
    task = kind.__new__(kind)
    task.__dict__ |= values
    return task


ANSWERS = {
    "a label": (Classification, "label", ["a", "b"], ["a", "a"], ["a", "b"]),
    "labels": (MultiLabel, "label", [["a"], ["b"]], [["a", "b"]] * 2, [["a"], []]),
    "no label": (MultiLabel, "label", [["a"], ["b"]], [[], []], [["a"], []]),
    "a number": (Regression, "label", [1.0, 9.0], [4.0, 4.001], [4.0, 4.5]),
    "tags": (
        TokenClassification, "tags", [["O", "B-x"], ["O"]], [["O", "O"], ["O"]], [["O"], ["B-x"]],
    ),
    "a choice": (MultipleChoice, "label", [0, 1], [1, 1], [1, 0]),
    "a text": (QuestionAnswering, "answers", [[{"text": "x"}], []], ["", ""], ["", "x"]),
}  # fmt: skip


@pytest.mark.parametrize("kind", ANSWERS)
def test_one_answer_for_all_rows_is_seen(kind: str) -> None:
    cls, column, truths, same, different = ANSWERS[kind]
    task, rows = bare(cls), [{column: truth} for truth in truths]

    def evaluated(given, rows=rows) -> Evaluation:
        return Evaluation({}, [{cls.decision: value} for value in given], rows)

    assert _is_constant(task, evaluated(same))
    assert not _is_constant(task, evaluated(different))
    assert not _is_constant(task, evaluated(same, [rows[0], rows[0]]))  # so are the labels


def ended(*validations, monitor: str = "val/f1", mode: str = "max") -> SimpleNamespace:
    """Make what a run's checkpoints know at its end: (score, loss, constant) every ten steps."""
    history = [
        {"step": 10 * n, "score": score, "loss": loss, "constant": constant}
        for n, (score, loss, constant) in enumerate(validations, start=1)
    ]
    sign = 1 if mode == "max" else -1
    best = max(history, key=lambda entry: sign * entry["score"])["step"]
    return SimpleNamespace(history=history, best_step=best, monitor=monitor, mode=mode)


def config_of(lr=2e-5, warmup=0.1, steps=None, optimizer="torch.optim.AdamW", adapt="full", **task):
    trainer = SimpleNamespace(max_epochs=2 if steps is None else None, max_steps=steps)
    return SimpleNamespace(
        trainer=trainer,
        scheduler={"warmup": warmup},
        optimizer={"_target_": optimizer, "lr": lr},
        adapt={"_target_": f"tunesmith.training.adapt.x.{adapt}"},
        task=task,
    )


SAME = [(0.5, 0.69, True), (0.5, 0.68, True)]
WORSE = [(0.5, 0.69, True), (0.5, 1.3, True)]
FORGOT = [(0.8, 0.5, False), (0.5, 0.45, True)]
CLIMBS = [(0.6120, 0.5, False), (0.7004, 0.4, False)]


@pytest.mark.parametrize(
    ("config", "checkpoints", "said"),
    [
        (config_of(), ended(*SAME), "every row has the same answer at step 20; try trainer."),
        (config_of(steps=20), ended(*SAME), "same answer at step 20; try trainer.max_steps=80"),
        (config_of(lr=1e-12), ended(*SAME), "at step 20; try optimizer.lr=1e-11"),
        (config_of(lr=1e-3), ended(*WORSE), "at step 20; try optimizer.lr=1e-4"),
        (config_of(lr=0.5), ended(*SAME), "at step 20; try optimizer.lr=0.05"),
        (config_of(1e-2, optimizer="torch.optim.SGD"), ended(*SAME), "20; try trainer.max_epoch"),
        (config_of(1e-2, adapt="frozen"), ended(*SAME), "at step 20; try trainer.max_epochs=8"),
        (config_of(2e-4, 0), ended(*FORGOT), "try optimizer.lr=2e-5 scheduler.warmup=0.1"),
        (
            config_of(),
            ended(*CLIMBS),
            "val/f1 still improved at the end, 0.6120 to 0.7004; try trainer.max_epochs=4",
        ),
        (config_of(), ended(*CLIMBS[::-1]), None),
        (config_of(), ended((0.7, 0.5, False), (0.701, 0.4, False)), None),
        (config_of(), ended((0.7, 0.5, False), (1.0, 0.4, False)), None),
        (config_of(), ended((3.0, 0.5, False), (2.0, 0.4, False), mode="min"), "2.0000; try"),
    ],
)  # fmt: skip
def test_the_end_of_a_run_names_the_override_to_try(config, checkpoints, said) -> None:
    found = hints(config, checkpoints, [], 20)
    assert len(found) == (said is not None) and (said is None or said in found[0])


def test_a_threshold_that_no_label_reaches_is_named() -> None:
    answers = [{"labels": [], "probabilities": {"a": 0.1, "b": p}} for p in (0.31, 0.2)]
    [said] = hints(config_of(threshold=0.5), ended(*SAME), answers, 20)
    assert said == (
        "every answer is empty: no label reaches task.threshold=0.5, the highest is 0.31 "
        "(evaluate and predict --set task.threshold=0.29); try trainer.max_epochs=8"
    )


@pytest.mark.parametrize(("rare", "weights"), [(0.5, "none"), (0.05, "none"), (0.05, "inverse")])
def test_the_loss_of_guessing_is_that_of_the_best_constant(rare: float, weights: str) -> None:
    task = without_a_model(Classification, ["no", "yes"], CrossEntropy(class_weights=weights))
    rows = [{"label": "yes" if i < rare * 200 else "no"} for i in range(200)]
    train = {"label": [row["label"] for row in rows]}
    task.weigh_classes(train)
    shares = [1 - rare, rare] if weights == "none" else [0.5, 0.5]
    by_shares, by_no_idea = task.guessing_loss(train, rows)
    assert by_shares == pytest.approx(-np.dot(shares, np.log(shares)), abs=1e-5)
    assert by_no_idea == pytest.approx(np.log(2), abs=1e-5)


def test_the_loss_of_guessing_several_labels_and_numbers() -> None:
    several = without_a_model(MultiLabel, ["a", "b"], BinaryCrossEntropy(), threshold=0.5)
    rows = [{"label": ["a"] if i < 10 else []} for i in range(100)]
    by_shares, by_no_idea = several.guessing_loss({"label": [row["label"] for row in rows]}, rows)
    one_in_ten = -(0.1 * np.log(0.1) + 0.9 * np.log(0.9))
    assert by_shares == pytest.approx(one_in_ten / 2, abs=1e-4)  # nothing is to be told of b
    assert by_no_idea == pytest.approx(np.log(2), abs=1e-5)
    number = without_a_model(Regression, None, MeanSquaredError(), standardize=True)
    train = {"label": [1.7e9, 1.7e9 + 30, 1.7e9 + 60]}
    number.fit_statistics(train)
    rows = [{"label": label} for label in train["label"]]
    assert number.guessing_loss(train, rows) == pytest.approx((1.0, 1.0))


@pytest.mark.parametrize(
    ("loss", "constant", "expected"),
    [
        (0.69, True, COLLAPSE),  # far from what 5% of a class leave to guess, 0.2
        (0.20, True, COLLAPSE),
        (0.12, True, None),  # it ranks the rows: only no answer passes one half yet
        (1.50, True, DIVERGED),
        (0.69, False, None),
    ],
)
def test_collapse_is_one_answer_at_the_loss_of_guessing(loss, constant, expected) -> None:
    task = without_a_model(Classification, ["no", "yes"], CrossEntropy())
    rows = [{"label": "yes" if i < 10 else "no"} for i in range(200)]
    train = {"label": [row["label"] for row in rows]}
    history = [
        Validation(step=1, score=0.0, loss=loss, train_loss=0.01, constant=constant),
    ]
    module = SimpleNamespace(task=task, rows={"validation": Dataset.from_list(rows)})
    training = SimpleNamespace(module=module)
    inputs = SimpleNamespace(rows=SimpleNamespace(splits={"train": train}))
    assert _failure(history, training, inputs) == expected
