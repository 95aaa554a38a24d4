"""Masks: how many, where, what stands in their place."""

import math

import numpy as np
import pytest

from tunesmith.tasks.base import IGNORE
from tunesmith.tasks.text.token_masking import NO_WORD, Masks

HIDDEN, ORDINARY = 4, np.arange(5, 1000)


def masks(rate=0.15, whole_word=False):
    return Masks(rate, whole_word, HIDDEN, ORDINARY)


def text(seed, length=60):
    """Make ids, and words of 1 to 4 tokens, between two special tokens."""
    rng = np.random.default_rng(seed)
    ids = rng.choice(ORDINARY, size=length)
    words = np.repeat(np.arange(length), rng.integers(1, 5, size=length))[:length]
    ids[[0, -1]], words[[0, -1]] = [2, 3], NO_WORD
    return ids, words


def drawn(whole_word=False, rate=0.15, texts=400):
    for seed in range(texts):
        ids, words = text(seed)
        given, labels = masks(rate, whole_word).draw(ids, words, np.random.default_rng([9, seed]))
        yield ids, words, given, labels


def within(count, total, share):
    """Tell whether a count is within four standard errors of a share of the total."""
    return abs(count - share * total) < 4 * math.sqrt(total * share * (1 - share))


@pytest.mark.parametrize("whole_word", [False, True])
def test_of_the_chosen_tokens_80_percent_are_hidden_10_changed_and_10_kept(whole_word):
    hidden = changed = kept = 0
    for ids, _, given, labels in drawn(whole_word):
        chosen = labels != IGNORE
        hidden += int((chosen & (given == HIDDEN)).sum())
        changed += int((chosen & (given != HIDDEN) & (given != ids)).sum())
        kept += int((chosen & (given == ids)).sum())
    total = hidden + changed + kept
    assert total > 3000
    assert within(hidden, total, 0.8)
    assert within(changed, total, 0.1)
    assert within(kept, total, 0.1)


def test_what_is_not_chosen_stays_and_what_is_chosen_is_the_label():
    for ids, _, given, labels in drawn():
        chosen = labels != IGNORE
        assert (given[~chosen] == ids[~chosen]).all()
        assert (labels[chosen] == ids[chosen]).all()


@pytest.mark.parametrize("rate", [0.05, 0.15, 0.4])
def test_the_share_of_chosen_tokens_is_the_rate(rate):
    for _, words, _, labels in drawn(rate=rate, texts=20):
        assert (labels != IGNORE).sum() == max(1, round(rate * (words != NO_WORD).sum()))


def test_special_tokens_are_never_chosen():
    for whole_word in (False, True):
        for _, words, _, labels in drawn(whole_word, rate=0.9, texts=50):
            assert (labels[words == NO_WORD] == IGNORE).all()


def test_every_other_token_is_chosen_as_often():
    times = np.zeros(60)
    for seed in range(4000):
        ids, words = text(0)
        times += masks().draw(ids, words, np.random.default_rng(seed))[1] != IGNORE
    share = times[1:-1].mean() / 4000
    assert all(within(count, 4000, share) for count in times[1:-1])


def test_whole_words_are_chosen_whole():
    cut = 0
    for _, words, _, labels in drawn(whole_word=True):
        chosen = labels != IGNORE
        for word in np.unique(words[chosen]):
            assert chosen[words == word].all()
        cut += chosen.sum()
    assert within(cut, 400 * 58, 0.17)  # the last word may take it a little over the rate


def test_single_tokens_cut_words():
    halved = sum(
        0 < (labels != IGNORE)[words == word].sum() < (words == word).sum()
        for _, words, _, labels in drawn(texts=20)
        for word in np.unique(words[words != NO_WORD])
    )
    assert halved > 20


def test_a_changed_token_is_an_ordinary_one():
    for ids, _, given, labels in drawn(rate=0.5, texts=50):
        changed = (labels != IGNORE) & (given != HIDDEN) & (given != ids)
        assert np.isin(given[changed], ORDINARY).all()


def test_a_text_of_special_tokens_has_nothing_to_hide():
    given, labels = masks().draw(
        np.array([2, 3]), np.array([NO_WORD] * 2), np.random.default_rng(0)
    )
    assert given.tolist() == [2, 3]
    assert labels.tolist() == [IGNORE] * 2


def test_one_token_is_always_chosen():
    ids, words = np.array([2, 7, 3]), np.array([NO_WORD, 0, NO_WORD])
    assert masks(0.01).draw(ids, words, np.random.default_rng(0))[1].tolist() == [IGNORE, 7, IGNORE]
