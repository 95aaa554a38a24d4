"""ROUGE: how many words, pairs of words and word orders of a reference text were written."""

import math
import re
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np

KINDS = ("rouge1", "rouge2", "rougeL", "rougeLsum")
SIGNS = r"\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"  # kana and Chinese characters
WORD = re.compile(rf"[{SIGNS}]|[^\s{SIGNS}]+")


class AnyWords:
    """Cuts texts of every script into words; Chinese and Japanese ones into characters."""

    def tokenize(self, text: str) -> list[str]:
        text = unicodedata.normalize("NFC", text.casefold())
        return WORD.findall("".join(sign if _is_of_a_word(sign) else " " for sign in text))


def rouge(
    written: Sequence[str],
    expected: Sequence[Sequence[str]],
    words: str,
    kinds: Sequence[str] = KINDS,
) -> dict[str, float]:
    """Return the mean F1 of each text with the nearest of its references (Lin, 2004).

    NaN without any text. Each has one reference or more, and each kind its own nearest one.
    `words` is "english": runs of a-z and 0-9, stemmed (Porter, 1980), as published scores have
    it; or "any": words of every script as they are. rougeLsum compares sentence by sentence,
    where each stands on a line of its own.
    """
    scorer = _scorer(words, kinds)
    found = [scorer.score_multi(right, text) for text, right in zip(written, expected, strict=True)]
    return {
        kind: float(np.mean([scores[kind].fmeasure for scores in found])) if found else math.nan
        for kind in kinds
    }


def _is_of_a_word(sign: str) -> bool:
    """Tell letters, numbers and marks from the rest: Hindi writes most vowels as marks."""
    return unicodedata.category(sign)[0] in "LMN"


def _scorer(words: str, kinds: Sequence[str]) -> Any:
    from rouge_score.rouge_scorer import RougeScorer  # two seconds, and only these tasks need it
    from rouge_score.tokenizers import DefaultTokenizer

    tokenizer = DefaultTokenizer(use_stemmer=True) if words == "english" else AnyWords()
    # split_summaries would ask for sentences that only a download can tell.
    return RougeScorer(list(kinds), split_summaries=False, tokenizer=tokenizer)
