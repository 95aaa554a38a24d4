"""The made documents: always the same, each about one subject, none in two splits."""

import re

from tunesmith.data.synthetic import topics_rows as topics


def texts(split):
    return [row["text"] for row in topics.rows()[split]]


def test_they_are_always_the_same():
    assert topics.rows() == topics.rows()
    assert {name: len(rows) for name, rows in topics.rows().items()} == topics.SPLITS


def test_no_document_occurs_twice():
    whole = [text for split in topics.SPLITS for text in texts(split)]
    assert len(set(whole)) == len(whole)


def test_a_document_has_the_words_of_one_subject():
    own = [{w for words in s.values() for w in words} for s in topics.SUBJECTS]
    seen = set()
    for row in topics.rows()["validation"]:
        text = row["text"]
        told = [sum(len(re.findall(rf"\b{w}\b", text)) for w in words) for words in own]
        assert sum(count > 0 for count in told) == 1
        assert "{" not in text
        subject = max(range(len(told)), key=told.__getitem__)
        assert row["label"] == topics.NAMES[subject]
        seen.add(subject)
    assert len(seen) == len(own)
