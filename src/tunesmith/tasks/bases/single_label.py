"""What every task has in common that gives a text, or a pair of texts, one of its labels."""

from abc import ABC
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch

from tunesmith.data.columns import ColumnType
from tunesmith.data.lazy_rows import values_of
from tunesmith.tasks.base import Answer, Row
from tunesmith.tasks.bases.text_task import TextTask, texts_with
from tunesmith.tasks.capabilities import (
    ComparesWithGuessing,
    HasUndefinedMetrics,
    LabeledExample,
    ShowsConfusion,
    ShowsExamples,
)
from tunesmith.tasks.losses import ClassWeighted, CrossEntropy, losses_of_guessing
from tunesmith.tasks.metrics import class_scores
from tunesmith.tasks.metrics.class_scores import Probabilities
from tunesmith.tasks.text.long_text import pooled


class SingleLabel(
    TextTask, HasUndefinedMetrics, ComparesWithGuessing, ShowsExamples, ShowsConfusion, ABC
):
    """Scores every label of a text, logits (B, C); the answer is the most probable one.

    Of two labels `f1` is that of the second, as GLUE scores MRPC and QQP; of more there is none.
    """

    columns = texts_with(ColumnType.CLASS)
    metrics: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("accuracy", "f1", "f1_macro", "f1_micro", "mcc", "auroc"), "max"
    )
    monitor = "accuracy"
    decision = "label"

    loss: Any  # of logits and labels; a subclass that learns otherwise has another `forward`

    def fit_statistics(self, train: Any) -> None:
        self.weigh_classes(train)

    def weigh_classes(self, train: Any) -> None:
        """Let a loss that weighs classes count them."""
        if isinstance(self.loss, ClassWeighted):
            counts = Counter(values_of(train, "label"))
            self.loss.weigh_classes([counts[label] for label in self.label_to_id])

    def label_of(self, row: Row) -> int:
        return self.label_to_id[row["label"]]

    def aggregate(self, predictions: Sequence[Sequence[Any]], rows: Sequence[Row]) -> list[Answer]:
        if not len(predictions):
            return []
        logits = torch.from_numpy(pooled(predictions))  # (N, C)
        return [answer(self.label_to_id, row) for row in logits.softmax(-1).numpy()]

    def score(self, answers: Sequence[Answer], rows: Sequence[Row]) -> dict[str, float]:
        probabilities = class_scores.matrix_of([a["probabilities"] for a in answers])  # (N, C)
        confusion = self.confusion(answers, rows)
        truths = np.eye(len(self.label_to_id), dtype=bool)[self._indices(rows)]  # (N, C)
        accuracy = class_scores.accuracy(confusion)
        second = float(np.nan_to_num(class_scores.f1_per_class(confusion)[1]))
        return {
            "accuracy": accuracy,
            **({"f1": second} if len(confusion) == 2 else {}),
            "f1_macro": class_scores.f1_macro(confusion),
            "f1_micro": accuracy,  # the same, where each row has one label
            "mcc": class_scores.matthews(confusion),
            "auroc": class_scores.auroc(probabilities, truths),
        }

    def confusion(self, answers: Sequence[Answer], rows: Sequence[Row]) -> np.ndarray:
        guesses = self._indices(answers)
        return class_scores.confusion_matrix(self._indices(rows), guesses, len(self.label_to_id))

    def _indices(self, labeled: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """Return the index (N,) of the label of each row, or of each answer."""
        return np.array([self.label_to_id[one["label"]] for one in labeled])

    def guessing_loss(self, train: Any, rows: Sequence[Row]) -> tuple[float, float] | None:
        if not isinstance(self.loss, CrossEntropy):
            return None
        counts = Counter(values_of(train, "label"))
        by_label = [counts[label] for label in self.label_to_id]
        return losses_of_guessing(self.loss, by_label, self._indices(rows).tolist())

    def undefined_metrics(self, rows: Any) -> dict[str, str]:
        present, count = set(values_of(rows, "label")), len(self.label_to_id)
        absent = [label for label in self.label_to_id if label not in present]
        found = {"auroc": f"no row is {absent[0]!r}"} if absent else {}
        return found if count == 2 else {**found, "f1": f"{count} labels, not two"}

    def baseline(self, train: Any, rows: Sequence[Row]) -> list[Answer]:
        counts = Counter(values_of(train, "label"))
        shares = np.array([counts[label] / len(train) for label in self.label_to_id])
        return [answer(self.label_to_id, shares)] * len(rows)

    def examples(self, answers: Sequence[Answer], rows: Sequence[Row]) -> list[LabeledExample]:
        return [example(a, row) for a, row in zip(answers, rows, strict=True)]


def example(answer: Answer, row: Row) -> LabeledExample:
    texts = (row["text"], row.get("text_pair"))
    text = " / ".join(text for text in texts if text is not None)
    certainty = answer["probabilities"][answer["label"]]
    return LabeledExample(text, row["label"], answer["label"], certainty)


def answer(labels: dict[str, int], probabilities: np.ndarray) -> Answer:
    """Name the most probable label; the first one wins a tie."""
    best = list(labels)[int(probabilities.argmax())]
    return {"label": best, "probabilities": Probabilities(labels, probabilities)}
