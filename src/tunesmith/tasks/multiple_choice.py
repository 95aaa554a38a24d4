"""Multiple choice: which of a row's texts goes with its context; rows may have any number."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from tunesmith.data.columns import Column, ColumnType
from tunesmith.data.lazy_rows import values_of
from tunesmith.models import heads
from tunesmith.models.scatter import scatter_rows
from tunesmith.tasks.base import Answer, Batch, Features, Row
from tunesmith.tasks.bases.text_task import TextTask, no_tokens
from tunesmith.tasks.capabilities import (
    ComparesWithGuessing,
    LabeledExample,
    NotesTruncation,
    ShowsExamples,
)
from tunesmith.tasks.losses import ChoiceCrossEntropy
from tunesmith.tasks.text import multi_text, padding


class MultipleChoice(TextTask, NotesTruncation, ComparesWithGuessing, ShowsExamples):
    """Reads the context with each choice, and scores the choices of a row against each other.

    What begins every choice (SWAG's second sentence) is a column of its own, `text_pair`, and is
    read in front of each.
    """

    columns: ClassVar[Mapping[str, Column]] = {
        "text": Column(ColumnType.TEXT),
        "text_pair": Column(ColumnType.TEXT, required=False),
        "choices": Column(ColumnType.CHOICES),
        "label": Column(ColumnType.CHOICE, target=True),
    }
    head = heads.MULTIPLE_CHOICE
    losses = (ChoiceCrossEntropy,)
    metrics: ClassVar[Mapping[str, str]] = {"accuracy": "max"}
    monitor = "accuracy"
    decision = "index"

    loss: ChoiceCrossEntropy

    def truncation_note(self) -> str:
        return f"contexts with a choice truncated at {self.max_length} tokens"

    def encode(self, row: Row) -> list[Features]:
        """Make one feature a row, which holds all its choices."""
        begun = row.get("text_pair") or ""
        second = [f"{begun} {choice}" if begun else choice for choice in row["choices"]]
        pairs = [(row["text"], choice) for choice in second]
        features = multi_text.encoded(self.tokenizer, pairs, self.max_length)
        if not all(features["input_ids"]):
            raise no_tokens(row, row["text"])
        if row.get("label") is not None:
            features["labels"] = int(row["label"])
        return [features]

    def pad(self, features: list[Features]) -> Batch:
        return padding.pad_several(self.tokenizer, features)

    def logits(self, batch: Batch) -> Tensor:
        """Score the choices (B, C), -inf where a row has fewer."""
        chosen = multi_text.is_text(batch)
        inputs = multi_text.of_texts(self.model_inputs(batch), chosen)  # (N, T)
        # To the model they are the choices of one row: its head scores each by itself.
        scores = self.model(**{k: v.unsqueeze(0) for k, v in inputs.items()}).logits[0].float()
        return scatter_rows(scores, chosen, -torch.inf)

    def aggregate(self, predictions: Sequence[Sequence[Any]], rows: Sequence[Row]) -> list[Answer]:
        return [
            answer(logits[: len(row["choices"])], row["choices"])
            for [logits], row in zip(predictions, rows, strict=True)
        ]

    def score(self, answers: Sequence[Answer], rows: Sequence[Row]) -> dict[str, float]:
        right = [a["index"] == row["label"] for a, row in zip(answers, rows, strict=True)]
        return {"accuracy": sum(right) / len(right)}

    def baseline(self, train: Any, rows: Sequence[Row]) -> list[Answer]:
        """Give the place that is right most often in the train split."""
        index, count = Counter(values_of(train, "label")).most_common(1)[0]
        same = {"choice": None, "index": index, "probabilities": [count / len(train)]}
        return [same] * len(rows)

    def guessing_loss(self, train: Any, rows: Sequence[Row]) -> tuple[float, float] | None:
        even = sum(math.log(len(row["choices"])) for row in rows) / len(rows)
        return even, even

    def examples(self, answers: Sequence[Answer], rows: Sequence[Row]) -> list[LabeledExample]:
        return [example(a, row) for a, row in zip(answers, rows, strict=True)]


def answer(logits: Any, choices: Sequence[str]) -> Answer:
    """Give the most probable choice, its place from 0, and the probability of each."""
    probabilities = torch.as_tensor(logits).softmax(-1).tolist()
    best = max(range(len(choices)), key=probabilities.__getitem__)
    return {"choice": choices[best], "index": best, "probabilities": probabilities}


def example(answer: Answer, row: Row) -> LabeledExample:
    text = " / ".join(text for text in (row["text"], row.get("text_pair")) if text)
    certainty = answer["probabilities"][answer["index"]]
    return LabeledExample(text, row["choices"][row["label"]], answer["choice"], certainty)
