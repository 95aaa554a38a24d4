"""Masked language modeling: hidden tokens are predicted from the tokens around them."""

from typing import Any

from tunesmith.models import heads
from tunesmith.tasks.base import IGNORE, Batch, Features, Output, Row
from tunesmith.tasks.bases.masked_lm import MaskedLanguageModelTask


class MaskedLanguageModeling(MaskedLanguageModelTask):
    """Learns hidden tokens; every encoder can, and reads its documents in full blocks."""

    head = heads.MASKED_LM

    def encode(self, row: Row) -> list[Features]:
        """Cut a document into blocks of `max_length` tokens; the last one may be shorter."""
        encoded = self.tokenizer(
            row["text"], truncation=True, max_length=self.max_length, return_overflowing_tokens=True
        )
        # Cut from the left, they come last first.
        blocks = sorted(encoded.encodings, key=lambda block: max(end for _, end in block.offsets))
        return [self.block(encoding) for encoding in blocks]

    def block(self, encoding: Any) -> Features:
        """Make the features of a block; nothing of a document is cut off."""
        read = {"input_ids": encoding.ids, "token_type_ids": encoding.type_ids}
        features = {k: v for k, v in read.items() if k in self.tokenizer.model_input_names}
        length = len(encoding.ids)
        return features | {
            "words": self.words_of(encoding),
            "length": length,
            "full_length": length,
        }

    def forward(self, batch: Batch) -> Output:
        chosen = batch["labels"] != IGNORE
        logits = self.logits_at(batch, chosen)  # (M, V)
        mean, weight = self.loss(logits, batch["labels"][chosen])
        return Output(mean, logits, weight)
