"""Entities are counted as seqeval counts them, also where the tags make no sense."""

import random
import warnings

import pytest
from seqeval import metrics as reference
from seqeval.scheme import IOB2, IOBES

from tunesmith.tasks.metrics.entity_f1 import SCHEME, Entity, entities, scores, well_formed

PREFIXES = {IOB2: "BI", IOBES: "BIES"}
TYPES = ["PER", "LOC", "ORG-x", "_"]


def random_tags(dice: random.Random, prefixes: str, length: int) -> list[str]:
    """Make any tags in any order; half of the time the type of the one before is kept."""
    tags, kind = [], TYPES[0]
    for _ in range(length):
        kind = kind if dice.random() < 0.5 else dice.choice(TYPES)
        prefix = dice.choice(prefixes + "O")
        typed = dice.random() < 0.9
        tags.append("O" if prefix == "O" else f"{prefix}-{kind}" if typed else prefix)
    return tags


def disturbed(dice: random.Random, tags: list[str], prefixes: str) -> list[str]:
    """Guess most tags rightly, so that some entities are found and others nearly."""
    return [t if dice.random() < 0.8 else random_tags(dice, prefixes, 1)[0] for t in tags]


def random_pair(seed: int, prefixes: str) -> tuple[list[list[str]], list[list[str]]]:
    dice = random.Random(seed)
    wanted = [random_tags(dice, prefixes, dice.randint(0, 12)) for _ in range(dice.randint(1, 8))]
    return wanted, [disturbed(dice, tags, prefixes) for tags in wanted]


@pytest.mark.parametrize("scheme", [IOB2, IOBES])
def test_entities_are_those_of_seqeval_on_any_tags(scheme: type) -> None:
    dice = random.Random(0)
    for _ in range(3000):
        tags = random_tags(dice, PREFIXES[scheme], dice.randint(0, 12))
        theirs = reference.sequence_labeling.get_entities(tags)
        assert entities(tags) == [Entity(label, start, end + 1) for label, start, end in theirs]


@pytest.mark.parametrize("scheme", [IOB2, IOBES])
def test_scores_are_those_of_seqeval_in_both_modes(scheme: type) -> None:
    seen = set()
    for seed in range(300):
        wanted, given = random_pair(seed, PREFIXES[scheme])
        strict = {"mode": "strict", "scheme": scheme}
        closed = scheme is IOBES
        found = {
            "default": scores(map(entities, given), map(entities, wanted)),
            "strict": scores(
                [well_formed(tags, closed) for tags in given],
                [well_formed(tags, closed) for tags in wanted],
            ),
        }
        for mode, options in (("default", {}), ("strict", strict)):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of nothing to divide by
                theirs = [
                    getattr(reference, f"{name}_score")(wanted, given, **options)
                    for name in ("precision", "recall", "f1")
                ]
            assert found[mode] == pytest.approx(theirs, abs=1e-12), (seed, mode)
            seen.add((mode, round(found[mode].f1, 3)))
    assert len(seen) > 100  # the sentences differ enough to tell one rule from another


def test_iob1_is_read_as_it_is_meant() -> None:
    tags = ["I-PER", "B-PER", "I-PER", "O", "I-LOC", "I-ORG"]
    assert entities(tags) == [
        Entity("PER", 0, 1),
        Entity("PER", 1, 3),
        Entity("LOC", 4, 5),
        Entity("ORG", 5, 6),
    ]
    assert well_formed(tags, closed=False) == [Entity("PER", 1, 3)]


def test_no_entity_at_all_scores_nothing() -> None:
    assert scores([[]], [[]]) == (0, 0, 0)
    assert scores([[Entity("PER", 0, 1)]], [[]]) == (0, 0, 0)


@pytest.mark.parametrize("tag", ["O", "B", "I-PER", "E-a b", "S-x-y", "B-"])
def test_a_tag_of_the_scheme(tag: str) -> None:
    assert SCHEME.fullmatch(tag)


@pytest.mark.parametrize("tag", ["PER", "o", "", "B_PER", "L-PER", "PER-B", "O-PER", "BPER"])
def test_a_tag_of_no_scheme(tag: str) -> None:
    assert not SCHEME.fullmatch(tag)
