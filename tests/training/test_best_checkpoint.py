"""Which validation is best, and when a run has waited long enough."""

from types import SimpleNamespace

import pytest

from tunesmith.training.checkpoint_callback import CheckpointCallback
from tunesmith.training.evaluation import Evaluation


def judged(scores, mode="max", **options):
    """Let a run see these scores, one a step; return its checkpoints and what it had waited."""
    checkpoints = CheckpointCallback("unused", monitor="val/x", mode=mode, **options)
    trainer = SimpleNamespace(global_step=0, loggers=[])
    waited = []
    for step, score in enumerate(scores, start=1):
        trainer.global_step = step
        module = SimpleNamespace(
            scores={"val/x": score, "val/loss": 0.0},
            evaluation=Evaluation({}, [], []),
            task=None,
            batch_loss=None,
            write=lambda metrics, step: None,
        )
        checkpoints._judge(trainer, module)
        waited.append(checkpoints.waited)
    return checkpoints, waited


@pytest.mark.parametrize("min_delta", [0.0, 0.5])
def test_the_best_is_the_best_however_little_it_is_better(min_delta):
    checkpoints, _ = judged([0.60, 0.62, 0.61, 0.6201], min_delta=min_delta)
    assert (checkpoints.best_step, checkpoints.best) == (4, 0.6201)
    lowest, _ = judged([0.60, 0.59, 0.61], mode="min", min_delta=min_delta)
    assert (lowest.best_step, lowest.best) == (2, 0.59)


def test_waiting_ends_only_with_a_gain_of_min_delta():
    _, waited = judged([0.60, 0.62, 0.64, 0.66, 0.66], min_delta=0.05)
    assert waited == [0, 1, 2, 0, 1]


def test_a_tie_or_no_number_is_no_gain():
    checkpoints, waited = judged([0.5, float("nan"), 0.5])
    assert (checkpoints.best_step, waited) == (1, [0, 1, 2])
