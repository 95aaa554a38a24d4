"""What a task must say for itself. Everything else is shared."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tunesmith.data.rows import Column, Kind
from tunesmith.errors import TunesmithError

Row = Mapping[str, Any]  # one raw example, as the data source gives it
Features = dict[str, Any]  # one encoded example: `input_ids`, `labels`, ...
Batch = dict[str, Tensor]
Answer = dict[str, Any]  # what `predict` writes for one row

IGNORE = -100  # a label that neither loss nor metric counts
NOT_INPUTS = (
    "labels",
    "row",
    "full_length",
    "blank",
)  # what features hold beside the model's inputs


class Output(NamedTuple):
    """What a forward pass gives.

    `loss` is the mean over what the task counts, and `weight` how much that was (rows, or
    tokens, or the sum of their class weights), so that parts of a batch, on several devices
    or one after the other, can be put together to exactly the loss of the whole.
    """

    loss: Tensor  # ()
    logits: Tensor
    weight: Tensor  # ()


def texts_with(label: Kind) -> dict[str, Column]:
    """Return the columns of a task on a text, or a pair of texts, with a label of this kind."""
    return {
        "text": Column(Kind.TEXT),
        "text_pair": Column(Kind.TEXT, required=False),
        "label": Column(label),
    }


class Task(nn.Module, ABC):
    """A model and its meaning: how rows become batches, batches a loss, logits a score.

    A task knows nothing of optimizers, devices or loops, so it can be trained, wrapped,
    exported and tested alike. A subclass is final: to vary a task, wrap it. It promises:
    `encode` is a function of its row alone; padding and the other rows of a batch change no
    logits (beyond rounding); `gather` sees predictions in the order of their rows.
    """

    columns: ClassVar[Mapping[str, Column]]  # what every row holds
    problem: ClassVar[str]  # the head: a problem_type of transformers
    metric_names: ClassVar[tuple[str, ...]]  # what `score` returns; "loss" comes with every task
    monitor: ClassVar[str]  # the metric that says which checkpoint is best
    mode: ClassVar[str]  # "max" or "min", of the monitor

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    loss: nn.Module  # a subclass says which kind
    index: dict[str, int]  # of each label; empty where labels are numbers

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        labels: Sequence[str] | None,
        max_length: int,
        truncation: str,
        loss: nn.Module,
    ) -> None:
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer
        self.loss = loss
        self.labels = list(labels) if labels is not None else None
        self.index = {label: i for i, label in enumerate(labels or ())}
        self.max_length = max_length
        self.truncation = truncation

    @abstractmethod
    def forward(self, batch: Batch) -> Output:
        """Compute the loss and the logits behind it; needs `labels` in the batch."""

    @abstractmethod
    def label_of(self, row: Row) -> Any:
        """Return the encoded label of a row: an int, a float, or a list of them."""

    @abstractmethod
    def gather(self, predictions: Sequence[np.ndarray], rows: Sequence[Row]) -> list[Answer]:
        """Turn the predictions of a split, in row order, into one answer a row."""

    @abstractmethod
    def score(self, answers: Sequence[Answer], rows: Sequence[Row]) -> dict[str, float]:
        """Compare answers with the rows' labels; the keys are `metric_names`."""

    def fit_to(self, rows: Any) -> None:
        """Learn what must come from the train split (statistics, weights), before training."""

    def encode(self, row: Row) -> list[Features]:
        """Turn one raw row into ids and, where it has a label, `labels`."""
        encoded = self.tokenizer(
            row["text"], row.get("text_pair"), truncation=True, max_length=self.max_length
        )
        features = {k: v for k, v in encoded.items() if k != "attention_mask"}
        if not features["input_ids"]:
            raise _no_tokens(row)
        features["full_length"] = _length_before_truncation(encoded.encodings[0])
        if row.get("label") is not None:
            features["labels"] = self.label_of(row)
        return [features]

    def collate(self, features: list[Features]) -> Batch:
        """Pad to the longest: `input_ids`, `attention_mask` (B, T); `labels` (B,) or (B, C)."""
        inputs = [{k: v for k, v in f.items() if k not in NOT_INPUTS} for f in features]
        batch = dict(self.tokenizer.pad(inputs, return_tensors="pt", padding_side="right"))
        if "labels" in features[0]:
            batch["labels"] = torch.tensor(np.asarray([f["labels"] for f in features]))
        return batch

    def decode(self, batch: Batch, output: Output) -> list[np.ndarray]:
        """Return one prediction a feature: its logits, float32."""
        return list(output.logits.detach().float().cpu().numpy())

    def predict(self, batch: Batch) -> list[np.ndarray]:
        """Return one prediction a feature of a batch that has no labels."""
        zero = torch.zeros(())
        return self.decode(batch, Output(zero, self.logits(batch), zero))

    def counts(self, answers: Sequence[Answer], rows: Sequence[Row]) -> np.ndarray | None:
        """Return the (C, C) confusion counts, true by predicted; None where there is none."""
        return None

    def logits(self, batch: Batch) -> Tensor:
        """Run the model on a batch without its labels."""
        inputs = {name: value for name, value in batch.items() if name not in NOT_INPUTS}
        return self.model(**inputs).logits


def _no_tokens(row: Row) -> TunesmithError:
    """A tokenizer that marks the ends of a text makes two of an empty one; this one makes none."""
    where = f"row {row['row']}" if "row" in row else ""
    what = f"the text {row['text'][:40]!r} becomes no token at all"
    return TunesmithError("INTERNAL", where, what, "data.on_empty_text=drop leaves it out")


def _length_before_truncation(encoding: Any) -> int:
    special = sum(encoding.special_tokens_mask)
    return len(encoding) + sum(len(part) - special for part in encoding.overflowing)
