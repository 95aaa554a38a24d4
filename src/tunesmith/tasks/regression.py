"""Regression: one number per text, or per pair of texts."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics.functional import mean_squared_error, pearson_corrcoef, spearman_corrcoef

from tunesmith.data.rows import Kind
from tunesmith.loss import MeanSquaredError
from tunesmith.tasks.base import Answer, Batch, Output, Row, Task, texts_with
from tunesmith.tasks.windows import OF_A_TEXT


class Regression(Task):
    """Predicts a number; it learns in standard units of the train split where asked to."""

    columns = texts_with(Kind.NUMBER)
    problem = "regression"
    metrics = ("pearson", "spearman", "mse")
    minimised = ("mse",)
    monitor = "pearson"
    cuts = OF_A_TEXT

    loss: MeanSquaredError
    centre: Tensor
    scale: Tensor

    def __init__(self, *, standardise: bool, **common: Any) -> None:
        super().__init__(**common)
        self.standardise = standardise
        self.register_buffer("centre", torch.zeros(()))
        self.register_buffer("scale", torch.ones(()))

    def fit_to(self, rows: Any) -> None:
        if self.standardise:
            numbers = np.asarray(rows["label"], dtype=np.float64)
            self.centre.fill_(float(numbers.mean()))
            self.scale.fill_(float(numbers.std()) or 1.0)

    def label_of(self, row: Row) -> float:
        return float(row["label"])

    def forward(self, batch: Batch) -> Output:
        logits = self.logits(batch).squeeze(-1).float()  # (B,)
        wanted = (batch["labels"].float() - self.centre) / self.scale
        mean, weight = self.loss(logits, wanted)
        return Output(mean, logits, weight)

    def decode(self, batch: Batch, output: Output) -> list[np.ndarray]:
        return super().decode(batch, output._replace(logits=self.in_units(output.logits)))

    def in_units(self, logits: Tensor) -> Tensor:
        """Turn the head's output into the labels' units."""
        return logits.reshape(-1) * self.scale + self.centre

    def gather(self, predictions: Sequence[Sequence[Any]], rows: Sequence[Row]) -> list[Answer]:
        return [{"label": float(np.mean(windows))} for windows in predictions]

    def undefined(self, rows: Any) -> dict[str, str]:
        if len(set(rows["label"])) > 1:
            return {}
        return dict.fromkeys(("pearson", "spearman"), f"all labels are {rows['label'][0]}")

    def trivial(self, train: Any, rows: Sequence[Row]) -> list[Answer]:
        return [{"label": float(np.mean(train["label"]))}] * len(rows)

    def score(self, answers: Sequence[Answer], rows: Sequence[Row]) -> dict[str, float]:
        guesses, truths = numbers(answers, rows)
        return {**correlations(guesses, truths), "mse": float(mean_squared_error(guesses, truths))}


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
