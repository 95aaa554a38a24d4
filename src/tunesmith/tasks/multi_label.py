"""Multi-label classification: any number of labels per text."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torchmetrics.functional.classification import (
    multilabel_accuracy,
    multilabel_auroc,
    multilabel_exact_match,
    multilabel_f1_score,
)

from tunesmith.data.columns import ColumnType
from tunesmith.tasks.base import Answer, Row, Task, texts_with
from tunesmith.tasks.losses import BinaryCrossEntropy
from tunesmith.tasks.text.long_text import OF_A_TEXT, pooled


class MultiLabel(Task):
    """Scores every label by itself; the answer is all that reach the threshold."""

    columns = texts_with(ColumnType.CLASSES)
    problem = "multi_label_classification"
    metrics = ("accuracy", "exact_match", "f1_macro", "f1_micro", "auroc")
    monitor = "f1_micro"
    cuts = OF_A_TEXT

    loss: BinaryCrossEntropy

    def __init__(self, *, threshold: float, **common: Any) -> None:
        super().__init__(**common)
        self.threshold = threshold

    def fit_to(self, rows: Any) -> None:
        counts = Counter(label for row in rows["label"] for label in row)
        self.loss.fit_to([counts[label] for label in self.index])

    def label_of(self, row: Row) -> list[int]:
        given = set(row["label"])
        return [int(label in given) for label in self.index]

    def gather(self, predictions: Sequence[Sequence[Any]], rows: Sequence[Row]) -> list[Answer]:
        if not len(predictions):
            return []
        probabilities = torch.from_numpy(pooled(predictions)).sigmoid().tolist()  # (N, C)
        return [self._answer(row) for row in probabilities]

    def score(self, answers: Sequence[Answer], rows: Sequence[Row]) -> dict[str, float]:
        guesses = torch.tensor([list(a["probabilities"].values()) for a in answers])  # (N, C)
        # Not by the threshold once more: torchmetrics gives a label above it, we at it as well.
        given = torch.tensor([self.label_of({"label": a["labels"]}) for a in answers])  # (N, C)
        truths = torch.tensor([self.label_of(row) for row in rows])  # (N, C)
        options: dict[str, Any] = {"num_labels": len(self.index)}
        both = bool(((truths.sum(0) > 0) & (truths.sum(0) < len(truths))).all())
        scores = {
            "accuracy": multilabel_accuracy(given, truths, **options, average="micro"),
            "exact_match": multilabel_exact_match(given, truths, **options),
            "f1_macro": multilabel_f1_score(given, truths, **options, average="macro"),
            "f1_micro": multilabel_f1_score(given, truths, **options, average="micro"),
            "auroc": multilabel_auroc(guesses, truths, len(self.index)) if both else torch.nan,
        }
        return {name: float(value) for name, value in scores.items()}

    def undefined(self, rows: Any) -> dict[str, str]:
        given = Counter(label for row in rows["label"] for label in row)
        one_sided = [label for label in self.index if given[label] in (0, len(rows))]
        return {"auroc": f"all rows or none are {one_sided[0]!r}"} if one_sided else {}

    def trivial(self, train: Any, rows: Sequence[Row]) -> list[Answer]:
        counts = Counter(label for row in train["label"] for label in row)
        return [self._answer([counts[label] / len(train) for label in self.index])] * len(rows)

    def _answer(self, probabilities: list[float]) -> Answer:
        named = dict(zip(self.index, probabilities, strict=True))
        given = [label for label, p in named.items() if p >= self.threshold]
        return {"labels": given, "probabilities": named}
