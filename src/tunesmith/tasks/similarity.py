"""Similarity by a bi-encoder: each text gets a vector, and their cosine is how alike they are."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from torch import Tensor

from tunesmith.data.lazy_rows import values_of
from tunesmith.models import heads
from tunesmith.tasks.base import Answer, Batch, Features, Output, Row
from tunesmith.tasks.bases.numeric import Numeric, pairs_with_number
from tunesmith.tasks.bases.text_task import no_tokens
from tunesmith.tasks.text import multi_text, padding
from tunesmith.tasks.text.pooling import embedded


class Similarity(Numeric):
    """Predicts a number for two texts, each of which is read by itself.

    The cosine of their vectors learns the labels of the train split, moved to 0 to 1 (Reimers &
    Gurevych, 2019, 3).
    """

    columns = pairs_with_number()
    head = heads.NO_HEAD
    monitor = "spearman"

    def __init__(self, *, pooling: Literal["mean", "first"], **common: Any) -> None:
        super().__init__(**common)
        self.pooling = pooling

    def fit_statistics(self, train: Any) -> None:
        labels = np.asarray(list(values_of(train, "label")), dtype=np.float64)
        self.measure(float(labels.min()), float(np.ptp(labels)))

    def encode(self, row: Row) -> list[Features]:
        texts = (row["text"], row["text_pair"])
        features = multi_text.encoded(self.tokenizer, texts, self.max_length)
        for text, ids in zip(texts, features["input_ids"], strict=True):
            if not ids:
                raise no_tokens(row, text)
        if row.get("label") is not None:
            features["labels"] = self.label_of(row)
        return [features]

    def pad(self, features: list[Features]) -> Batch:
        return padding.pad_several(self.tokenizer, features)

    def forward(self, batch: Batch) -> Output:
        logits = self.logits(batch)  # (B, 1)
        mean, weight = self.loss(logits.squeeze(-1), self.in_own_units(batch["labels"]))
        return Output(mean, logits, weight)

    def logits(self, batch: Batch) -> Tensor:
        """Return the cosine of each pair (B, 1)."""
        vectors = embedded(self.model, self.model_inputs(batch), self.pooling)  # (B, 2, H)
        return vectors.prod(1).sum(-1, keepdim=True)

    def aggregate(self, predictions: Sequence[Sequence[Any]], rows: Sequence[Row]) -> list[Answer]:
        cosines = [float(logits[0]) for [logits] in predictions]
        zero, unit = float(self.zero), float(self.unit)
        return [{"label": zero + unit * cosine, "cosine": cosine} for cosine in cosines]
