"""What every task has in common that gives a text, or a pair of texts, a number."""

import math
from abc import ABC
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics.functional import pearson_corrcoef, spearman_corrcoef

from tunesmith.data.columns import Column, ColumnType
from tunesmith.tasks.base import Answer, Row
from tunesmith.tasks.bases.text_task import TextTask
from tunesmith.tasks.capabilities import HasUndefinedMetrics
from tunesmith.tasks.losses import MeanSquaredError


class Numeric(TextTask, HasUndefinedMetrics, ABC):
    """Learns labels in units of its own: an output of 0 means `zero`, one of 1 `unit` more."""

    losses = (MeanSquaredError,)

    loss: MeanSquaredError
    zero: Tensor  # ()
    unit: Tensor  # ()

    def __init__(self, **common: Any) -> None:
        super().__init__(**common)
        self.register_buffer("zero", torch.zeros(()))
        self.register_buffer("unit", torch.ones(()))

    def measure(self, zero: float, unit: float) -> None:
        """Set what outputs mean; a unit of 0 is none."""
        self.zero.fill_(zero)
        self.unit.fill_(unit or 1.0)

    def in_own_units(self, labels: Tensor) -> Tensor:
        return (labels.float() - self.zero) / self.unit

    def label_of(self, row: Row) -> float:
        return float(row["label"])

    def undefined_metrics(self, rows: Any) -> dict[str, str]:
        if len(set(rows["label"])) > 1:
            return {}
        return dict.fromkeys(("pearson", "spearman"), f"all labels are {rows['label'][0]}")

    def baseline(self, train: Any, rows: Sequence[Row]) -> list[Answer]:
        return [{"label": float(np.mean(train["label"]))}] * len(rows)


def pairs_with_number() -> Mapping[str, Column]:
    """Return the columns of a task on pairs of texts with a number."""
    return {
        "text": Column(ColumnType.TEXT),
        "text_pair": Column(ColumnType.TEXT),
        "label": Column(ColumnType.NUMBER, target=True),
    }


def numbers(answers: Sequence[Answer], rows: Sequence[Row]) -> tuple[Tensor, Tensor]:
    """Return the numbers (N,) that were answered and those that the rows say, float64."""
    guesses = torch.tensor([a["label"] for a in answers], dtype=torch.float64)
    return guesses, torch.tensor([row["label"] for row in rows], dtype=torch.float64)


def correlations(guesses: Tensor, truths: Tensor) -> dict[str, float]:
    """Correlate numbers (N,) by value and by rank; not a number where one of them is constant."""
    varied = len(guesses) > 1 and bool(guesses.std() > 0) and bool(truths.std() > 0)
    return {
        "pearson": float(pearson_corrcoef(guesses, truths)) if varied else math.nan,
        "spearman": float(spearman_corrcoef(guesses, truths)) if varied else math.nan,
    }
