"""Documents in blocks of sentences, and where blocks are parted."""

import itertools
import random

import pytest

from tunesmith.tasks.text.document_segments import (
    Segment,
    packed,
    sentence_starts,
    split_positions,
    tail_like,
    token_starts,
)


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two! Three?", ["One. ", "Two! ", "Three?"]),
        ('He said "no." She went.', ['He said "no." ', "She went."]),
        ("A title\n\nA text. Its end.\n", ["A title\n\n", "A text. ", "Its end.\n"]),
        ("Version 2.5 is out", ["Version 2.5 is out"]),
        ("天\u3002人\uff01", ["天\u3002", "人\uff01"]),
        ("", [""]),
    ],
)
def test_sentences_end_where_a_reader_says(text, sentences):
    starts = sentence_starts(text)
    assert [text[a:b] for a, b in zip(starts, [*starts[1:], len(text)], strict=True)] == sentences


def test_long_white_space_takes_no_time():
    assert sentence_starts("a" + " " * 1_000_000 + "b") == [0]


def test_a_sentence_begins_with_a_token():
    offsets = [(0, 3), (3, 4), (5, 8), (8, 9)]  # "One. Two!"
    assert token_starts([0, 5], offsets) == [0, 2]
    assert token_starts([0, 5, 9], offsets) == [0, 2]
    assert token_starts([0], []) == [0]


def test_blocks_hold_whole_sentences_and_every_token_once():
    dice = random.Random(0)
    for _ in range(300):
        count, most = dice.randint(0, 60), dice.randint(2, 20)
        starts = (
            [0, *sorted(dice.sample(range(1, count), dice.randint(0, min(count - 1, 9))))]
            if count
            else [0]
        )
        blocks = packed(starts, count, most)
        assert [i for a, b in blocks for i in range(a, b)] == list(range(count))
        assert all(b - a <= most for a, b in blocks)
        assert len(blocks) == 1 or all(b > a for a, b in blocks)
        sizes = [b - a for a, b in zip(starts, [*starts[1:], count], strict=True)]
        if max(sizes) <= most:
            assert {a for a, _ in blocks} <= set(starts)
            # No two blocks side by side would fit into one.
            ends = itertools.pairwise(blocks)
            first = {a: size for a, size in zip(starts, sizes, strict=True)}
            assert all(b - a + first[c] > most for (a, b), (c, _) in ends)


def test_a_block_is_parted_between_sentences_else_in_its_middle():
    assert split_positions([-4, 0, 3, 7, 9], [0] * 9) == [3, 7]
    assert split_positions([0], [5, 5, 6, 7, 7, 7]) == [3]
    assert split_positions([0], [5, 5, 5]) == []
    assert split_positions([0], []) == []


def test_a_tail_is_as_long_as_what_it_stands_for():
    other = Segment(list(range(20)), list(range(20)))
    assert tail_like(other, [5, 12, 16], length=7, room=30).ids == list(range(12, 20))
    assert tail_like(other, [5, 12, 16], length=7, room=6).ids == list(range(16, 20))
    assert tail_like(other, [5, 12], length=7, room=6).ids == list(range(12, 18))
    assert tail_like(other, [], length=7, room=50).ids == list(range(20))
