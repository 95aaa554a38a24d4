"""Multi-label classification: any number of labels per text."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torchmetrics.functional.classification import (
    multilabel_accuracy,
    multilabel_auroc,
    multilabel_exact_match,
    multilabel_f1_score,
)

from tunesmith.data.columns import ColumnType
from tunesmith.models import heads
from tunesmith.runtime.options import Inside
from tunesmith.tasks.base import Answer, Row
from tunesmith.tasks.bases.text_task import TextTask, texts_with
from tunesmith.tasks.capabilities import HasUndefinedMetrics, TruncatesLongTexts
from tunesmith.tasks.losses import BinaryCrossEntropy
from tunesmith.tasks.text.long_text import OF_A_TEXT, pooled


class MultiLabel(TextTask, HasUndefinedMetrics, TruncatesLongTexts):
    """Scores every label by itself; the answer is all that reach the threshold."""

    columns = texts_with(ColumnType.CLASSES)
    head = heads.MULTI_LABEL
    losses = (BinaryCrossEntropy,)
    metrics: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("accuracy", "exact_match", "f1_macro", "f1_micro", "auroc"), "max"
    )
    monitor = "f1_micro"
    truncation_modes = OF_A_TEXT

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
        probabilities = torch.from_numpy(pooled(predictions)).sigmoid().tolist()  # (N, C)
        return [self._answer(row) for row in probabilities]

    def score(self, answers: Sequence[Answer], rows: Sequence[Row]) -> dict[str, float]:
        guesses = torch.tensor([list(a["probabilities"].values()) for a in answers])  # (N, C)
        # Not by the threshold once more: torchmetrics gives a label above it, we at it as well.
        given = torch.tensor([self.label_of({"label": a["labels"]}) for a in answers])  # (N, C)
        truths = torch.tensor([self.label_of(row) for row in rows])  # (N, C)
        options: dict[str, Any] = {"num_labels": len(self.label_to_id)}
        both = bool(((truths.sum(0) > 0) & (truths.sum(0) < len(truths))).all())
        scores = {
            "accuracy": multilabel_accuracy(given, truths, **options, average="micro"),
            "exact_match": multilabel_exact_match(given, truths, **options),
            "f1_macro": multilabel_f1_score(given, truths, **options, average="macro"),
            "f1_micro": multilabel_f1_score(given, truths, **options, average="micro"),
            "auroc": multilabel_auroc(guesses, truths, len(self.label_to_id))
            if both
            else torch.nan,
        }
        return {name: float(value) for name, value in scores.items()}

    def undefined_metrics(self, rows: Any) -> dict[str, str]:
        given = Counter(label for row in rows["label"] for label in row)
        one_sided = [label for label in self.label_to_id if given[label] in (0, len(rows))]
        return {"auroc": f"all rows or none are {one_sided[0]!r}"} if one_sided else {}

    def baseline(self, train: Any, rows: Sequence[Row]) -> list[Answer]:
        counts = Counter(label for row in train["label"] for label in row)
        return [self._answer([counts[label] / len(train) for label in self.label_to_id])] * len(
            rows
        )

    def _answer(self, probabilities: list[float]) -> Answer:
        named = dict(zip(self.label_to_id, probabilities, strict=True))
        given = [label for label, p in named.items() if p >= self.threshold]
        return {"labels": given, "probabilities": named}
