"""Words as tokens: a long sentence in windows that overlap, each word answered by one of them."""

import re
from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

from transformers import PreTrainedTokenizerBase

NO_WORD = -1  # of a token that answers for no word
AT_AN_END = 1 << 30  # tokens of context where the text itself begins or ends: nothing is missing


class Words(NamedTuple):
    """The words of a row and, where it was one text, where they stand in it."""

    words: list[str]
    text: str | None
    places: list[tuple[int, int]]  # of each word in the text: its first character, and its end

    def between(self, start: int, end: int) -> str:
        """Return what is written from one word to another, the latter not included."""
        if self.text is None:
            return " ".join(self.words[start:end])
        return self.text[self.places[start][0] : self.places[end - 1][1]]


def split_words(words: str | Sequence[str]) -> Words:
    """Take words as they are; cut a text at white space."""
    if not isinstance(words, str):
        return Words(list(words), None, [])
    found = list(re.finditer(r"\S+", words))
    return Words([match[0] for match in found], words, [match.span() for match in found])


class Window(NamedTuple):
    """A stretch of a sentence that the model reads at once."""

    inputs: dict[str, list[int]]  # by the names that the tokenizer gives
    words: list[int]  # (T,) the word that a token answers for: its first token only, or NO_WORD


def windows(
    tokenizer: PreTrainedTokenizerBase, words: Sequence[str], max_length: int, stride: int
) -> list[Window]:
    """Encode words in windows of at most `max_length` tokens that share `stride` tokens.

    Each word is answered by the window in which the nearer end is farthest from it. A word of
    no token (a control character) is read as an unknown one.
    """
    encoded = _encoded(tokenizer, _spaced(words), max_length, stride)
    silent = _silent(encoded, len(words))
    if silent:
        unknown = [tokenizer.unk_token if i in silent else w for i, w in enumerate(_spaced(words))]
        encoded = _encoded(tokenizer, unknown, max_length, stride)
    names = [name for name in tokenizer.model_input_names if name != "attention_mask"]
    step = max_length - tokenizer.num_special_tokens_to_add() - stride
    answered = _answered([encoding.word_ids for encoding in encoded.encodings], step)
    return [
        Window({name: encoded[name][i] for name in names if name in encoded}, answered[i])
        for i in range(len(answered))
    ]


def _spaced(words: Sequence[str]) -> list[str]:
    """Put a space before each word but the first: where spaces are part of tokens, they count."""
    return [word if i == 0 else f" {word}" for i, word in enumerate(words)]


def _encoded(
    tokenizer: PreTrainedTokenizerBase, words: list[str], max_length: int, stride: int
) -> Any:
    return tokenizer(
        words,
        is_split_into_words=True,
        truncation=True,
        max_length=max_length,
        stride=stride,
        return_overflowing_tokens=True,
    )


def _silent(encoded: Any, count: int) -> set[int]:
    """Return the words that no token came from."""
    heard = {word for encoding in encoded.encodings for word in encoding.word_ids}
    return set(range(count)) - heard


class WordPosition(NamedTuple):
    """Where a token stands."""

    at: int  # in the whole sentence
    word: int
    token: int  # in its window


def _answered(word_ids: Sequence[Sequence[int | None]], step: int) -> list[list[int]]:
    """Return for each window the word that each of its tokens answers for.

    `word_ids` has for each window the word of each token, None for special ones; each window
    begins `step` tokens after the one before.
    """
    places = [_positions(ids, number * step) for number, ids in enumerate(word_ids)]
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for at, word, _ in chain(*places):
        first.setdefault(word, at)
        last[word] = at
    best: dict[int, tuple[int, int, int]] = {}  # word: its context, minus its window, its token
    for number, window in enumerate(places):
        for at, word, token in window:
            if at == first[word]:
                before = at - window[0].at if number > 0 else AT_AN_END
                after = window[-1].at - last[word] if number < len(places) - 1 else AT_AN_END
                answer = (min(before, after), -number, token)
                best[word] = max(best.get(word, answer), answer)
    answered = [[NO_WORD] * len(ids) for ids in word_ids]
    for word, (_, number, token) in best.items():
        answered[-number][token] = word
    return answered


def _positions(word_ids: Sequence[int | None], start: int) -> list[WordPosition]:
    words = [(word, token) for token, word in enumerate(word_ids) if word is not None]
    return [WordPosition(start + i, word, token) for i, (word, token) in enumerate(words)]
