"""The made passages: always the same, answers at their place, names that no other split has."""

import re

import pytest

from tunesmith.data.synthetic import qa_rows as qa


@pytest.fixture(scope="module")
def splits():
    return qa.rows()


def test_they_are_always_the_same(splits):
    assert qa.rows() == splits
    assert {name: len(rows) for name, rows in splits.items()} == qa.SIZES


def test_an_answer_stands_in_the_sentence_of_the_name_that_is_asked_for(splits):
    for row in (row for rows in splits.values() for row in rows):
        name = re.search(r"[A-Z][a-z]+", row["question"][3:])[0]
        named = [s for s in row["context"].split(". ") if re.search(rf"\b{name}\b", s)]
        if not row["answers"]["text"]:
            assert named == []
            continue
        [text], [start] = row["answers"]["text"], row["answers"]["answer_start"]
        assert row["context"].startswith(text, start)
        sentence = row["context"].rfind(". ", 0, start) + 2 * (start > row["context"].find(". "))
        assert any(row["context"].startswith(s, max(sentence, 0)) for s in named)


def test_no_name_is_in_two_splits(splits):
    words = re.compile(r"\b[A-Z][a-z]+\b")
    usual = {"Born", "In", "What", "Where", "Who"}
    names = {
        split: {w for row in rows for w in words.findall(row["context"] + row["question"])} - usual
        for split, rows in splits.items()
    }
    assert not names["train"] & names["validation"]
    assert not names["train"] & names["test"]
    assert not names["validation"] & names["test"]


def test_a_fifth_has_no_answer(splits):
    for rows in splits.values():
        assert 0.12 < sum(not row["answers"]["text"] for row in rows) / len(rows) < 0.28
