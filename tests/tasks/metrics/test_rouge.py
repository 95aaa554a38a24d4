"""ROUGE against other implementations, on made texts."""

import math
import random
import socket

import pytest
from rouge_score.rouge_scorer import RougeScorer
from torchmetrics.functional.text import rouge_score

from tunesmith.tasks.metrics.rouge import AnyWords, rouge

WORDS = ["cats", "running", "mat.", "the", "Sat", "on", "flies", "a", "2", "well-known", "it's"]


def texts(seed):
    """Make 60 pairs of texts of some lines, now and then an empty one."""
    dice = random.Random(seed)

    def text():
        lines = range(dice.randint(0, 3))
        return "\n".join(" ".join(dice.choices(WORDS, k=dice.randint(1, 7))) for _ in lines)

    return [text() for _ in range(60)], [text() for _ in range(60)]


@pytest.mark.parametrize("seed", range(3))
def test_scores_are_those_of_torchmetrics(seed):
    given, wanted = texts(seed)
    kinds = ["rouge1", "rouge2", "rougeL"]
    theirs = rouge_score(given, wanted, use_stemmer=True, rouge_keys=tuple(kinds))
    found = rouge(given, [[text] for text in wanted], "english", kinds)
    assert 0.03 < found["rouge2"] < found["rougeL"] < found["rouge1"] < 0.9
    for kind in kinds:
        assert found[kind] == pytest.approx(float(theirs[f"{kind}_fmeasure"]), abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_a_summary_of_lines_is_compared_line_by_line(seed):
    given, wanted = texts(seed)
    scorer = RougeScorer(["rougeLsum"], use_stemmer=True)
    pairs = zip(wanted, given, strict=True)
    each = [scorer.score(right, text)["rougeLsum"].fmeasure for right, text in pairs]
    found = rouge(given, [[text] for text in wanted], "english")
    assert found["rougeLsum"] == pytest.approx(sum(each) / len(each))
    assert found["rougeLsum"] > found["rougeL"]


def test_the_nearest_of_several_references_counts_for_each_kind():
    (given, first), (second, _) = texts(5), texts(6)
    scorer = RougeScorer(["rouge1", "rougeL"], use_stemmer=True)
    several = [[*pair] for pair in zip(first, second, strict=True)]
    each = [scorer.score_multi(r, text) for r, text in zip(several, given, strict=True)]
    found = rouge(given, several, "english", ["rouge1", "rougeL"])
    for kind in ("rouge1", "rougeL"):
        assert found[kind] == pytest.approx(sum(s[kind].fmeasure for s in each) / len(each))
    assert found["rouge1"] > rouge(given, [[r] for r in first], "english")["rouge1"]


def overlap(one, other, size):
    """Compare n-grams by hand."""
    grams = [[tuple(t[i : i + size]) for i in range(len(t) - size + 1)] for t in (one, other)]
    left = list(grams[1])
    hits = sum(gram in left and not left.remove(gram) for gram in grams[0])
    return 2 * hits / (len(grams[0]) + len(grams[1]))


def longest_common(one, other):
    table = [[0] * (len(other) + 1) for _ in range(len(one) + 1)]
    for i, a in enumerate(one):
        for j, b in enumerate(other):
            longer = max(table[i][j + 1], table[i + 1][j])
            table[i + 1][j + 1] = table[i][j] + 1 if a == b else longer
    return 2 * table[-1][-1] / (len(one) + len(other))


@pytest.mark.parametrize("alphabet", ["абвг", "一二三四", "あいうえ"])
def test_other_scripts_are_scored_by_the_definition(alphabet):
    dice, spaced = random.Random(0), alphabet == "абвг"
    made = [[dice.choices(alphabet, k=dice.randint(2, 9)) for _ in range(30)] for _ in range(2)]
    given, wanted = ([(" " if spaced else "").join(t) for t in part] for part in made)
    found = rouge(given, [[text] for text in wanted], "any", ["rouge1", "rouge2", "rougeL"])
    pairs = list(zip(*made, strict=True))
    for kind, each in (
        ("rouge1", [overlap(a, b, 1) for a, b in pairs]),
        ("rouge2", [overlap(a, b, 2) for a, b in pairs]),
        ("rougeL", [longest_common(a, b) for a, b in pairs]),
    ):
        assert found[kind] == pytest.approx(sum(each) / len(each))
    assert rouge(given, [[text] for text in given], "english", ["rouge1"]) == {
        "rouge1": 0.0
    }  # it knows a-z alone


def test_words_of_any_script():
    text = "Straße, 東京タワー! it's Ünder_score 3,5"
    assert AnyWords().tokenize(text) == (
        ["strasse", "東", "京", "タ", "ワ", "ー", "it", "s", "ünder", "score", "3", "5"]
    )
    marked = "हिन्दी में, \u0e17\u0e35\u0e48 cafe\u0301 شَمْس!"  # of marks and letters
    assert AnyWords().tokenize(marked) == ["हिन्दी", "में", "\u0e17\u0e35\u0e48", "café", "شَمْس"]


def test_no_texts_have_no_score():
    assert math.isnan(rouge([], [], "english")["rouge1"])


def test_nothing_is_downloaded(monkeypatch):
    def refuse(*_):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert rouge(["A cat. It sat."], [["A cat. It sat."]], "english")["rougeLsum"] == 1.0
