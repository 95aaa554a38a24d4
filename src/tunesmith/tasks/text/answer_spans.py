"""Stretches of a context: where tokens stand in it, the best ones, and the answer they make."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor


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


def offsets_of(encoding: Any) -> np.ndarray:
    """Return (T, 2) where each token begins and ends in the context, -1 where it is not of it."""
    of_context = np.asarray([i == 1 for i in encoding.sequence_ids])
    return np.where(of_context[:, None], np.asarray(encoding.offsets).reshape(-1, 2), -1)


def answer_position(answers: Sequence[dict[str, Any]], offsets: np.ndarray) -> list[int]:
    """Return the first and last token of the first answer; 0, 0 where it is not all in here."""
    inside = np.flatnonzero(offsets[:, 0] >= 0)
    if not answers or not len(inside):
        return [0, 0]
    start, end = stripped(answers[0]["text"], answers[0]["start"])
    touched = inside[(offsets[inside, 1] > start) & (offsets[inside, 0] < end)]
    whole = offsets[inside[0], 0] <= start and end <= offsets[inside[-1], 1]
    return [int(touched[0]), int(touched[-1])] if whole and len(touched) else [0, 0]


def stripped(text: str, start: int) -> tuple[int, int]:
    """Return where a text at `start` begins and ends without the white space around it."""
    begin = start + len(text) - len(text.lstrip())
    return begin, begin + len(text.strip())


def windows_of(logits: Tensor, offsets: Tensor, longest: int, count: int) -> list[Window]:
    """Return the `count` best spans, of at most `longest` tokens, of each window of a batch.

    `logits` (B, T, 2) of starts and ends are -inf where neither can be; the first token is no
    answer. `offsets` (B, T, 2) are those of `offsets_of`.
    """
    starts, ends = logits.unbind(-1)  # (B, T)
    null = (starts[:, 0] + ends[:, 0]).tolist()
    starts = torch.cat([torch.full_like(starts[:, :1], -math.inf), starts[:, 1:]], dim=1)
    reach = torch.nn.functional.pad(ends, (0, longest - 1), value=-math.inf)
    pairs = starts.unsqueeze(-1) + reach.unfold(1, longest, 1)  # (B, T, longest)
    scores, where = pairs.flatten(1).topk(min(count, pairs[0].numel()))  # (B, K)
    first = where // longest
    last = (first + where % longest).clamp(max=starts.size(1) - 1)
    begins, finishes = offsets[..., 0].gather(1, first), offsets[..., 1].gather(1, last)
    spans = torch.stack([begins, finishes], dim=-1).cpu().numpy()  # (B, K, 2)
    found = zip(null, spans, scores.cpu().numpy(), strict=True)
    return [Window(n, s[v > -math.inf], v[v > -math.inf]) for n, s, v in found]


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


def answer(context: str, null: float, spans: Sequence[Span], threshold: float) -> dict[str, Any]:
    """Return the best span, or none, with all candidates and the probability of each.

    `no_answer_score` is by how much no answer scores more than the best span: None without any.
    """
    margin = null - spans[0].score if spans else math.inf
    candidates: list[Span | None] = list(spans)
    scores = [span.score for span in spans]
    if not spans or threshold < math.inf:
        candidates, scores = [*candidates, None], [*scores, null]
    listed = [
        named(span, context) | {"probability": p}
        for span, p in zip(candidates, softmax(scores), strict=True)
    ]
    return {
        **listed[0 if spans and margin <= threshold else -1],
        "no_answer_score": margin if spans else None,
        "n_best": sorted(listed, key=lambda candidate: -candidate["probability"]),
    }


def softmax(scores: Sequence[float]) -> list[float]:
    powers = np.exp(np.asarray(scores) - max(scores))
    return (powers / powers.sum()).tolist()


def named(span: Span | None, context: str) -> dict[str, Any]:
    if span is None:
        return {"answer": "", "start": None, "end": None}
    return {"answer": context[span.start : span.end], "start": span.start, "end": span.end}
