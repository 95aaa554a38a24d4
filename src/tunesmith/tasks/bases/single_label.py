"""What every task has in common that gives a text, or a pair of texts, one of its labels."""

from abc import ABC
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multiclass_auroc,
    multiclass_confusion_matrix,
    multiclass_f1_score,
    multiclass_matthews_corrcoef,
)

from tunesmith.data.columns import ColumnType
from tunesmith.tasks.base import Answer, Row
from tunesmith.tasks.bases.text_task import TextTask, texts_with
from tunesmith.tasks.capabilities import (
    HasUndefinedMetrics,
    LabeledExample,
    ShowsConfusion,
    ShowsExamples,
)
from tunesmith.tasks.losses import ClassWeighted
from tunesmith.tasks.text.long_text import pooled


class SingleLabel(TextTask, HasUndefinedMetrics, ShowsExamples, ShowsConfusion, ABC):
    """Scores every label of a text, logits (B, C); the answer is the most probable one.

    Of two labels `f1` is that of the second, as GLUE scores MRPC and QQP; of more there is none.
    """

    columns = texts_with(ColumnType.CLASS)
    metrics: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("accuracy", "f1", "f1_macro", "f1_micro", "mcc", "auroc"), "max"
    )
    monitor = "accuracy"

    loss: Any  # of logits and labels; a subclass that learns otherwise has another `forward`

    def fit_statistics(self, train: Any) -> None:
        self.weigh_classes(train)

    def weigh_classes(self, train: Any) -> None:
        """Let a loss that weighs classes count them."""
        if isinstance(self.loss, ClassWeighted):
            counts = Counter(train["label"])
            self.loss.weigh_classes([counts[label] for label in self.label_to_id])

    def label_of(self, row: Row) -> int:
        return self.label_to_id[row["label"]]

    def aggregate(self, predictions: Sequence[Sequence[Any]], rows: Sequence[Row]) -> list[Answer]:
        if not len(predictions):
            return []
        logits = torch.from_numpy(pooled(predictions))  # (N, C)
        probabilities = logits.softmax(-1).tolist()
        return [answer(self.label_to_id, row) for row in probabilities]

    def score(self, answers: Sequence[Answer], rows: Sequence[Row]) -> dict[str, float]:
        guesses, truths = self.tensors(answers, rows)  # (N, C), (N,)
        classes: dict[str, Any] = {"num_classes": len(self.label_to_id)}
        f1 = multiclass_f1_score(guesses, truths, **classes, average=None)  # (C,)
        present = truths.unique().numel() == len(self.label_to_id)  # AUROC needs every class
        scores = {
            "accuracy": multiclass_accuracy(guesses, truths, **classes, average="micro"),
            **({"f1": f1[1]} if len(f1) == 2 else {}),
            "f1_macro": multiclass_f1_score(guesses, truths, **classes, average="macro"),
            "f1_micro": multiclass_f1_score(guesses, truths, **classes, average="micro"),
            "mcc": multiclass_matthews_corrcoef(guesses, truths, **classes),
            "auroc": multiclass_auroc(guesses, truths, **classes) if present else torch.nan,
        }
        return {name: float(value) for name, value in scores.items()}

    def confusion(self, answers: Sequence[Answer], rows: Sequence[Row]) -> np.ndarray:
        guesses, truths = self.tensors(answers, rows)
        return multiclass_confusion_matrix(
            guesses, truths, num_classes=len(self.label_to_id)
        ).numpy()

    def undefined_metrics(self, rows: Any) -> dict[str, str]:
        count, absent = (
            len(self.label_to_id),
            [x for x in self.label_to_id if x not in set(rows["label"])],
        )
        found = {"auroc": f"no row is {absent[0]!r}"} if absent else {}
        return found if count == 2 else {**found, "f1": f"{count} labels, not two"}

    def baseline(self, train: Any, rows: Sequence[Row]) -> list[Answer]:
        counts = Counter(train["label"])
        return [
            answer(self.label_to_id, [counts[label] / len(train) for label in self.label_to_id])
        ] * len(rows)

    def examples(self, answers: Sequence[Answer], rows: Sequence[Row]) -> list[LabeledExample]:
        return [example(a, row) for a, row in zip(answers, rows, strict=True)]

    def tensors(
        self, answers: Sequence[Answer], rows: Sequence[Row]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return probabilities (N, C) and true indices (N,)."""
        guesses = torch.tensor([list(a["probabilities"].values()) for a in answers])
        return guesses, torch.tensor([self.label_to_id[row["label"]] for row in rows])


def example(answer: Answer, row: Row) -> LabeledExample:
    texts = (row["text"], row.get("text_pair"))
    text = " / ".join(text for text in texts if text is not None)
    certainty = answer["probabilities"][answer["label"]]
    return LabeledExample(text, row["label"], answer["label"], certainty)


def answer(labels: dict[str, int], probabilities: list[float]) -> Answer:
    """Name the most probable label; the first one wins a tie."""
    best = max(range(len(probabilities)), key=probabilities.__getitem__)
    names = list(labels)
    return {"label": names[best], "probabilities": dict(zip(names, probabilities, strict=True))}
