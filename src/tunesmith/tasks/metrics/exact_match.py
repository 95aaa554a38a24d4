"""How near an answer is to those that count as right: exact match and F1 as SQuAD and MLQA do."""

import math
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Sequence

import numpy as np

NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
ARTICLES = re.compile(r"\b(a|an|the)\b")
UNSPACED = re.compile(  # signs of Thai and Lao, Burmese, Khmer, Japanese and Chinese
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f"
    r"\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)


def words_of(text: str) -> list[str]:
    """Return what is compared of a text: its words in lower case, no punctuation, no articles.

    As in the evaluation of SQuAD (Rajpurkar et al., 2016). A text of a script without spaces is
    compared as in that of MLQA (Lewis et al., 2020): each of its signs is a word, and no script's
    punctuation counts.
    """
    if UNSPACED.search(text):
        kept = (sign for sign in text.lower() if unicodedata.category(sign)[0] != "P")
        spaced = UNSPACED.sub(r" \g<0> ", "".join(kept))
        return spaced.translate(NO_PUNCTUATION).split()
    return ARTICLES.sub(" ", text.lower().translate(NO_PUNCTUATION)).split()


def exact_match(answer: str, right: Sequence[str]) -> float:
    """Return 1 where the answer has the words of a right one; "" is right where none is."""
    return float(words_of(answer) in _right_words(right))


def f1(answer: str, right: Sequence[str]) -> float:
    """Return the overlap in words with the nearest right answer; "" is right where none is."""
    words = words_of(answer)
    return max(_overlap(words, wanted) for wanted in _right_words(right))


def best_threshold(margins: Sequence[float], gains: Sequence[float]) -> float:
    """Return the t for which the sum of `gains` over all rows with margin <= t is largest.

    It stands midway between two margins, at infinity where every row is in the best sum, at
    minus infinity where none is.
    """
    if not margins:
        return math.inf
    order = np.argsort(margins, kind="stable")
    sorted_margins = np.asarray(margins, dtype=np.float64)[order]
    sums = np.concatenate([[0.0], np.cumsum(np.asarray(gains, dtype=np.float64)[order])])
    edges = np.concatenate([[-np.inf], sorted_margins, [np.inf]])
    allowed = edges[:-1] < edges[1:]  # rows of one margin cannot be parted
    best = int(np.argmax(np.where(allowed, sums, -np.inf)[::-1]))  # a tie: rather more answers
    return float((edges[:-1] / 2 + edges[1:] / 2)[::-1][best])


def _right_words(right: Sequence[str]) -> list[list[str]]:
    """Return the words of the right answers that have any, else of no answer."""
    return [words for words in map(words_of, right) if words] or [[]]


def _overlap(answer: Sequence[str], expected: Sequence[str]) -> float:
    if not answer or not expected:
        return float(answer == expected)
    common = (Counter(answer) & Counter(expected)).total()
    if not common:
        return 0.0
    precision, recall = common / len(answer), common / len(expected)
    return 2 * precision * recall / (precision + recall)
