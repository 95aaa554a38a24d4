"""What tasks that write have in common: what ends a text, what a search for words may do."""

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, PreTrainedTokenizerBase

from tunesmith.errors import ModelError
from tunesmith.tasks.base import IGNORE, TaskContext


def check_ends(context: TaskContext) -> None:
    """Raise ModelError where a tokenizer has no mark of where a text begins or ends."""
    for name in ("cls", "sep"):
        if getattr(context.tokenizer, f"{name}_token_id") is None:
            raise ModelError("MODEL-TOKENIZER", "", f"its tokenizer has no {name} token")


def search(tokenizer: PreTrainedTokenizerBase, **options: Any) -> GenerationConfig:
    """Return how words are searched for, by the greedy way or with beams; nothing is drawn."""
    ends = {"bos_token_id": tokenizer.cls_token_id, "eos_token_id": tokenizer.sep_token_id}
    return GenerationConfig(do_sample=False, pad_token_id=tokenizer.pad_token_id, **ends, **options)


def labels_of(written: Tensor, end: int) -> Tensor:
    """Return what was written (B, U), the first end included and IGNORE after it."""
    ended = (written == end).cumsum(1) - (written == end).int()  # (B, U) ends before each token
    return written.masked_fill(ended > 0, IGNORE)


class GumbelSampling(LogitsProcessor):
    """Makes the greedy choice a draw: adds Gumbel noise to the logarithms (Gumbel, 1954).

    Each text has a source of chance of its own, seeded by its tokens: what is drawn for it
    depends neither on the other texts of a batch nor on what was drawn before.
    """

    def __init__(self, prompts: Sequence[Sequence[int]]) -> None:
        self.sources = [np.random.default_rng(zlib.crc32(repr(list(p)).encode())) for p in prompts]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:  # type: ignore[override]
        noise = np.stack([source.gumbel(size=scores.shape[1]) for source in self.sources])
        return scores + torch.from_numpy(noise).to(scores)  # (B, V)


def beams(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a beam search; without beams they mean nothing."""
    if options["num_beams"] == 1:
        return {"num_beams": 1}
    return {**options, "early_stopping": True}
