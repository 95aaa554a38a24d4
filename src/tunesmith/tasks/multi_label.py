"""Multi-label classification: any number of labels per text."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch

from tunesmith.data.columns import ColumnType
from tunesmith.data.lazy_rows import values_of
from tunesmith.models import heads
from tunesmith.runtime.options import Inside
from tunesmith.tasks.base import Answer, Row
from tunesmith.tasks.bases.text_task import TextTask, texts_with
from tunesmith.tasks.capabilities import (
    Capturable,
    ComparesWithGuessing,
    HasUndefinedMetrics,
    TruncatesLongTexts,
)
from tunesmith.tasks.losses import BinaryCrossEntropy, loss_of_one_answer
from tunesmith.tasks.metrics import class_scores
from tunesmith.tasks.metrics.class_scores import Probabilities
from tunesmith.tasks.text.long_text import OF_A_TEXT, pooled


class MultiLabel(
    TextTask, HasUndefinedMetrics, ComparesWithGuessing, TruncatesLongTexts, Capturable
):
    """Scores every label by itself; the answer is all that reach the threshold."""

    columns = texts_with(ColumnType.CLASSES)
    head = heads.MULTI_LABEL
    losses = (BinaryCrossEntropy,)
    metrics: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("accuracy", "exact_match", "f1_macro", "f1_micro", "auroc"), "max"
    )
    monitor = "f1_micro"
    decision = "labels"
    truncation_modes = OF_A_TEXT
    inference_options = ("threshold",)

    loss: BinaryCrossEntropy

    def __init__(self, *, threshold: Inside, **common: Any) -> None:
        super().__init__(**common)
        self.threshold = threshold

    def fit_statistics(self, rows: Any) -> None:
        counts = Counter(label for row in rows["label"] for label in row)
        self.loss.weigh_classes([counts[label] for label in self.label_to_id])

    def label_of(self, row: Row) -> list[int]:
        given = set(row["label"])
        return [int(label in given) for label in self.label_to_id]

    def aggregate(self, predictions: Sequence[Sequence[Any]], rows: Sequence[Row]) -> list[Answer]:
        if not len(predictions):
            return []
        probabilities = torch.from_numpy(pooled(predictions)).sigmoid().numpy()  # (N, C)
        return [self._answer(row) for row in probabilities]

    def score(self, answers: Sequence[Answer], rows: Sequence[Row]) -> dict[str, float]:
        probabilities = class_scores.matrix_of([a["probabilities"] for a in answers])  # (N, C)
        given = self._indicators(a["labels"] for a in answers)  # (N, C)
        truths = self._indicators(row["label"] for row in rows)  # (N, C)
        return {
            "accuracy": float((given == truths).mean()),
            "exact_match": float((given == truths).all(1).mean()),
            "f1_macro": float(class_scores.f1_per_label(truths, given).mean()),
            "f1_micro": class_scores.f1_micro(truths, given),
            "auroc": class_scores.auroc(probabilities, truths),
        }

    def _indicators(self, labels: Iterable[Sequence[str]]) -> np.ndarray:
        """Return which labels each of N rows has: (N, C), bool."""
        rows = list(labels)
        held = np.zeros((len(rows), len(self.label_to_id)), dtype=bool)
        for i, row in enumerate(rows):
            held[i, [self.label_to_id[label] for label in row]] = True
        return held

    def guessing_loss(self, train: Any, rows: Sequence[Row]) -> tuple[float, float] | None:
        positive = self._indicators(list(values_of(train, "label"))).mean(0)  # (C,)
        odds = positive / np.maximum(1 - positive, 1e-9)
        if self.loss.class_weight is not None:
            odds = odds * self.loss.class_weight.cpu().numpy()
        truths = torch.from_numpy(self._indicators(row["label"] for row in rows)).long()
        guess = torch.from_numpy(np.log(np.clip(odds, 1e-9, 1e9)))
        return (
            loss_of_one_answer(self.loss, guess, truths),
            loss_of_one_answer(self.loss, torch.zeros(len(guess)), truths),
        )

    def undefined_metrics(self, rows: Any) -> dict[str, str]:
        given = Counter(label for row in rows["label"] for label in row)
        one_sided = [label for label in self.label_to_id if given[label] in (0, len(rows))]
        return {"auroc": f"all rows or none are {one_sided[0]!r}"} if one_sided else {}

    def baseline(self, train: Any, rows: Sequence[Row]) -> list[Answer]:
        shares = self._indicators(list(values_of(train, "label"))).mean(0)  # (C,)
        return [self._answer(shares)] * len(rows)

    def _answer(self, probabilities: np.ndarray) -> Answer:
        held = np.flatnonzero(probabilities.astype(np.float64) >= self.threshold)
        return {
            "labels": [self.labels[i] for i in held] if self.labels else [],
            "probabilities": Probabilities(self.label_to_id, probabilities),
        }
