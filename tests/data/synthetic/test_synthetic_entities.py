"""The made set of names: a list of names is of no use, and what a lazy guess scores is known."""

from collections import Counter

from tunesmith.data.synthetic.entities_rows import PARTS, rows
from tunesmith.tasks.metrics.entity_f1 import SCHEME, entities, scores

FIXED = {word for part in PARTS for word in part.split()} | {"dr", "lake", "new", "bank", "group"}


def made_words(split):
    return {word for row in split for word in row["tokens"]} - FIXED


def test_it_is_always_the_same_and_well_tagged():
    assert rows() == rows()
    for split in rows().values():
        for row in split:
            assert len(row["tokens"]) == len(row["ner_tags"])
            assert all(SCHEME.fullmatch(tag) for tag in row["ner_tags"])


def test_no_made_word_is_in_two_splits():
    train, validation, test = (made_words(split) for split in rows().values())
    assert min(map(len, (train, validation, test))) > 200
    assert not (train & validation or train & test or validation & test)


def test_a_word_that_was_never_seen_may_name_nothing():
    outside = {
        word
        for row in rows()["test"]
        for word, tag in zip(row["tokens"], row["ner_tags"], strict=True)
        if tag == "O"
    }
    assert len(outside - FIXED) > 50


def test_the_baseline_of_the_experiment_is_as_its_header_says():
    train, test = rows()["train"], rows()["test"]
    kinds = Counter(e.label for row in train for e in entities(row["ner_tags"]))
    most = kinds.most_common(1)[0][0]
    wanted = [entities(row["ner_tags"]) for row in test]
    guessed = [
        entities([f"I-{most}" if w not in FIXED else "O" for w in r["tokens"]]) for r in test
    ]
    assert scores([[]] * len(test), wanted).f1 == 0
    assert round(scores(guessed, wanted).f1, 3) == 0.216
