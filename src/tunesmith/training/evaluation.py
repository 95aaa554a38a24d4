"""Score a split: the same code for a validation in training, the final test and a finished run."""

import math
from collections.abc import Collection, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from datasets import Dataset
from lightning.pytorch.utilities import move_data_to_device

from tunesmith.data.batching.feature_cache import Encoded
from tunesmith.data.lazy_rows import LazyRows
from tunesmith.tasks.base import Answer, Batch, Row, Task
from tunesmith.tasks.capabilities import Calibrates
from tunesmith.tasks.metrics.per_language import by_language
from tunesmith.training.hardware import Hardware

AUTOCAST = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


class ScoredBatch(NamedTuple):
    """One batch after its forward pass."""

    features: list[int]  # their indices in the encoded split
    predictions: list[Any]  # one per feature
    loss: float  # the mean over the batch
    weight: float  # how much the mean counts


class Evaluation(NamedTuple):
    """A scored split: answers and rows in the order of the rows."""

    scores: dict[str, float]  # by the names of the task's metrics, and "loss"
    answers: list[Answer]
    rows: Sequence[Row]

    def scores_of(self, prefix: str) -> dict[str, float]:
        """Return the scores under full names such as val/accuracy."""
        return {f"{prefix}/{name}": value for name, value in self.scores.items()}


def evaluate(
    task: Task,
    loader: Any,
    encoded: Encoded,
    rows: Dataset,
    hardware: Hardware,
    learnt_languages: Collection[str] = (),
) -> Evaluation:
    """Score the rows of a split on one device, to the bit as a validation in training does.

    `loader` gives the batches of `encoded`, whose features name the `rows` that they came from.
    """
    device = torch_device(hardware)
    task.to(device).eval()
    with torch.inference_mode(), autocast(hardware.precision, device):
        batches = [
            score_batch(task, move_data_to_device(batch, device), features)
            for features, batch in zip(loader.batch_sampler, loader, strict=True)
        ]
    return score_split(task, batches, encoded, rows, learnt_languages)


def score_batch(task: Task, batch: Batch, features: Sequence[int]) -> ScoredBatch:
    """Run the task on a labelled batch, which holds the features of these indices."""
    output = task(batch)
    predictions = task.decode(batch, output)
    return ScoredBatch(list(features), predictions, output.loss.item(), output.weight.item())


def score_split(
    task: Task,
    batches: Iterable[ScoredBatch],
    encoded: Encoded,
    rows: Dataset,
    learnt_languages: Collection[str] = (),
    calibrates: bool = False,
) -> Evaluation:
    """Put the batches of a split together, whatever their order, and score its answers.

    A batch that came twice counts once. With `calibrates` the task first tunes what turns
    predictions into answers: for the validation split while it trains, and for no other.
    """
    unique = {batch.features[0]: batch for batch in reversed(list(batches))}
    ordered = [unique[first] for first in sorted(unique)]
    by_row = _by_row(ordered, encoded)
    answered = LazyRows(rows if len(by_row) == len(rows) else rows.select(list(by_row)))
    predictions = list(by_row.values())
    if calibrates and isinstance(task, Calibrates):
        task.calibrate(predictions, answered)
    answers = task.aggregate(predictions, answered)
    scores = task.score(answers, answered)
    scores |= by_language(task, answers, answered, learnt_languages)
    scores["loss"] = _mean_loss(ordered)
    return Evaluation(scores, answers, answered)


def _by_row(batches: Sequence[ScoredBatch], encoded: Encoded) -> dict[int, list[Any]]:
    """Return the predictions of each row's features, rows and features in their order."""
    by_feature = sorted(
        (pair for b in batches for pair in zip(b.features, b.predictions, strict=True)),
        key=lambda pair: pair[0],
    )
    row_ids = encoded.features.rows[[feature for feature, _ in by_feature]].tolist()
    by_row: dict[int, list[Any]] = {}
    for row, (_, prediction) in zip(row_ids, by_feature, strict=True):
        by_row.setdefault(row, []).append(prediction)
    return by_row


def _mean_loss(batches: Sequence[ScoredBatch]) -> float:
    weight = math.fsum(batch.weight for batch in batches)
    return math.fsum(batch.loss * batch.weight for batch in batches) / max(weight, 1e-12)


def torch_device(hardware: Hardware) -> torch.device:
    """Return the one device that an evaluation or a prediction runs on."""
    return torch.device("cuda" if hardware.accelerator == "gpu" else "cpu")


def autocast(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """Return the mixed precision that Lightning trains in under this name."""
    if precision not in AUTOCAST:
        return nullcontext()
    return torch.autocast(device.type, AUTOCAST[precision])
