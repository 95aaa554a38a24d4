"""What every task has in common that tells tokens of plain texts, and is compared with counting."""

import math
from abc import ABC
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tunesmith.data.columns import Column, ColumnType
from tunesmith.errors import ConfigError
from tunesmith.models.hf_logging import quiet
from tunesmith.tasks.base import Answer
from tunesmith.tasks.bases.text_task import TextTask
from tunesmith.tasks.capabilities import SplitsRows
from tunesmith.tasks.losses import CrossEntropy

MOST_COUNTED = 10_000  # documents, evenly spread, in which tokens are counted

Counted = tuple[int, float, int, float]  # tokens, nats, right ones, nats of a unigram model


class LanguageModelTask(TextTask, SplitsRows, ABC):
    """Learns tokens of texts that have no labels; knows what a unigram model would make of them."""

    columns: ClassVar[Mapping[str, Column]] = {"text": Column(ColumnType.TEXT)}
    losses = (CrossEntropy,)

    loss: CrossEntropy
    ordinary: np.ndarray  # (N,) ids of all tokens that are not special
    ends: tuple[int, ...] = ()  # special tokens that are predicted too, one of each per document
    unigram: Tensor  # (V,) nats that each token costs without context

    def __init__(self, **common: Any) -> None:
        super().__init__(**common)
        refuse_class_weights(self.loss)
        self.special = frozenset(self.tokenizer.all_special_ids)
        self.ordinary = np.setdiff1d(np.arange(len(self.tokenizer)), sorted(self.special))
        size = self.model.config.vocab_size
        self.register_buffer("unigram", torch.full((size,), math.log(size)))
        self.expected, self.commonest = math.log(size), 1 / size  # of the unigram model, in train

    def fit_statistics(self, rows: Any) -> None:
        """Count the tokens of the train split, plus one of each."""
        counts = np.zeros(len(self.unigram))
        numbers = range(0, len(rows), -(-len(rows) // MOST_COUNTED))
        for start in range(0, len(numbers), 1000):
            texts = list(rows[list(numbers[start : start + 1000])]["text"])
            with quiet():
                encoded = self.tokenizer(texts, add_special_tokens=False)["input_ids"]
            counts += np.bincount(np.concatenate(encoded).astype(int), minlength=len(counts))
        counts[sorted(self.special)] = 0
        counts[list(self.ends)] = len(numbers)
        seen = counts / max(counts.sum(), 1)
        counts[self.ordinary] += 1
        nats = -np.log(np.maximum(counts / counts.sum(), np.finfo(np.float64).tiny))
        self.unigram.copy_(torch.from_numpy(nats))
        self.expected, self.commonest = float(seen @ nats), float(seen.max())

    def counted(self, logits: Tensor, ids: Tensor, chosen: Tensor) -> list[Counted]:
        """Compare logits (M, V) with the `ids` (B, T) that were `chosen` (B, T), row by row."""
        wanted = ids[chosen]  # (M,)
        nats = F.cross_entropy(logits.float(), wanted, reduction="none")
        right = logits.argmax(-1) == wanted
        facts = torch.stack([torch.ones_like(nats), nats, right, self.unigram[wanted]]).double()
        sums = facts.new_zeros(len(ids), len(facts))
        sums.index_add_(0, chosen.nonzero()[:, 0], facts.T)  # (B, 4)
        return [
            (int(tokens), lost, int(hits), unigram) for tokens, lost, hits, unigram in sums.tolist()
        ]

    def guess(self) -> Answer:
        """Expect what a unigram model reaches on the train split, and its commonest token."""
        answer = {"loss": self.expected, "accuracy": self.commonest}
        return answer | {"unigram_loss": self.expected, "tokens": 1}


def refuse_class_weights(loss: CrossEntropy) -> None:
    """Raise ConfigError where tokens would be weighed like labels."""
    if loss.class_weights != "none":
        where = f"loss.class_weights={loss.class_weights}"
        raise ConfigError("CONF-LOSS", where, "a vocabulary's tokens are no classes to weigh")


def joined(tallies: Sequence[Any]) -> Any:
    """Add up the tallies of the parts of a text, named tuples of one kind."""
    sums = (sum(part, type(part[0])()) for part in zip(*tallies, strict=True))
    return type(tallies[0])(*sums)


def means(tally: Any) -> Answer:
    """Return a tally's means over its tokens, in nats; None where there were none."""
    tokens = max(tally.tokens, 1)
    return {
        "loss": tally.nats / tokens if tally.tokens else None,
        "accuracy": tally.right / tokens if tally.tokens else None,
        "unigram_loss": tally.unigram_nats / tokens if tally.tokens else None,
        "tokens": tally.tokens,
    }


def mean_over(answers: Sequence[Answer], name: str, weight: str) -> float:
    """Return the mean over what was counted, not over texts; NaN where nothing was."""
    counted = [answer for answer in answers if answer.get(weight)]
    total = sum(answer[weight] for answer in counted)
    return math.fsum(a[name] * a[weight] for a in counted) / total if total else math.nan
