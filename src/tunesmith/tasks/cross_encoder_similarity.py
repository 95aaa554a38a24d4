"""Similarity by a cross-encoder: reads both texts at once; better than a bi-encoder, and slower."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tunesmith.data.lazy_rows import values_of
from tunesmith.models import heads
from tunesmith.tasks.base import Answer, Batch, Output, Row
from tunesmith.tasks.bases.numeric import Numeric, pairs_with_number
from tunesmith.tasks.capabilities import Capturable


class CrossEncoderSimilarity(Numeric, Capturable):
    """Predicts a number for a pair of texts; its one output learns it in standard units."""

    columns = pairs_with_number()
    head = heads.REGRESSION
    monitor = "spearman"

    def fit_statistics(self, train: Any) -> None:
        labels = np.asarray(list(values_of(train, "label")), dtype=np.float64)
        self.measure(float(labels.mean()), float(labels.std()))

    def forward(self, batch: Batch) -> Output:
        logits = self.logits(batch).float()  # (B, 1)
        mean, weight = self.loss(logits.squeeze(-1), self.in_own_units(batch["labels"]))
        return Output(mean, logits, weight)

    def aggregate(self, predictions: Sequence[Sequence[Any]], rows: Sequence[Row]) -> list[Answer]:
        zero, unit = float(self.zero), float(self.unit)
        return [{"label": zero + unit * float(logits[0])} for [logits] in predictions]
