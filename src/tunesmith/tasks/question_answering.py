"""Extractive question answering: the stretch of a context that answers a question, or none."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from tunesmith.data.rows import Column, Kind
from tunesmith.errors import ConfigError
from tunesmith.loss import SpanCrossEntropy
from tunesmith.metrics.answers import best_threshold, exact_match, f1
from tunesmith.tasks.base import Answer, Batch, Example, Features, Output, Row, Task


class Window(NamedTuple):
    """What a forward pass says of one window of a context."""

    null: float  # score of its first token: no answer
    spans: np.ndarray  # (K, 2) where each begins and ends, in characters of the context
    scores: np.ndarray  # (K,)


class Span(NamedTuple):
    """A candidate: characters `start` to `end` of the context, without white space around."""

    start: int
    end: int
    score: float


class QuestionAnswering(Task):
    """Scores where an answer starts and ends, in overlapping windows of the context.

    A window without the answer points to its first token. A question gets no answer where that
    scores more than `null_threshold` above the best span; each validation of a training tunes it.
    """

    columns = {
        "question": Column(Kind.TEXT),
        "context": Column(Kind.TEXT),
        "answers": Column(Kind.SPANS, target=True),
    }
    problem = "question_answering"
    metrics = ("exact_match", "f1", "has_answer_f1", "no_answer_accuracy")
    monitor = "f1"

    loss: SpanCrossEntropy
    null_threshold: Tensor  # (); infinite: every question is answered

    def __init__(
        self,
        *,
        stride: int | None,
        max_question_length: int | None,
        max_answer_length: int,
        n_best: int,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        self.stride = self.max_length // 3 if stride is None else stride
        self.max_question_length = (
            self.max_length // 4 if max_question_length is None else max_question_length
        )
        self.max_answer_length, self.n_best = max_answer_length, n_best
        self.register_buffer("null_threshold", torch.tensor(math.inf))
        self._check_lengths()

    def _check_lengths(self) -> None:
        """Raise ConfigError where a window would not go on from the one before."""
        special = self.tokenizer.num_special_tokens_to_add(pair=True)
        room = self.max_length - self.max_question_length - special
        if room <= self.stride:
            what = f"beside {self.max_question_length} tokens of a question, {self.max_length} leave "
            what += f"{max(room, 0)} for the context"
            fix = "raise data.max_length, or lower task.max_question_length"
            raise ConfigError("CONF-LENGTH", f"task.stride={self.stride}", what, fix)

    # Rows to batches

    def encode(self, row: Row) -> list[Features]:
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
            offsets = offsets_of(encoding)
            length = len(encoding)
            window = {**inputs, "starts": offsets[:, 0], "ends": offsets[:, 1]}
            window |= {"length": length, "full_length": length + cut}
            if row.get("answers") is not None:
                window["labels"] = place_of(row["answers"], offsets)
            windows.append(window)
        return windows

    def _shortened(self, question: str) -> tuple[str, int]:
        """Return a question of at most `max_question_length` tokens, and how many were cut."""
        offsets = self._pieces(question)
        most = self.max_question_length
        if len(offsets) <= most:
            return question, 0
        for kept in range(most, 0, -1):  # what is left may be cut into other, more tokens
            left = self.truncation == "left"
            short = question[offsets[-kept][0] :] if left else question[: offsets[kept - 1][1]]
            if len(self._pieces(short)) <= most:
                return short, len(offsets) - kept
        return "", len(offsets)

    def _pieces(self, text: str) -> list[tuple[int, int]]:
        return self.tokenizer(text, add_special_tokens=False, verbose=False).encodings[0].offsets

    def collate(self, features: list[Features]) -> Batch:
        """Pad to the longest; `offsets` (B, T, 2) in the context, else -1; `labels` (B, 2)."""
        batch = self.padded(features)
        batch["offsets"] = torch.full((*batch["input_ids"].shape, 2), -1)
        for i, f in enumerate(features):
            ends = [torch.as_tensor(np.asarray(f[name])) for name in ("starts", "ends")]
            batch["offsets"][i, : len(f["starts"])] = torch.stack(ends, -1)
        if "labels" in features[0]:
            batch["labels"] = torch.tensor(np.asarray([f["labels"] for f in features]))
        return batch

    # Batches to answers

    def forward(self, batch: Batch) -> Output:
        logits = self.logits(batch)  # (B, T, 2)
        mean, weight = self.loss(logits, batch["labels"])
        return Output(mean, logits, weight)

    def logits(self, batch: Batch) -> Tensor:
        """Return scores (B, T, 2) of a start and an end at each token that can be one, else -inf."""
        output = self.model(**self.inputs(batch))
        logits = torch.stack([output.start_logits, output.end_logits], dim=-1).float()  # (B, T, 2)
        can_be = batch["offsets"] >= 0
        can_be[:, 0] = True  # no answer
        return logits.masked_fill(~can_be, -math.inf)

    def decode(self, batch: Batch, output: Output) -> list[Window]:
        """Return the `n_best` spans of each window, of at most `max_answer_length` tokens."""
        starts, ends = output.logits.detach().float().clone().unbind(-1)  # (B, T)
        null = (starts[:, 0] + ends[:, 0]).cpu().numpy()
        starts[:, 0] = -math.inf
        most = self.max_answer_length
        reach = torch.nn.functional.pad(ends, (0, most - 1), value=-math.inf).unfold(1, most, 1)
        pairs = (starts.unsqueeze(-1) + reach).flatten(1)  # (B, T * most)
        scores, where = pairs.topk(min(self.n_best, pairs.size(1)))
        first = where // most
        last = (first + where % most).clamp(max=starts.size(1) - 1)
        spans = torch.stack(
            [batch["offsets"][..., i].gather(1, at) for i, at in enumerate((first, last))], -1
        )  # (B, K, 2)
        found = zip(null, spans.cpu().numpy(), scores.cpu().numpy(), strict=True)
        return [Window(float(n), s[v > -math.inf], v[v > -math.inf]) for n, s, v in found]

    def calibrate(self, predictions: Sequence[Sequence[Any]], rows: Sequence[Row]) -> None:
        """Set the threshold under which these rows' F1 is highest; infinite if all have answers."""
        margins, gains = [], []
        for windows, row in zip(predictions, rows, strict=True):
            null, spans = merged(windows, row["context"])
            if spans:
                right = texts_of(row)
                margins.append(null - spans[0].score)
                gains.append(f1(text_of(spans[0], row), right) - f1("", right))
        self.null_threshold.fill_(best_threshold(margins, gains))

    def gather(self, predictions: Sequence[Sequence[Any]], rows: Sequence[Row]) -> list[Answer]:
        return [self._answer(w, row) for w, row in zip(predictions, rows, strict=True)]

    def _answer(self, windows: Sequence[Window], row: Row) -> Answer:
        null, spans = merged(windows, row["context"])
        spans = spans[: self.n_best]
        threshold = float(self.null_threshold)
        margin = null - spans[0].score if spans else math.inf
        given = spans[0] if spans and margin <= threshold else None
        candidates: list[Span | None] = list(spans)
        scores = [span.score for span in spans]
        if not spans or threshold < math.inf:
            candidates, scores = [None, *spans], [null, *scores]
        probabilities = softmax(scores)
        ranked = sorted(zip(candidates, probabilities, strict=True), key=lambda pair: -pair[1])
        listed = [named(span, row) | {"probability": p} for span, p in ranked]
        certainty = next(p for span, p in ranked if span == given)
        return {
            **named(given, row),
            "probability": certainty,
            "no_answer_score": margin if spans else None,
            "n_best": listed,
        }

    def score(self, answers: Sequence[Answer], rows: Sequence[Row]) -> dict[str, float]:
        pairs = [(a["answer"], texts_of(row)) for a, row in zip(answers, rows, strict=True)]
        overlaps = np.asarray([f1(given, right) for given, right in pairs])
        answerable = np.asarray([bool(right) for _, right in pairs], dtype=bool)
        return {
            "exact_match": mean([exact_match(given, right) for given, right in pairs]),
            "f1": mean(overlaps),
            "has_answer_f1": mean(overlaps[answerable]),
            "no_answer_accuracy": mean(overlaps[~answerable]),
        }

    def examples(self, answers: Sequence[Answer], rows: Sequence[Row]) -> list[Example]:
        return [example(a, row) for a, row in zip(answers, rows, strict=True)]


