"""Which validation is best, and when a run has waited long enough."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from tunesmith.training.checkpoint_callback import CheckpointCallback
from tunesmith.training.evaluation import Evaluation


def judged(scores, mode="max", **options):
    """Let a run see these scores, one a step; return its checkpoints and what it had waited."""
    checkpoints = CheckpointCallback(None, monitor="val/x", mode=mode, **options)
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


def test_a_checkpoint_follows_the_best_validation_so_far_and_the_end():
    """Others come by steps or minutes: no validation and no epoch has one by habit."""
    saved = []
    writer = SimpleNamespace(folder=Path(), wait=lambda: saved.append("waited"))
    strategy = SimpleNamespace(
        reduce_boolean_decision=lambda decision, all: decision, barrier=lambda name: None
    )
    trainer = SimpleNamespace(
        loggers=[],
        strategy=strategy,
        state=SimpleNamespace(fn="fit"),
        sanity_checking=False,
        fit_loop=SimpleNamespace(
            epoch_loop=SimpleNamespace(batch_progress=SimpleNamespace(is_last_batch=False))
        ),
        save_checkpoint=lambda path: saved.append((trainer.global_step, path.name)),
    )
    module = SimpleNamespace(
        evaluation=Evaluation({}, [], []),
        task=None,
        batch_loss=None,
        write=lambda metrics, step: None,
        total_steps=8,
        stop_agreed=False,
    )
    checkpoints = CheckpointCallback(writer, monitor="val/x", mode="max", every_n_steps=5)
    scores = [0.5, 0.4, 0.6, 0.6, 0.1, 0.1, 0.7, 0.2]
    for trainer.global_step, score in enumerate(scores, start=1):
        module.scores = {"val/x": score, "val/loss": 0.0}
        checkpoints.on_validation_end(trainer, module)
    assert saved == [
        (1, "best.ckpt"),
        (3, "best.ckpt"),
        (5, "last.ckpt"),
        (7, "best.ckpt"),
        (8, "last.ckpt"),
        "waited",
    ]
    assert checkpoints.saved_steps == {"last.ckpt": 8, "previous.ckpt": 7, "best.ckpt": 7}
    checkpoints.every_n_minutes, checkpoints.saved_at = 1.0, checkpoints.saved_at - 60
    trainer.global_step, module.total_steps = 9, 10
    checkpoints.on_train_epoch_end(trainer, module)
    assert saved[-1] == (9, "last.ckpt")
