"""What every task has in common that gives a text, or a pair of texts, a number."""

import math
from abc import ABC
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torchmetrics.functional import pearson_corrcoef, spearman_corrcoef

from tunesmith.data.columns import Column, ColumnType
from tunesmith.data.lazy_rows import values_of
from tunesmith.tasks.base import Answer, Row
from tunesmith.tasks.bases.text_task import TextTask
from tunesmith.tasks.capabilities import ComparesWithGuessing, HasUndefinedMetrics
from tunesmith.tasks.losses import MeanSquaredError


class Numeric(TextTask, HasUndefinedMetrics, ComparesWithGuessing, ABC):
    """Learns labels in units of its own: an output of 0 means `zero`, one of 1 `unit` more.

    Both are float64, and so are labels and answers: 1,700,000,000 and 30 more differ.
    """

    losses = (MeanSquaredError,)
    metrics: ClassVar[Mapping[str, str]] = {
        "pearson": "max",
        "spearman": "max",
        "r2": "max",
        "mae": "min",
        "mse": "min",
        "rmse": "min",
    }
    decision = "label"

    loss: MeanSquaredError
    zero: Tensor  # ()
    unit: Tensor  # ()

    def __init__(self, **common: Any) -> None:
        super().__init__(**common)
        self.register_buffer("zero", torch.zeros((), dtype=torch.float64))
        self.register_buffer("unit", torch.ones((), dtype=torch.float64))

    def measure(self, zero: float, unit: float) -> None:
        """Set what outputs mean; a unit of 0 is none."""
        self.zero.fill_(zero)
        self.unit.fill_(unit or 1.0)

    def in_own_units(self, labels: Tensor) -> Tensor:
        """Return labels (N,) as the outputs that mean them, float32."""
        return ((labels.double() - self.zero) / self.unit).float()

    def in_units(self, outputs: Tensor) -> Tensor:
        """Turn outputs (N,) into the labels' units, float64."""
        return outputs.reshape(-1).double() * self.unit + self.zero

    def guessing_loss(self, train: Any, rows: Sequence[Row]) -> tuple[float, float] | None:
        labels = torch.tensor([row["label"] for row in rows], dtype=torch.float64)
        mean = torch.tensor(float(np.mean(list(values_of(train, "label")))), dtype=torch.float64)
        device = self.zero.device
        own, guess = (self.in_own_units(x.to(device)) for x in (labels, mean))
        loss = float(self.loss(guess.expand(len(own)), own).mean)
        return loss, loss

    def label_of(self, row: Row) -> float:
        return float(row["label"])

    def undefined_metrics(self, rows: Any) -> dict[str, str]:
        if len(set(values_of(rows, "label"))) > 1:
            return {}
        return dict.fromkeys(("pearson", "spearman", "r2"), f"all labels are {rows['label'][0]}")

    def score(self, answers: Sequence[Answer], rows: Sequence[Row]) -> dict[str, float]:
        guesses = torch.tensor([answer["label"] for answer in answers], dtype=torch.float64)
        truths = torch.tensor([row["label"] for row in rows], dtype=torch.float64)
        return {**correlations(guesses, truths), **errors(guesses, truths)}

    def baseline(self, train: Any, rows: Sequence[Row]) -> list[Answer]:
        return [{"label": float(np.mean(list(values_of(train, "label"))))}] * len(rows)


def pairs_with_number() -> Mapping[str, Column]:
    """Return the columns of a task on pairs of texts with a number."""
    return {
        "text": Column(ColumnType.TEXT),
        "text_pair": Column(ColumnType.TEXT),
        "label": Column(ColumnType.NUMBER, target=True),
    }


def correlations(guesses: Tensor, truths: Tensor) -> dict[str, float]:
    """Correlate numbers (N,) by value and by rank; not a number where one of them is constant."""
    varied = len(guesses) > 1 and bool(guesses.std() > 0) and bool(truths.std() > 0)
    return {
        "pearson": float(pearson_corrcoef(guesses, truths)) if varied else math.nan,
        "spearman": float(spearman_corrcoef(guesses, truths)) if varied else math.nan,
    }


def errors(guesses: Tensor, truths: Tensor) -> dict[str, float]:
    """Measure how far numbers (N,) are from the truth, in its units, and by its variance.

    R² is 1 less the squared errors' share of the truths' own deviations from their mean: 0 is
    what that mean reaches. It is not a number where the truths are constant.
    """
    wrong = guesses - truths
    mse = float(wrong.square().mean())
    varied = bool((truths != truths[0]).any())
    return {
        "mae": float(wrong.abs().mean()),
        "mse": mse,
        "rmse": math.sqrt(mse),
        "r2": 1 - mse / float(truths.var(correction=0)) if varied else math.nan,
    }