def offsets_of(encoding: Any) -> np.ndarray:
    """Return (T, 2) where each token begins and ends in the context, -1 where it is not of it."""
    of_context = np.asarray([i == 1 for i in encoding.sequence_ids])
    return np.where(of_context[:, None], np.asarray(encoding.offsets).reshape(-1, 2), -1)


def place_of(answers: Sequence[dict[str, Any]], offsets: np.ndarray) -> list[int]:
    """Return the first and last token of the first answer; 0, 0 where it is not all in here."""
    inside = np.flatnonzero(offsets[:, 0] >= 0)
    if not answers or not len(inside):
        return [0, 0]
    start, end = stripped(answers[0]["text"], answers[0]["start"])
    touched = inside[(offsets[inside, 1] > start) & (offsets[inside, 0] < end)]
    whole = offsets[inside[0], 0] <= start and end <= offsets[inside[-1], 1]
    return [int(touched[0]), int(touched[-1])] if whole and len(touched) else [0, 0]


def merged(windows: Sequence[Window], context: str) -> tuple[float, list[Span]]:
    """Return the least score of no answer, and the spans of all windows, the best first."""
    best: dict[tuple[int, int], float] = {}
    for window in windows:
        for (start, end), score in zip(window.spans.tolist(), window.scores.tolist(), strict=True):
            place = stripped(context[start:end], start)
            if place[0] < place[1]:
                best[place] = max(score, best.get(place, -math.inf))
    spans = [Span(*place, score) for place, score in best.items()]
    spans.sort(key=lambda span: (-span.score, span.start, span.end))
    return min(window.null for window in windows), spans


def stripped(text: str, start: int) -> tuple[int, int]:
    """Return where a text at `start` begins and ends without the white space around it."""
    begin = start + len(text) - len(text.lstrip())
    return begin, begin + len(text.strip())


def named(span: Span | None, row: Row) -> Answer:
    if span is None:
        return {"answer": "", "start": None, "end": None}
    return {"answer": text_of(span, row), "start": span.start, "end": span.end}


def text_of(span: Span, row: Row) -> str:
    return row["context"][span.start : span.end]


def texts_of(row: Row) -> list[str]:
    return [answer["text"] for answer in row["answers"]]


def softmax(scores: Sequence[float]) -> list[float]:
    powers = np.exp(np.asarray(scores) - max(scores))
    return (powers / powers.sum()).tolist()


def mean(values: Sequence[float] | np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else math.nan


def example(answer: Answer, row: Row) -> Example:
    right = texts_of(row)
    given = answer["answer"] or "(no answer)"
    wanted = given if exact_match(answer["answer"], right) else (right or ["(no answer)"])[0]
    return Example(f"{row['question']} / {row['context']}", wanted, given, answer["probability"])
