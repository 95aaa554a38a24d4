"""A document in segments: where sentences begin, which of them share a block, which make a pair."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

# Ends of sentences, without a language's abbreviations: a segment may be any stretch of text.
LATIN = r"[.!?\u2026][\"'\u201d\u2019)\]]*\s+"
CHINESE = r"[\u3002\uff01\uff1f][\u201d\u2019\u300d\u300f\uff09]*"
END = re.compile(rf"{LATIN}|{CHINESE}|\n\s*")


class Segment(NamedTuple):
    """A stretch of a document."""

    ids: list[int]
    words: list[int]  # of which word each token is

    def parted(self, position: int) -> tuple["Segment", "Segment"]:
        """Cut it in two before the token at `place`."""
        first = Segment(self.ids[:position], self.words[:position])
        return first, Segment(self.ids[position:], self.words[position:])


def sentence_starts(text: str) -> list[int]:
    """Return where sentences begin, in characters, the first of them at 0."""
    return [0, *(match.end() for match in END.finditer(text) if match.end() < len(text))]


def token_starts(starts: Sequence[int], offsets: Sequence[tuple[int, int]]) -> list[int]:
    """Return the tokens with which sentences begin, from 0, each once."""
    begins = [begin for begin, _ in offsets]
    found = np.searchsorted(begins, starts)
    return sorted({0, *found[found < len(begins)].tolist()})


def packed(starts: Sequence[int], count: int, most: int) -> list[tuple[int, int]]:
    """Cut `count` tokens into blocks (begin, end) of whole sentences, at most `most` tokens each.

    A sentence begins at each of `starts`; one that is longer than a block is cut.
    """
    blocks, begin, end = [], 0, 0
    for sentence_end in [*starts[1:], count]:
        if sentence_end - begin > most and end > begin:
            blocks.append((begin, end))
            begin = end
        while sentence_end - begin > most:
            blocks.append((begin, begin + most))
            begin += most
        end = sentence_end
    return [*blocks, (begin, end)] if end > begin or not blocks else blocks


def split_positions(starts: Sequence[int], words: Sequence[int]) -> list[int]:
    """Return where a block may be cut in two: between sentences, else between its middle words.

    Empty for a block of one word.
    """
    inside = [start for start in starts if 0 < start < len(words)]
    if inside:
        return inside
    between = [i for i in range(1, len(words)) if words[i] != words[i - 1]]
    return [min(between, key=lambda i: abs(i - len(words) / 2))] if between else []


def tail_like(other: Segment, positions: Sequence[int], length: int, room: int) -> Segment:
    """Return the end of another block, from a place on, that is nearest to `length` in tokens.

    At most `room` tokens: lengths must not tell a wrong pair from a right one.
    """
    lengths = {place: len(other.ids) - place for place in positions or [0]}
    fitting = [place for place, tokens in lengths.items() if tokens <= room]
    best = min(fitting or lengths, key=lambda position: abs(lengths[position] - length))
    return Segment(other.ids[best:][:room], other.words[best:][:room])
