"""What only some tasks can do: a task inherits from each of these classes that it can serve.

It is asked by type: `isinstance(task, FitsHead)`. None of them has state or code of its own.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
from torch import nn

from tunesmith.models.encoder import head_parameters
from tunesmith.tasks.base import Answer, Batch, Features, Row, Task
from tunesmith.tasks.text import padding


class LabeledExample(NamedTuple):
    """A row as TensorBoard shows it, with its label and the answer."""

    text: str
    label: str
    answer: str
    certainty: float  # 0 to 1


class GeneratedExample(NamedTuple):
    """A text as TensorBoard shows it: the text to write, and what the model wrote this time."""

    text: str
    target: str
    generated: str


class Augments(ABC):
    """Draws what differs from epoch to epoch: masks, pairs."""

    @abstractmethod
    def augment(
        self, features: Features, rng: np.random.Generator, others: Sequence[Features]
    ) -> Features:
        """Return the features as this epoch sees them; an evaluation draws the same each time.

        `rng` is a function of seed, epoch and feature; `others` are all features of the split.
        """


class Calibrates(ABC):
    """Tunes, on the validation split, what turns predictions into answers: a threshold."""

    @abstractmethod
    def calibrate(self, predictions: Sequence[Sequence[Any]], rows: Sequence[Row]) -> None:
        """Set it; called at each validation of a training, before `aggregate`, on no other rows.

        What it sets is a buffer: a checkpoint keeps it with the weights that it was tuned for.
        """


class FitsHead(ABC):
    """Has a head that no gradient teaches: it is fitted to embeddings."""

    @abstractmethod
    def fit_head(self, batches: Iterable[Batch]) -> None:
        """Fit it to the train split, called before each validation of a training.

        `batches` has every train row once, not augmented, in an order of their own that never
        changes; the task is in evaluation mode. What it sets is a buffer.
        """


class Generates(ABC):
    """Writes texts."""

    inference_options: ClassVar[tuple[str, ...]]  # keys of its yaml that predictions may change

    @abstractmethod
    def generated_examples(
        self, answers: Sequence[Answer], rows: Sequence[Row]
    ) -> list[GeneratedExample]:
        """Return texts, the same ones each time, that TensorBoard shows at every validation."""


class ShowsExamples(ABC):
    """Has answers that TensorBoard can show next to their rows."""

    @abstractmethod
    def examples(self, answers: Sequence[Answer], rows: Sequence[Row]) -> list[LabeledExample]:
        """Return what TensorBoard may show of a validation."""


class ShowsConfusion(ABC):
    """Has answers that a confusion matrix can count."""

    @abstractmethod
    def confusion(self, answers: Sequence[Answer], rows: Sequence[Row]) -> np.ndarray:
        """Return the counts (C, C), true by predicted."""


class HasUndefinedMetrics(ABC):
    """Has metrics that are no number on some rows, whatever is answered."""

    @abstractmethod
    def undefined_metrics(self, rows: Any) -> dict[str, str]:
        """Return those metrics on these rows, and the reason of each."""


class ComparesWithGuessing(ABC):
    """Can tell an answer that is the same for every row from one that was learnt."""

    decision: ClassVar[str]  # the key of an answer that is compared

    @abstractmethod
    def guessing_loss(self, train: Any, rows: Sequence[Row]) -> tuple[float, float] | None:
        """Return what answers cost on `rows` that read nothing: by train's shares, and by no idea.

        None where the loss is of something else than the answers.
        """


class SplitsRows(ABC):  # noqa: B024
    """Makes several features of a long row."""


class UsesOtherRows(ABC):
    """Answers a row by the other rows: all must be in memory, and a batch is more than its rows."""

    @classmethod
    @abstractmethod
    def check_micro_batches(cls, options: Mapping[str, Any], micro_batches: int) -> None:
        """Raise ConfigError where a batch cannot be divided into so many micro-batches."""


class TruncatesLongTexts(ABC):
    """Can shorten a long text in other ways than at one of its ends."""

    truncation_modes: ClassVar[tuple[str, ...]]  # values of data.truncation


class NotesTruncation(ABC):
    """Truncates something else than texts at `max_length` tokens."""

    @abstractmethod
    def truncation_note(self) -> str:
        """Say what is truncated, and at how many tokens; continues "5% of ..."."""


class Capturable(ABC):  # noqa: B024
    """Runs the same kernels for all batches of one shape, and reads no number on the host.

    So CUDA can capture its training step as a graph. Its `forward` chooses by arithmetic, not by
    a boolean mask, and makes no tensor from Python numbers.
    """

    token_fillers: ClassVar[Mapping[str, int]] = {}  # pads its own tensors (B, T, ...) of tokens


class HasModalities(ABC):
    """Reads columns other than the text, which have encoders of their own."""

    modality_columns: ClassVar[tuple[str, ...]]  # the options of each one's encoder: task.NAME
    encoders: nn.ModuleDict  # of the columns that the rows have

    @abstractmethod
    def allocate_state(self, shapes: Mapping[str, Sequence[int]]) -> None:
        """Make what `fit_statistics` makes, in the sizes that a saved run has, by their names."""


# What follows from them


def fillers_of(task: Task) -> dict[str, int]:
    """Return what pads each tensor of tokens (B, T, ...) in a batch of a task."""
    own = task.token_fillers if isinstance(task, Capturable) else {}
    return {**padding.fillers_of(task.tokenizer), **own}


def modality_columns(task: type[Task]) -> tuple[str, ...]:
    return task.modality_columns if issubclass(task, HasModalities) else ()


def truncation_modes(task: type[Task]) -> tuple[str, ...]:
    """Return the values of data.truncation that a task can do."""
    return task.truncation_modes if issubclass(task, TruncatesLongTexts) else ("right", "left")


def encoders_of(task: Task) -> list[nn.Module]:
    """Return the encoders: what is frozen where only the head learns."""
    if isinstance(task, HasModalities):
        return [task.model, *task.encoders.values()]
    return [task.model.base_model]


def head_names(task: Task) -> set[str]:
    """Return the names of the parameters that no encoder has: the head's, above all."""
    if isinstance(task, HasModalities):
        encoders = ("model.", "encoders.")
        return {name for name, _ in task.named_parameters() if not name.startswith(encoders)}
    return {f"model.{name}" for name in head_parameters(task.model)}


def is_saved_with_encoder(task: Task, name: str) -> bool:
    """Tell whether a parameter or buffer is saved with an encoder, not in task.safetensors."""
    others = task.encoders if isinstance(task, HasModalities) else ()
    return name.startswith(("model.", *(f"encoders.{other}.model." for other in others)))
