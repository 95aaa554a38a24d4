"""Regression: one number per text, or per pair of texts."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tunesmith.data.columns import ColumnType
from tunesmith.data.lazy_rows import values_of
from tunesmith.models import heads
from tunesmith.tasks.base import Answer, Batch, Output, Row
from tunesmith.tasks.bases.numeric import Numeric
from tunesmith.tasks.bases.text_task import texts_with
from tunesmith.tasks.capabilities import Capturable, TruncatesLongTexts
from tunesmith.tasks.text.long_text import OF_A_TEXT


class Regression(Numeric, TruncatesLongTexts, Capturable):
    """Predicts a number; it learns in standard units of the train split where asked to."""

    columns = texts_with(ColumnType.NUMBER)
    head = heads.REGRESSION
    monitor = "pearson"
    truncation_modes = OF_A_TEXT

    def __init__(self, *, standardize: bool, **common: Any) -> None:
        super().__init__(**common)
        self.standardize = standardize

    def fit_statistics(self, rows: Any) -> None:
        if self.standardize:
            labels = np.asarray(list(values_of(rows, "label")), dtype=np.float64)
            self.measure(float(labels.mean()), float(labels.std()))

    def forward(self, batch: Batch) -> Output:
        logits = self.logits(batch).squeeze(-1).float()  # (B,)
        mean, weight = self.loss(logits, self.in_own_units(batch["labels"]))
        return Output(mean, logits, weight)

    def decode(self, batch: Batch, output: Output) -> list[np.ndarray]:
        return list(self.in_units(output.logits.detach()).cpu().numpy())

    def aggregate(self, predictions: Sequence[Sequence[Any]], rows: Sequence[Row]) -> list[Answer]:
        return [{"label": float(np.mean(windows))} for windows in predictions]
