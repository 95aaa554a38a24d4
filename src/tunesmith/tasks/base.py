"""What a task must say for itself. Everything else is shared."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tunesmith.data.columns import Column, ColumnType
from tunesmith.errors import TunesmithError
from tunesmith.models.encoder import head_parameters
from tunesmith.tasks.text.long_text import AT_AN_END, encoded

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
    pair_logits: Tensor | None = None  # (B, 2), of a task that judges pairs beside its tokens


class TaskContext(NamedTuple):
    """What a task is to be made of, all but the model."""

    options: Mapping[str, Any]  # the keys of the task's yaml
    labels: Sequence[str] | None
    tokenizer: PreTrainedTokenizerBase
    max_length: int
    longest: int  # tokens that the model takes
    columns: frozenset[str] = frozenset()  # those that the rows have, of the task's


class LabeledExample(NamedTuple):
    """A row as TensorBoard shows it, with what was wanted and what was given."""

    text: str
    wanted: str
    given: str
    certainty: float  # 0 to 1


class GeneratedExample(NamedTuple):
    """A text as TensorBoard shows it: what was wanted, and what was written of it this time."""

    text: str
    wanted: str
    given: str


def texts_with(label: ColumnType) -> dict[str, Column]:
    """Return the columns of a task on a text, or a pair of texts, with a label of this kind."""
    return {
        "text": Column(ColumnType.TEXT),
        "text_pair": Column(ColumnType.TEXT, required=False),
        "label": Column(label, target=True),
    }


class Task(nn.Module, ABC):
    """A model and its meaning: how rows become batches, batches a loss, logits a score.

    A task knows nothing of optimizers, devices or loops, so it can be trained, wrapped,
    exported and tested alike. A subclass is final: to vary a task, wrap it. It promises:
    `encode` is a function of its row alone; padding and the other rows of a batch change no
    logits (beyond rounding); `gather` sees predictions in the order of their rows.
    """

    columns: ClassVar[Mapping[str, Column]]  # what every row holds
    problem: ClassVar[str]  # the head: a key of models.heads.HEADS
    metrics: ClassVar[tuple[str, ...]]  # what `score` returns; "loss" comes with every task
    minimised: ClassVar[tuple[str, ...]] = ()  # those of them that are better when lower
    encoded_columns: ClassVar[tuple[str, ...]] = ()  # each has an encoder of its own: task.NAME
    monitor: ClassVar[str]  # the metric that says which checkpoint is best
    answers_alone: ClassVar[bool] = True  # False: a row's answer depends on the other rows
    cuts: ClassVar[tuple[str, ...]] = AT_AN_END  # how it can cut a long text: data.truncation
    parts_rows: ClassVar[bool] = False  # True: it makes several features of a long row
    tuned: ClassVar[tuple[str, ...]] = ()  # keys of its yaml that a finished run may get anew

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

    def forward(self, batch: Batch) -> Output:
        """Compute the loss and the logits behind it; needs `labels` in the batch."""
        logits = self.logits(batch)
        mean, weight = self.loss(logits, batch["labels"])
        return Output(mean, logits, weight)

    def calibrate(self, predictions: Sequence[Sequence[Any]], rows: Sequence[Row]) -> None:
        """Tune, on the validation split, what turns predictions into answers: a threshold.

        Called at each validation of a training, before `gather`, and never with other rows. What
        it sets is a buffer: a checkpoint keeps it beside the weights that it was tuned for.
        """

    def refit(self, batches: Iterable[Batch]) -> None:
        """Fit, on the train split, what no gradient teaches: a head on embeddings.

        Called before each validation of a training, in evaluation mode, with every train row
        once, unvaried, in an order of their own that never changes. What it sets is a buffer.
        """

    @abstractmethod
    def gather(self, predictions: Sequence[Sequence[Any]], rows: Sequence[Row]) -> list[Answer]:
        """Turn the predictions of a split into one answer a row.

        `predictions` has, for each row, what `decode` returned for each of its features.
        """

    @abstractmethod
    def score(self, answers: Sequence[Answer], rows: Sequence[Row]) -> dict[str, float]:
        """Compare answers with what the rows say; the keys are those of `metrics`.

        One that `undefined` names may be left out, or is NaN.
        """

    @classmethod
    def problem_of(cls, options: Mapping[str, Any]) -> str:
        """Return the head that the task wants with these options, the keys of its yaml."""
        return cls.problem

    @classmethod
    def check_pieces(cls, options: Mapping[str, Any], pieces: int) -> None:
        """Raise ConfigError where a batch cannot be cut: its loss is no mean over its rows."""

    @classmethod
    def check(cls, plan: TaskContext) -> None:
        """Raise what makes the task impossible, before a weight is read."""

    def label_of(self, row: Row) -> Any:
        """Return the encoded label of a row: an int, a float, or a list of them."""
        raise NotImplementedError

    def fit_to(self, rows: Any) -> None:
        """Learn what must come from the train split (statistics, weights), before training."""

    def make_room(self, shapes: Mapping[str, Sequence[int]]) -> None:
        """Make what `fit_to` makes, in the sizes that a stored run has of it, by their names."""

    def head_names(self) -> set[str]:
        """Return the names of the parameters that are no encoder's: the head, above all."""
        return {f"model.{name}" for name in head_parameters(self.model)}

    def readers(self) -> list[nn.Module]:
        """Return the encoders: what is fixed where only the head learns."""
        return [self.model.base_model]

    def besides(self) -> dict[str, Callable[[Path], None]]:
        """Return what writes the other encoders than `model`, each to a folder: {name: writer}.

        The one called NAME is `encoders.NAME.model`.
        """
        return {}

    def lies_apart(self, name: str) -> bool:
        """Tell whether a parameter or buffer is saved with an encoder, not in task.safetensors."""
        return name.startswith(("model.", *(f"encoders.{one}.model." for one in self.besides())))

    def limit(self) -> str:
        """Say what `encode` cuts, and at how many tokens; continues "5% of ..."."""
        return f"texts cut at {self.max_length} tokens"

    def encode(self, row: Row) -> list[Features]:
        """Turn one raw row into features: what the model reads and, where known, `labels`.

        Each has its `length` in tokens, by which batches are made, and the `full_length` that
        it would have if nothing had been cut.
        """
        found = encoded(self.tokenizer, row, self.max_length, self.truncation)
        if not found[0]["input_ids"]:
            raise no_tokens(row, row["text"])
        if row.get("label") is not None:
            label = self.label_of(row)
            found = [{**features, "labels": label} for features in found]
        return found

    def vary(
        self, features: Features, rng: np.random.Generator, others: Sequence[Features]
    ) -> Features:
        """Draw what differs from epoch to epoch, such as masks; an evaluation draws the same.

        `rng` is a function of seed, epoch and feature; `others` are all features of the split.
        """
        return features

    def collate(self, features: list[Features]) -> Batch:
        """Pad to the longest: `input_ids`, `attention_mask` (B, T); `labels` (B,) or (B, C)."""
        batch = self.padded(features)
        if "labels" in features[0]:
            batch["labels"] = torch.tensor(np.asarray([f["labels"] for f in features]))
        return batch

    def padded(self, features: list[Features]) -> Batch:
        """Return what the model reads, (B, T) each, padded to the longest."""
        names = self.tokenizer.model_input_names
        inputs = [{k: f[k] for k in names if k in f} for f in features]
        return dict(self.tokenizer.pad(inputs, return_tensors="pt", padding_side="right"))

    def decode(self, batch: Batch, output: Output) -> list[Any]:
        """Return one prediction a feature: its logits, float32."""
        return list(output.logits.detach().float().cpu().numpy())

    def predict(self, batch: Batch) -> list[Any]:
        """Return one prediction a feature of a batch that has no labels."""
        zero = torch.zeros(())
        return self.decode(batch, Output(zero, self.logits(batch), zero))

    def counts(self, answers: Sequence[Answer], rows: Sequence[Row]) -> np.ndarray | None:
        """Return the (C, C) confusion counts, true by predicted; None where there is none."""
        return None

    def trivial(self, train: Any, rows: Sequence[Row]) -> list[Answer]:
        """Answer without reading, from the train split's labels alone: what learning must beat.

        Empty where nothing can be said so.
        """
        return []

    def undefined(self, rows: Any) -> dict[str, str]:
        """Return the metrics that are no number on these rows whatever is answered, and why."""
        return {}

    def examples(self, answers: Sequence[Answer], rows: Sequence[Row]) -> list[LabeledExample]:
        """Return what TensorBoard may show of a validation; by default nothing."""
        return []

    def samples(self, answers: Sequence[Answer], rows: Sequence[Row]) -> list[GeneratedExample]:
        """Return texts, the same ones each time, that TensorBoard shows at every validation."""
        return []

    def logits(self, batch: Batch) -> Tensor:
        """Run the model on a batch without its labels."""
        return self.model(**self.inputs(batch)).logits

    def inputs(self, batch: Batch) -> dict[str, Tensor]:
        """Return what of a batch the model reads."""
        return {k: batch[k] for k in self.tokenizer.model_input_names if k in batch}


def no_tokens(row: Row, text: str) -> TunesmithError:
    """A tokenizer that marks the ends of a text makes two of an empty one; this one makes none."""
    where = f"row {row['row']}" if "row" in row else ""
    what = f"the text {text[:40]!r} becomes no token at all"
    return TunesmithError("INTERNAL", where, what, "data.on_empty_text=drop leaves it out")
