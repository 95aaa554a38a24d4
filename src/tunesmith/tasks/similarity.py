"""Similarity: how alike two texts are, as a number; each read by itself, or both at once."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from tunesmith.data.columns import Column, ColumnType
from tunesmith.tasks.base import Answer, Batch, Features, Output, Row, no_tokens
from tunesmith.tasks.bases.numeric import Numeric, correlations, numbers
from tunesmith.tasks.text import multi_text
from tunesmith.tasks.text.pooling import embedded


class Similarity(Numeric):
    """Predicts a number for two texts.

    `encoder="bi"` gives each text a vector; their cosine learns the labels of the train split,
    moved to 0 to 1 (Reimers & Gurevych, 2019, 3). `encoder="cross"` reads the pair at once, and
    one output learns them in standard units.
    """

    columns: ClassVar[Mapping[str, Column]] = {
        "text": Column(ColumnType.TEXT),
        "text_pair": Column(ColumnType.TEXT),
        "label": Column(ColumnType.NUMBER, target=True),
    }
    problem = "regression"
    metrics = ("spearman", "pearson")
    monitor = "spearman"

    def __init__(self, *, encoder: str, pooling: str, **common: Any) -> None:
        super().__init__(**common)
        self.is_bi, self.pooling = encoder == "bi", pooling

    @classmethod
    def problem_of(cls, options: Mapping[str, Any]) -> str:
        return "similarity" if options["encoder"] == "bi" else cls.problem

    def fit_to(self, rows: Any) -> None:
        labels = np.asarray(rows["label"], dtype=np.float64)
        zero, unit = (labels.min(), np.ptp(labels)) if self.is_bi else (labels.mean(), labels.std())
        self.measure(float(zero), float(unit))

    def encode(self, row: Row) -> list[Features]:
        if not self.is_bi:
            return super().encode(row)
        texts = (row["text"], row["text_pair"])
        features = multi_text.encoded(self.tokenizer, texts, self.max_length)
        for text, ids in zip(texts, features["input_ids"], strict=True):
            if not ids:
                raise no_tokens(row, text)
        if row.get("label") is not None:
            features["labels"] = self.label_of(row)
        return [features]

    def padded(self, features: list[Features]) -> Batch:
        return (
            multi_text.padded(self.tokenizer, features) if self.is_bi else super().padded(features)
        )

    def forward(self, batch: Batch) -> Output:
        logits = self.logits(batch)  # (B, 1)
        mean, weight = self.loss(logits.squeeze(-1), self.in_own_units(batch["labels"]))
        return Output(mean, logits, weight)

    def logits(self, batch: Batch) -> Tensor:
        """Return the cosine, or the head's output, of each pair (B, 1)."""
        if not self.is_bi:
            return super().logits(batch).float()
        vectors = embedded(self.model, self.inputs(batch), self.pooling)  # (B, 2, H)
        return vectors.prod(1).sum(-1, keepdim=True)

    def gather(self, predictions: Sequence[Sequence[Any]], rows: Sequence[Row]) -> list[Answer]:
        zero, unit = float(self.zero), float(self.unit)
        outputs = [float(logits[0]) for [logits] in predictions]
        return [
            {"label": zero + unit * output} | ({"cosine": output} if self.is_bi else {})
            for output in outputs
        ]

    def score(self, answers: Sequence[Answer], rows: Sequence[Row]) -> dict[str, float]:
        return correlations(*numbers(answers, rows))
