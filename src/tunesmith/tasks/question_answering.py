"""Extractive question answering: the stretch of a context that answers a question, or none."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from tunesmith.data.columns import Column, ColumnType
from tunesmith.data.lazy_rows import values_of
from tunesmith.errors import ConfigError
from tunesmith.models import heads
from tunesmith.runtime.options import Count, CountOrZero
from tunesmith.tasks.base import (
    Answer,
    Batch,
    Features,
    Output,
    Row,
    TaskContext,
)
from tunesmith.tasks.bases.text_task import TextTask
from tunesmith.tasks.capabilities import (
    Calibrates,
    Capturable,
    ComparesWithGuessing,
    HasUndefinedMetrics,
    LabeledExample,
    NotesTruncation,
    ShowsExamples,
    SplitsRows,
)
from tunesmith.tasks.losses import SpanCrossEntropy
from tunesmith.tasks.metrics.exact_match import best_threshold, exact_match, f1
from tunesmith.tasks.text.answer_spans import (
    Window,
    answer,
    answer_position,
    merged,
    offsets_of,
    windows_of,
)
from tunesmith.tasks.text.long_text import overlap


class QuestionAnswering(
    TextTask,
    Calibrates,
    Capturable,
    ComparesWithGuessing,
    HasUndefinedMetrics,
    NotesTruncation,
    ShowsExamples,
    SplitsRows,
):
    """Scores where an answer starts and ends, in overlapping windows of the context.

    A window without the answer points to its first token. A question gets no answer where that
    scores more than `null_threshold` above the best span (Devlin et al., 2019, 4.3); each
    validation of a training tunes it.
    """

    columns: ClassVar[Mapping[str, Column]] = {
        "question": Column(ColumnType.TEXT),
        "context": Column(ColumnType.TEXT),
        "answers": Column(ColumnType.SPANS, target=True),
    }
    head = heads.QUESTION_ANSWERING
    losses = (SpanCrossEntropy,)
    metrics: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("exact_match", "f1", "has_answer_f1", "no_answer_accuracy"), "max"
    )
    monitor = "f1"
    decision = "answer"
    token_fillers: ClassVar[Mapping[str, int]] = {"offsets": -1}

    loss: SpanCrossEntropy
    null_threshold: Tensor  # (); infinite: every question is answered

    def __init__(
        self,
        *,
        stride: CountOrZero | None,
        max_question_length: Count | None,
        max_answer_length: Count,
        n_best: Count,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        self.stride, self.max_question_length = lengths(
            stride, max_question_length, self.max_length
        )
        self.max_answer_length, self.n_best = max_answer_length, n_best
        self.register_buffer("null_threshold", torch.tensor(math.inf))

    @classmethod
    def check(cls, context: TaskContext) -> None:
        """Raise ConfigError where a window would not go on from the one before."""
        given = context.options
        stride, question = lengths(
            given["stride"], given["max_question_length"], context.max_length
        )
        room = (
            context.max_length - question - context.tokenizer.num_special_tokens_to_add(pair=True)
        )
        if room <= stride:
            what = f"{question} of {context.max_length} tokens for a question leave {max(room, 0)}"
            what += " for text"
            fix = "lower it or task.max_question_length, or raise data.max_length"
            raise ConfigError("CONF-LENGTH", f"task.stride={stride}", what, fix)

    # Rows to batches

    def truncation_note(self) -> str:
        return f"windows with a question truncated at {self.max_question_length} tokens"

    def encode(self, row: Row) -> list[Features]:
        """Make a window of as much context as fits beside the question, and more as needed."""
        question, cut = self._shortened(row["question"])
        encoded = self.tokenizer(
            question,
            row["context"],
            truncation="only_second",
            max_length=self.max_length,
            stride=self.stride,
            return_overflowing_tokens=True,
        )
        names = [k for k in self.tokenizer.model_input_names if k in encoded]
        windows = []
        for i, encoding in enumerate(encoded.encodings):
            inputs = {k: encoded[k][i] for k in names if k != "attention_mask"}
            windows.append(inputs | self._with_offsets(row, encoding, cut))
        return windows

    def _with_offsets(self, row: Row, encoding: Any, truncated: int) -> Features:
        """Return where the tokens of a window stand in the context, and the answer among them."""
        offsets, length = offsets_of(encoding), len(encoding)
        placed: Features = {"length": length, "full_length": length + truncated}
        placed |= {"starts": offsets[:, 0].tolist(), "ends": offsets[:, 1].tolist()}
        if row.get("answers") is not None:
            placed["labels"] = answer_position(row["answers"], offsets)
        return placed

    def _shortened(self, question: str) -> tuple[str, int]:
        """Return a question of at most `max_question_length` tokens, and how many were cut."""
        offsets, most = self._token_offsets(question), self.max_question_length
        if len(offsets) <= most:
            return question, 0
        for kept in range(most, 0, -1):  # what is left may be cut into other, more tokens
            left = self.truncation == "left"
            short = question[offsets[-kept][0] :] if left else question[: offsets[kept - 1][1]]
            if len(self._token_offsets(short)) <= most:
                return short, len(offsets) - kept
        return "", len(offsets)

    def _token_offsets(self, text: str) -> list[tuple[int, int]]:
        return self.tokenizer(text, add_special_tokens=False, verbose=False).encodings[0].offsets

    def collate(self, features: list[Features]) -> Batch:
        """Pad to the longest; `offsets` (B, T, 2) in the context, else -1; `labels` (B, 2)."""
        batch = self.pad(features)
        offsets = torch.full((*batch["input_ids"].shape, 2), -1)
        for i, f in enumerate(features):
            offsets[i, : len(f["starts"])] = torch.tensor(np.stack([f["starts"], f["ends"]], -1))
        batch["offsets"] = offsets
        if "labels" in features[0]:
            batch["labels"] = torch.tensor(np.asarray([f["labels"] for f in features]))
        return batch

    # Batches to answers

    def forward(self, batch: Batch) -> Output:
        logits = self.logits(batch)  # (B, T, 2)
        mean, weight = self.loss(logits, batch["labels"])
        return Output(mean, logits, weight)

    def logits(self, batch: Batch) -> Tensor:
        """Return scores (B, T, 2) of a start and an end, -inf at tokens that can be neither."""
        output = self.model(**self.model_inputs(batch))
        logits = torch.stack([output.start_logits, output.end_logits], dim=-1).float()
        is_possible = batch["offsets"] >= 0  # (B, T, 2)
        is_possible[:, 0].fill_(True)  # no answer
        return logits.masked_fill(~is_possible, -math.inf)

    def decode(self, batch: Batch, output: Output) -> list[Window]:
        logits = output.logits.detach()
        return windows_of(logits, batch["offsets"], self.max_answer_length, self.n_best)

    def calibrate(self, predictions: Sequence[Sequence[Any]], rows: Sequence[Row]) -> None:
        """Set the threshold under which these rows' F1 is highest; infinite if all have answers."""
        margins, gains = [], []
        for windows, row in zip(predictions, rows, strict=True):
            null, spans = merged(windows, row["context"])
            if spans:
                right = right_answers(row)
                margins.append(null - spans[0].score)
                text = row["context"][spans[0].start : spans[0].end]
                gains.append(f1(text, right) - f1("", right))
        self.null_threshold.fill_(best_threshold(margins, gains))

    def aggregate(self, predictions: Sequence[Sequence[Any]], rows: Sequence[Row]) -> list[Answer]:
        threshold = float(self.null_threshold)
        answers = []
        for windows, row in zip(predictions, rows, strict=True):
            null, spans = merged(windows, row["context"])
            answers.append(answer(row["context"], null, spans[: self.n_best], threshold))
        return answers

    def guessing_loss(self, train: Any, rows: Sequence[Row]) -> tuple[float, float] | None:
        return None

    def score(self, answers: Sequence[Answer], rows: Sequence[Row]) -> dict[str, float]:
        pairs = [(a["answer"], right_answers(row)) for a, row in zip(answers, rows, strict=True)]
        overlaps = [(f1(given, right), bool(right)) for given, right in pairs]
        return {
            "exact_match": mean([exact_match(given, right) for given, right in pairs]),
            "f1": mean([overlap for overlap, _ in overlaps]),
            "has_answer_f1": mean([overlap for overlap, has_answer in overlaps if has_answer]),
            "no_answer_accuracy": mean([o for o, has_answer in overlaps if not has_answer]),
        }

    def baseline(self, train: Any, rows: Sequence[Row]) -> list[Answer]:
        """Give the commonest first answer of the train split, or none where none is commoner."""
        all_answers = values_of(train, "answers")
        given = Counter(answers[0]["text"] if answers else "" for answers in all_answers)
        text, count = given.most_common(1)[0]
        same = {"answer": text, "start": None, "end": None, "probability": count / len(train)}
        return [same] * len(rows)

    def undefined_metrics(self, rows: Any) -> dict[str, str]:
        with_answer = sum(bool(answers) for answers in values_of(rows, "answers"))
        return {
            name: f"{what} question has an answer"
            for name, what, count in (
                ("has_answer_f1", "no", 0),
                ("no_answer_accuracy", "every", len(rows)),
            )
            if with_answer == count
        }

    def examples(self, answers: Sequence[Answer], rows: Sequence[Row]) -> list[LabeledExample]:
        return [example(a, row) for a, row in zip(answers, rows, strict=True)]


def lengths(stride: int | None, question: int | None, max_length: int) -> tuple[int, int]:
    """Return the overlap of windows and the longest question, where not given by `max_length`."""
    return overlap(stride, max_length), max_length // 4 if question is None else question


def right_answers(row: Row) -> list[str]:
    return [answer["text"] for answer in row["answers"]]


def mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan


def example(answer: Answer, row: Row) -> LabeledExample:
    right = right_answers(row)
    given = answer["answer"] or "(no answer)"
    wanted = given if exact_match(answer["answer"], right) else (right or ["(no answer)"])[0]
    return LabeledExample(
        f"{row['question']} / {row['context']}", wanted, given, answer["probability"]
    )
