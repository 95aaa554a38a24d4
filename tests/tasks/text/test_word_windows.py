"""Words become tokens as the text they make does, in windows that leave none out."""

import random
from itertools import product

import pytest

from support.tiny_models import TOKENIZERS, WORDS, sentences
from tunesmith.tasks.text.word_windows import NO_WORD, split_words, windows

KINDS = sorted(TOKENIZERS)


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request):
    return TOKENIZERS[request.param]()


def long_words(dice: random.Random, count: int) -> list[str]:
    """Make words of one to a dozen tokens."""
    return ["".join(dice.choices(WORDS, k=dice.choice((1, 1, 2, 5)))) for _ in range(count)]


def test_words_are_read_as_the_text_they_make(tokenizer):
    for text in sentences(20):
        (only,) = windows(tokenizer, text.split(), 1000, 4)
        assert only.inputs["input_ids"] == tokenizer(text)["input_ids"]
        assert [word for word in only.words if word != NO_WORD] == list(range(len(text.split())))


@pytest.mark.parametrize("side", ["right", "left"])
def test_windows_put_together_are_the_sentence(tokenizer, side):
    dice = random.Random(0)
    for stride, room in product((0, 3, 7), (10, 17)):
        words = long_words(dice, 30)
        whole = windows(tokenizer, words, 10_000, 0)[0].inputs["input_ids"][1:-1]
        tokenizer.truncation_side = "right"
        found = windows(tokenizer, words, room, stride)
        joined = found[0].inputs["input_ids"][1:-1]
        for window in found[1:]:
            assert len(window.inputs["input_ids"]) <= room
            body = window.inputs["input_ids"][1:-1]
            assert body[:stride] == joined[len(joined) - stride :]
            joined = joined + body[stride:]
        assert joined == whole
        assert len(found) > 3


def test_each_word_is_answered_once_where_the_nearer_end_is_farthest(tokenizer):
    dice = random.Random(1)
    for trial in range(30):
        words = long_words(dice, dice.randint(1, 40))
        stride, room = dice.randint(0, 12), dice.randint(15, 40)
        found = windows(tokenizer, words, room, stride)
        answered = [
            (word, number, token)
            for number, window in enumerate(found)
            for token, word in enumerate(window.words)
            if word != NO_WORD
        ]
        assert sorted(word for word, *_ in answered) == list(range(len(words)))
        places = whole_places(tokenizer, words)
        for word, number, token in answered:
            first, last = places[word]
            begins = number * (room - 2 - stride)
            assert begins + token - 1 == first, trial
            best = max(
                context(first, last, k, len(found), room - 2, stride) for k in range(len(found))
            )
            assert context(first, last, number, len(found), room - 2, stride) == best


def whole_places(tokenizer, words):
    """Return the first and last token of each word in the sentence without special ones."""
    ids = tokenizer(
        [word if i == 0 else f" {word}" for i, word in enumerate(words)], is_split_into_words=True
    ).word_ids(0)[1:-1]
    return [(ids.index(word), len(ids) - 1 - ids[::-1].index(word)) for word in range(len(words))]


def context(first, last, window, count, room, stride):
    """Return how far a word is from the nearer end of a window; the sentence's own ends are far."""
    begins = window * (room - stride)
    if not begins <= first < begins + room:
        return -(10**9)
    before = first - begins if window > 0 else 10**9
    after = begins + room - 1 - last if window < count - 1 else 10**9
    return min(before, after)


def test_a_word_of_no_token_is_read_as_an_unknown_one(tokenizer):
    words = ["", "deko", "\x01", "nu", "\u200b", "\x00"]
    (only,) = windows(tokenizer, words, 64, 4)
    assert [word for word in only.words if word != NO_WORD] == list(range(6))
    assert only.inputs["input_ids"][only.words.index(0)] == tokenizer.unk_token_id


def test_no_word_at_all_is_a_window_of_ends(tokenizer):
    (only,) = windows(tokenizer, [], 64, 4)
    assert only.words == [NO_WORD, NO_WORD]


def test_a_text_is_cut_as_str_split_does_and_knows_its_places():
    spaces = "".join(chr(i) for i in range(0x110000) if chr(i).isspace())
    text = f" a{spaces}bc\td\u200be "
    words = split_words(text)
    assert words.words == text.split() == ["a", "bc", "d\u200be"]
    assert [text[start:end] for start, end in words.places] == words.words
    assert words.between(1, 3) == "bc\td\u200be"
    assert split_words(["a", "b c"]).between(0, 2) == "a b c"
