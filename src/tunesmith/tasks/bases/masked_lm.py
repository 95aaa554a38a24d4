"""What every task has in common that tells hidden tokens from the text around them."""

from abc import ABC
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from tunesmith.errors import ModelError
from tunesmith.models.heads import head_on_tokens
from tunesmith.runtime.options import Count, Inside
from tunesmith.tasks.base import IGNORE, Answer, Batch, Features, Output, Row, TaskContext
from tunesmith.tasks.bases.language_model import LanguageModelTask, joined, mean_over, means
from tunesmith.tasks.capabilities import Augments
from tunesmith.tasks.text.padding import pad_lists
from tunesmith.tasks.text.token_masking import NO_WORD, Masks

Fill = list[dict[str, Any]]  # the likeliest tokens, each with its probability


class Tally(NamedTuple):
    """What was found out about one feature: sums over its hidden tokens."""

    tokens: int
    nats: float  # of the model
    right: int
    unigram_nats: float  # of a model that reads no context
    fills: tuple[Fill, ...] = ()  # one for each mask of the text
    pairs: int = 0
    pairs_right: int = 0


class MaskedLanguageModelTask(LanguageModelTask, Augments, ABC):
    """Learns from texts alone: each is cut into blocks, and some of a block's tokens are hidden.

    `score` compares the model with a unigram model: the shares of the tokens in the train split.
    """

    metrics: ClassVar[Mapping[str, str]] = {
        "mlm_loss": "min",
        "perplexity": "min",
        "mlm_accuracy": "max",
        "unigram_loss": "min",
    }
    monitor = "mlm_loss"

    def __init__(self, *, mask_rate: Inside, whole_word: bool, top_k: Count, **common: Any) -> None:
        super().__init__(**common)
        self.masks = Masks(mask_rate, whole_word, self.tokenizer.mask_token_id, self.ordinary)
        self.top_k = top_k

    @classmethod
    def check(cls, context: TaskContext) -> None:
        need_mask_token(context)

    def augment(
        self, features: Features, rng: np.random.Generator, others: Sequence[Features]
    ) -> Features:
        return self.masked(features, rng)

    def masked(self, features: Features, rng: np.random.Generator) -> Features:
        """Draw the masks."""
        ids, words = np.asarray(features["input_ids"]), np.asarray(features["words"])
        hidden, labels = self.masks.draw(ids, words, rng)
        return {**features, "input_ids": hidden.tolist(), "labels": labels.tolist()}

    def collate(self, features: list[Features]) -> Batch:
        return self.collate_tokens(features)

    def collate_tokens(self, features: list[Features]) -> Batch:
        """Pad to the longest: beside what the model reads `words` and, once drawn, `labels`."""
        batch = self.pad(features)
        batch["words"] = pad_lists([f["words"] for f in features], NO_WORD)
        if "labels" in features[0]:
            batch["labels"] = pad_lists([f["labels"] for f in features], IGNORE)
        return batch

    def words_of(self, encoding: Any) -> list[int]:
        """Tell of which word each token of a text is; special ones are of none."""
        pairs = zip(encoding.ids, encoding.word_ids, strict=True)
        return [NO_WORD if word is None or token in self.special else word for token, word in pairs]

    # Answers

    def decode(self, batch: Batch, output: Output) -> list[Tally]:
        return self.hidden_tallies(batch, output)

    def hidden_tallies(self, batch: Batch, output: Output) -> list[Tally]:
        """Return a tally of each feature: no logits are kept."""
        return self.tallies(output.logits, batch["labels"], batch["labels"] != IGNORE)

    def predict(self, batch: Batch) -> list[Tally]:
        """Hide each token once, a share of them at a time, and fill the text's own masks."""
        words = batch["words"]
        units = torch.from_numpy(self.masks.units(words.cpu().numpy())).to(words.device)
        rounds = []
        for number in range(self.masks.rounds):
            chosen = (units != NO_WORD) & (units % self.masks.rounds == number)
            hidden = batch["input_ids"].masked_fill(chosen, self.masks.hidden)
            logits = self.logits_at({**batch, "input_ids": hidden}, chosen)
            rounds.append(self.tallies(logits, batch["input_ids"], chosen))
        found = zip(*rounds, strict=True)
        return [
            joined(parts)._replace(fills=fills)
            for parts, fills in zip(found, self.fills(batch), strict=True)
        ]

    def logits_at(self, batch: Batch, chosen: Tensor) -> Tensor:
        """Return the logits (M, V) of the chosen tokens (B, T) alone."""
        with head_on_tokens(self.model, chosen):
            return self.logits(batch)[0]

    def tallies(self, logits: Tensor, ids: Tensor, chosen: Tensor) -> list[Tally]:
        """Compare logits (M, V) with the `ids` (B, T) that were `chosen` (B, T)."""
        return [Tally(*counted) for counted in self.counted(logits, ids, chosen)]

    def fills(self, batch: Batch) -> list[tuple[Fill, ...]]:
        """Return, for each text, the likeliest tokens of each of its masks."""
        masked = batch["input_ids"] == self.masks.hidden
        found: list[tuple[Fill, ...]] = [()] * len(masked)
        if not masked.any():
            return found
        shares, tokens = self.logits_at(batch, masked).float().softmax(-1).topk(self.top_k)
        rows = masked.nonzero()[:, 0].tolist()
        for row, ids, odds in zip(rows, tokens.tolist(), shares.tolist(), strict=True):
            found[row] += (self.fill(ids, odds),)
        return found

    def fill(self, ids: Sequence[int], shares: Sequence[float]) -> Fill:
        names = [str(self.tokenizer.decode([i])).strip() for i in ids]
        return [{"token": n, "probability": p} for n, p in zip(names, shares, strict=True)]

    def baseline(self, train: Any, rows: Sequence[Row]) -> list[Answer]:
        """Expect what a unigram model does of the train split."""
        return [self.unigram_answer() for _ in rows]

    def unigram_answer(self) -> Answer:
        return {"fills": [], **self.guess()}

    def aggregate(
        self, predictions: Sequence[Sequence[Tally]], rows: Sequence[Row]
    ) -> list[Answer]:
        return [_answer(joined(tallies)) for tallies in predictions]

    def score(self, answers: Sequence[Answer], rows: Sequence[Row]) -> dict[str, float]:
        return token_scores(answers)


def need_mask_token(context: TaskContext) -> None:
    """Raise ModelError where a tokenizer cannot hide a token."""
    if context.tokenizer.mask_token_id is None:
        raise ModelError("MODEL-TOKENIZER", "", "its tokenizer has no mask token")


def token_scores(answers: Sequence[Answer]) -> dict[str, float]:
    loss = mean_over(answers, "loss", "tokens")
    return {
        "mlm_loss": loss,
        "perplexity": float(np.exp(np.float64(loss))),
        "mlm_accuracy": mean_over(answers, "accuracy", "tokens"),
        "unigram_loss": mean_over(answers, "unigram_loss", "tokens"),
    }


def _answer(tally: Tally) -> Answer:
    """Return means over the hidden tokens, in nats; None where there were none."""
    answer: Answer = {"fills": list(tally.fills), **means(tally)}
    if tally.pairs:
        answer |= {"pair_accuracy": tally.pairs_right / tally.pairs, "pairs": tally.pairs}
    return answer
