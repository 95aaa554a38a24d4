"""The contract of a task: from rows to batches, to a loss, to answers and their scores."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tunesmith.data.columns import Column
from tunesmith.models.heads import Head

Row = Mapping[str, Any]  # one raw example, as the data source gives it
Features = dict[str, Any]  # one encoded example: `input_ids`, `labels`, ...
Batch = dict[str, Tensor]
Answer = dict[str, Any]  # what `predict` writes for one row

IGNORE = -100  # a label that neither loss nor metric counts


class Output(NamedTuple):
    """What a forward pass gives.

    `loss` is the mean over what the task counts, and `weight` how much that was (rows, or
    tokens, or the sum of their class weights), so that parts of a batch, on several devices
    or one after the other, can be put together to exactly the loss of the whole.
    """

    loss: Tensor  # ()
    logits: Tensor
    weight: Tensor  # ()
    pair_logits: Tensor | None = None  # (B, 2), of a task that judges pairs as well as tokens


class TaskContext(NamedTuple):
    """What a task is to be made of, all but the model."""

    options: Mapping[str, Any]  # the keys of the task's yaml
    labels: Sequence[str] | None
    tokenizer: PreTrainedTokenizerBase
    max_length: int
    longest: int  # tokens that the model takes
    columns: frozenset[str] = frozenset()  # those of the task's that the rows have


class Task(nn.Module, ABC):
    """A model and its meaning: how rows become batches, batches a loss, predictions a score.

    A task knows nothing of optimizers, devices or loops, so it can be trained, wrapped,
    exported and tested alike. A subclass is abstract or final: to vary a task, wrap it. It
    promises: `encode` is a function of its row alone; padding and the other rows of a batch
    change no logits (beyond rounding); `aggregate` sees predictions in the order of their rows.
    What only some tasks can do is a class of `tasks.capabilities` that they inherit from as well.
    """

    columns: ClassVar[Mapping[str, Column]]  # what every row holds
    head: ClassVar[Head]  # what transformers puts on the encoder
    losses: ClassVar[tuple[type[nn.Module], ...]]  # those of ours that it can learn by
    metrics: ClassVar[Mapping[str, str]]  # {what `score` returns: "max" or "min", its better end}
    monitor: ClassVar[str]  # the metric that says which checkpoint is best

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    loss: nn.Module  # a subclass says which kind
    label_to_id: dict[str, int]  # empty where labels are numbers

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
        self.label_to_id = {label: i for i, label in enumerate(labels or ())}
        self.max_length = max_length
        self.truncation = truncation

    @classmethod
    def check(cls, context: TaskContext) -> None:
        """Raise what makes the task impossible, before a weight is read."""

    def fit_statistics(self, train: Any) -> None:
        """Compute what must come from the train split (statistics, weights), before training."""

    # Rows to batches

    @abstractmethod
    def encode(self, row: Row) -> list[Features]:
        """Turn one raw row into features: what the model reads and, where known, `labels`.

        Each has its `length` in tokens, by which batches are made, and the `full_length` that
        it would have if nothing had been truncated.
        """

    def encode_batch(self, rows: Sequence[Row]) -> list[list[Features]]:
        """Encode several rows: the same as `encode` of each, where that can be quicker."""
        return [self.encode(row) for row in rows]

    @abstractmethod
    def collate(self, features: list[Features]) -> Batch:
        """Pad features to the longest and put them into one batch.

        They are as `encode` returned them; or, in training and evaluation, read from their file:
        without `length` and `full_length`, and a list of numbers is a numpy array, which nobody
        may write to, and to whose numbers `+` adds.
        """

    # Batches to predictions

    @abstractmethod
    def forward(self, batch: Batch) -> Output:
        """Compute the loss and the logits behind it; needs `labels` in the batch."""

    @abstractmethod
    def predict(self, batch: Batch) -> list[Any]:
        """Return one prediction per feature of a batch that has no labels."""

    @abstractmethod
    def decode(self, batch: Batch, output: Output) -> list[Any]:
        """Return one prediction per feature of a batch after its forward pass."""

    # Predictions to scores

    @abstractmethod
    def aggregate(self, predictions: Sequence[Sequence[Any]], rows: Sequence[Row]) -> list[Answer]:
        """Turn the predictions of a split into one answer per row.

        `predictions` has, for each row, what `decode` returned for each of its features.
        """

    @abstractmethod
    def score(self, answers: Sequence[Answer], rows: Sequence[Row]) -> dict[str, float]:
        """Compare answers with what the rows say; the keys are those of `metrics`.

        A metric that is not defined on these rows may be left out, or is NaN.
        """

    def baseline(self, train: Any, rows: Sequence[Row]) -> list[Answer]:
        """Answer without reading, from the train split's labels alone: what learning must beat.

        Empty where no such answer exists.
        """
        return []
