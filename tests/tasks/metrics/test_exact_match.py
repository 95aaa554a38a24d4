"""Answers are compared as the published evaluations of SQuAD do, and thresholds are the best."""

import math
import random
import string
import unicodedata
from collections import Counter

import pytest
from torchmetrics.functional.text import squad

from tunesmith.tasks.metrics.exact_match import best_threshold, exact_match, f1

PARTS = [
    "the",
    "A",
    "an",
    "cat",
    "Cats",
    "co-op",
    "u.s.",
    "1,000",
    "«oui»",
    "naïve",
    "a\u2013b",
    "10",
]
MARKS = ["", "", "", ".", "!", "'s", "?", "…", "\u2013", "the"]
SPACES = [" ", " ", "  ", "\t", "\n", "\u00a0"]


def made_text(dice, longest=5):
    words = [dice.choice(PARTS) + dice.choice(MARKS) for _ in range(dice.randint(0, longest))]
    return "".join(word + dice.choice(SPACES) for word in words)


def published(given, right):
    """Score as the rules of SQuAD 2.0 say, step by step, apart from the code under test."""

    def plain(text):
        kept = "".join(c for c in text.lower() if c not in set(string.punctuation))
        runs, current = [], ""
        for c in [*kept, " "]:
            if c.isalnum() or c == "_":
                current += c
                continue
            runs += ["" if current in ("a", "an", "the") else current, c]
            current = ""
        return " ".join("".join(runs).split())

    def overlap(gold, guess):
        gold, guess = gold.split(), guess.split()
        if not gold or not guess:
            return float(gold == guess)
        left, same = list(gold), 0
        for word in guess:
            if word in left:
                left.remove(word)
                same += 1
        return 2 * same / (len(gold) + len(guess))

    golds = [text for text in map(plain, right) if text] or [""]
    guess = plain(given)
    return max(float(gold == guess) for gold in golds), max(overlap(g, guess) for g in golds)


def test_scores_are_those_of_the_published_rules():
    dice = random.Random(0)
    kinds = Counter()
    for _ in range(5000):
        right = [made_text(dice) for _ in range(dice.randint(0, 3))]
        given = dice.choice([made_text(dice), *right])
        scores = exact_match(given, right), f1(given, right)
        assert scores == pytest.approx(published(given, right)), (given, right)
        kinds[scores[0], 0 < scores[1] < 1] += 1
    assert min(kinds[1.0, False], kinds[0.0, True], kinds[0.0, False]) > 100


def test_scores_are_those_of_torchmetrics_where_every_question_has_an_answer():
    dice = random.Random(1)
    for _ in range(300):
        right = [f"{dice.choice(['cat', 'dog'])} {made_text(dice)}" for _ in range(2)]
        given = dice.choice([made_text(dice), *right, right[0].upper()])
        truth = {"answers": {"text": right, "answer_start": [0, 0]}, "id": "1"}
        reference = squad({"prediction_text": given, "id": "1"}, truth)
        assert 100 * exact_match(given, right) == pytest.approx(float(reference["exact_match"]))
        assert 100 * f1(given, right) == pytest.approx(float(reference["f1"]), abs=1e-4)


@pytest.mark.parametrize(
    ("given", "right", "scores"),
    [
        ("the Cat.", ["a cat"], (1, 1)),
        ("", [], (1, 1)),
        ("cat", [], (0, 0)),
        ("", ["cat"], (0, 0)),
        ("black cat", ["cat", "black dog house"], (0, 2 / 3)),
        ("the", [], (1, 1)),  # an article alone is no answer
        ("", ["the"], (1, 1)),
        ("cat cat", ["cat"], (0, 2 / 3)),
        ("北京", ["北京大学"], (0, 2 / 3)),
        ("「北京 大学」", ["北京大学。"], (1, 1)),
        ("2008年", ["2008"], (0, 2 / 3)),
        ("とうきょう", ["きょうと"], (0, 8 / 9)),
        ("\u0e01\u0e32", ["\u0e01\u0e32\u0e41\u0e1f"], (0, 2 / 3)),  # Thai
    ],
)
def test_small_cases(given, right, scores):
    assert (exact_match(given, right), f1(given, right)) == pytest.approx(scores)


def published_for_chinese(given, right):
    """Score as MLQA's evaluation (Lewis et al., 2020) does with Chinese, apart from our code."""

    def plain(text):
        is_mark = [unicodedata.category(c)[0] == "P" or c in string.punctuation for c in text]
        words, run = [], ""
        for c in "".join(c for c, mark in zip(text.lower(), is_mark, strict=True) if not mark):
            if "\u4e00" <= c <= "\u9fa5":
                words += [*run.split(), c]
                run = ""
            else:
                run += c
        return [*words, *run.split()]

    guess, golds = plain(given), [plain(text) for text in right]

    def overlap(gold):
        same = (Counter(gold) & Counter(guess)).total()
        return 2 * same / (len(gold) + len(guess)) if same else float(gold == guess)

    return max(float(gold == guess) for gold in golds), max(map(overlap, golds))


def test_chinese_is_scored_by_the_published_rules_character_by_character():
    dice, parts = random.Random(3), [*"北京大学。《》年", "2008", " NLP ", "the ", "A-b", "$"]
    partial = 0
    for _ in range(2000):
        # Each text has a Chinese character: one without is a text of Latin letters, as SQuAD's.
        right = ["北" + "".join(dice.choices(parts, k=dice.randint(0, 6))) for _ in range(2)]
        given = "京" + "".join(dice.choices(parts, k=dice.randint(0, 6)))
        scores = exact_match(given, right), f1(given, right)
        assert scores == pytest.approx(published_for_chinese(given, right)), (given, right)
        partial += 0 < scores[1] < 1
    assert partial > 1000


def test_no_other_threshold_is_better():
    dice = random.Random(2)
    for _ in range(500):
        count = dice.randint(1, 8)
        margins = [dice.choice([-1.5, 0.0, 0.25, dice.gauss(0, 2)]) for _ in range(count)]
        gains = [dice.choice([-1.0, 1.0, 0.5, 0.0]) for _ in range(count)]

        def total(threshold, margins=margins, gains=gains):
            return sum(g for m, g in zip(margins, gains, strict=True) if m <= threshold)

        chosen = best_threshold(margins, gains)
        tried = [-math.inf, *margins, math.inf]
        assert total(chosen) == max(map(total, tried))
        assert chosen not in margins


def test_a_threshold_stands_midway_or_at_infinity():
    assert best_threshold([1.0, 3.0], [1.0, -1.0]) == 2.0
    assert best_threshold([1.0, 3.0], [1.0, 1.0]) == math.inf
    assert best_threshold([1.0, 3.0], [-1.0, -1.0]) == -math.inf
    assert best_threshold([1.0, 1.0, 4.0], [1.0, -0.5, -1.0]) == 2.5
    assert best_threshold([], []) == math.inf
    assert best_threshold([1.0], [0.0]) == math.inf  # a tie: rather an answer
