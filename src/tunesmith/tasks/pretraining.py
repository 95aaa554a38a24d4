"""Pretraining as BERT's: hidden tokens, and whether two segments belong together."""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tunesmith.errors import ConfigError, DataError
from tunesmith.models import heads
from tunesmith.models.heads import head_on_tokens
from tunesmith.tasks.base import IGNORE, Answer, Batch, Features, Output, Row, TaskContext
from tunesmith.tasks.bases.masked_lm import (
    MaskedLanguageModelTask,
    Tally,
    mean_over,
    need_mask_token,
    token_scores,
)
from tunesmith.tasks.text.document_segments import (
    Segment,
    packed,
    sentence_starts,
    split_positions,
    tail_like,
    token_starts,
)
from tunesmith.tasks.text.token_masking import NO_WORD

SPECIAL = 3  # [CLS] first [SEP] second [SEP]
RIGHT, WRONG = 0, 1  # labels of a pair, as transformers counts them


class Pretraining(MaskedLanguageModelTask):
    """Learns hidden tokens and pairs; half of the pairs of each epoch are wrong ones.

    `nsp`: the second segment of a wrong pair is another document's (Devlin et al., 2019).
    `sop`: a wrong pair is a right one in reverse order (Lan et al., 2020).
    """

    head = heads.MASKED_LM_AND_PAIRS
    metrics: ClassVar[Mapping[str, str]] = MaskedLanguageModelTask.metrics | {  # type: ignore[operator]
        "pair_accuracy": "max"
    }

    def __init__(self, *, objective: Literal["nsp", "sop"], **options: Any) -> None:
        super().__init__(**options)
        self.objective = objective

    @classmethod
    def check(cls, context: TaskContext) -> None:
        need_mask_token(context)
        if context.max_length < SPECIAL + 2:
            what = "two segments and three special tokens need more room"
            where = f"data.max_length={context.max_length}"
            raise ConfigError("CONF-LENGTH", where, what, f"at least {SPECIAL + 2}")

    def encode(self, row: Row) -> list[Features]:
        """Cut a document into blocks of whole sentences that leave room to part them in two."""
        encoded = self.tokenizer(row["text"], add_special_tokens=False, verbose=False)
        whole = encoded.encodings[0]
        words = self.words_of(whole)
        starts = token_starts(sentence_starts(row["text"]), whole.offsets)
        blocks = packed(starts, len(words), self.max_length - SPECIAL)
        return [
            self.block(Segment(whole.ids[a:b], words[a:b]), [s - a for s in starts])
            for a, b in blocks
        ]

    def block(self, segment: Segment, starts: Sequence[int]) -> Features:
        """Make the features of a block, not parted yet, that may be parted where `cuts` has a 1."""
        start, end = self.tokenizer.cls_token_id, self.tokenizer.sep_token_id
        cuts = set(split_positions(starts, segment.words))
        length = len(segment.ids) + SPECIAL
        return {
            "input_ids": [start, *segment.ids, end],
            "token_type_ids": [0] * (len(segment.ids) + 2),
            "words": [NO_WORD, *segment.words, NO_WORD],
            "cuts": [0, *(int(i in cuts) for i in range(len(segment.ids))), 0],
            "length": length,
            "full_length": length,  # nothing of a document is cut off
        }

    def augment(
        self, features: Features, rng: np.random.Generator, others: Sequence[Features]
    ) -> Features:
        """Draw where a block is parted, whether the pair is a wrong one, then the masks."""
        return self.masked(self.paired(features, rng, others), rng)

    def paired(
        self, features: Features, rng: np.random.Generator, others: Sequence[Features]
    ) -> Features:
        block, places = _inside(features)
        if not places:  # one word: its tokens may be hidden, but it is no pair
            return {**features, "pair": IGNORE}
        first, second = block.parted(int(rng.choice(places)))
        wrong = bool(rng.integers(2))
        if wrong and self.objective == "sop":
            first, second = second, first
        elif wrong:
            room = self.max_length - SPECIAL - len(first.ids)
            other = _inside(_of_another_document(features, rng, others))
            second = tail_like(*other, length=len(second.ids), room=room)
        return features | self.pair(first, second) | {"pair": WRONG if wrong else RIGHT}

    def pair(self, first: Segment, second: Segment) -> Features:
        """Put two segments into one input."""
        start, end = self.tokenizer.cls_token_id, self.tokenizer.sep_token_id
        apart = max(first.words) + 1  # a word of one is no word of the other
        shifted = [NO_WORD if word == NO_WORD else word + apart for word in second.words]
        return {
            "input_ids": [start, *first.ids, end, *second.ids, end],
            "token_type_ids": [0] * (len(first.ids) + 2) + [1] * (len(second.ids) + 1),
            "words": [NO_WORD, *first.words, NO_WORD, *shifted, NO_WORD],
        }

    def collate(self, features: list[Features]) -> Batch:
        """Add `pair` (B,), once drawn: RIGHT, WRONG, or IGNORE where there is none."""
        batch = self.collate_tokens(features)
        if "pair" in features[0]:
            batch["pair"] = torch.tensor([f["pair"] for f in features])
        return batch

    def logits(self, batch: Batch) -> Tensor:
        return self.model(**self.model_inputs(batch)).prediction_logits

    def forward(self, batch: Batch) -> Output:
        """Add the losses of tokens and pairs; a pair weighs as much as its hidden tokens.

        So a batch has one weight, its hidden tokens, and parts of it add up to the whole.
        """
        chosen = batch["labels"] != IGNORE
        with head_on_tokens(self.model, chosen):
            found = self.model(**self.model_inputs(batch))
        logits, pairs = found.prediction_logits[0], found.seq_relationship_logits  # (M, V), (B, 2)
        mean, weight = self.loss(logits, batch["labels"][chosen])
        nats = F.cross_entropy(pairs.float(), batch["pair"], reduction="none")  # (B,)
        pair_mean = (nats * chosen.sum(1)).sum() / weight.clamp(min=1e-12)
        return Output(mean + pair_mean, logits, weight, pairs)

    def baseline(self, train: Any, rows: Sequence[Row]) -> list[Answer]:
        """Expect to guess half of the pairs."""
        return [self.unigram_answer() | {"pair_accuracy": 0.5, "pairs": 1} for _ in rows]

    def decode(self, batch: Batch, output: Output) -> list[Tally]:
        assert output.pair_logits is not None
        tallies = self.hidden_tallies(batch, output)
        judged = (batch["pair"] != IGNORE).tolist()
        right = (output.pair_logits.argmax(-1) == batch["pair"]).tolist()
        return [
            tally._replace(pairs=int(there), pairs_right=int(hit))
            for tally, there, hit in zip(tallies, judged, right, strict=True)
        ]

    def score(self, answers: Sequence[Answer], rows: Sequence[Row]) -> dict[str, float]:
        pairs = mean_over(answers, "pair_accuracy", "pairs")
        return token_scores(answers) | {"pair_accuracy": pairs}


def _inside(features: Features) -> tuple[Segment, list[int]]:
    """Return a block without its special tokens, and where it may be parted."""
    block = Segment(features["input_ids"][1:-1], features["words"][1:-1])
    return block, np.flatnonzero(features["cuts"][1:-1]).tolist()


def _of_another_document(
    features: Features, rng: np.random.Generator, others: Sequence[Features]
) -> Features:
    """Draw a block of another document, each with the same chance."""
    row = features["row"]
    drawn = others[int(rng.integers(len(others)))]
    if drawn["row"] != row:
        return drawn
    # Blocks of a document stand side by side: draw among those before and after them.
    before = bisect_left(others, row, key=_row)
    after = len(others) - bisect_right(others, row, key=_row)
    if not before + after:
        what = "one document, and none other to take a second segment from"
        raise DataError("DATA-DOCUMENTS", "data", what, "task.objective=sop needs no other")
    number = int(rng.integers(before + after))
    return others[number if number < before else len(others) - after + number - before]


def _row(features: Features) -> int:
    return features["row"]
