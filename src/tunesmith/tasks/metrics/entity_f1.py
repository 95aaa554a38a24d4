"""Entities in tagged words, and how well they were found: as seqeval counts them."""

import re
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

SCHEME = re.compile(r"O|[BIES](-.*)?", re.DOTALL)  # of a tag: IOB1, BIO and BIOES
UNTYPED = "_"  # the type of an entity tagged B and I, without one


class Entity(NamedTuple):
    """Some words that follow each other, and what they are."""

    label: str
    start: int  # the first word
    end: int  # the word after the last one


def entities(tags: Sequence[str]) -> list[Entity]:
    """Return the entities of a sentence in which any tag may follow any other.

    An entity goes on where B- or I- is followed by I- or E- of the same type; every other tag
    than O begins one. So IOB1, BIO and BIOES are read alike, and no word with a tag is lost
    (as `conlleval` of the CoNLL-2000 shared task and seqeval's default mode do it).
    """
    found: list[Entity] = []
    before = "O"
    for i, tag in enumerate(tags):
        if _goes_on(before, tag):
            found[-1] = found[-1]._replace(end=i + 1)
        elif tag != "O":
            found.append(Entity(_type(tag), i, i + 1))
        before = tag
    return found


def well_formed(tags: Sequence[str], closed: bool) -> list[Entity]:
    """Return only the entities that keep to the scheme, as seqeval's strict mode does.

    That is BIO, where an entity begins with B-; or, if `closed`, BIOES, where it is one S-, or
    ends with E- too.
    """
    return [
        entity
        for entity in entities(tags)
        if tags[entity.start][0] in "BS" and (not closed or tags[entity.end - 1][0] in "ES")
    ]


class Scores(NamedTuple):
    """Shares of what was given and of what was there; 0 where there is nothing to share."""

    precision: float
    recall: float
    f1: float


def scores(
    predicted: Iterable[Collection[Entity]], expected: Iterable[Collection[Entity]]
) -> Scores:
    """Compare the entities of each sentence; one is right if its type and both ends are."""
    right = many_given = many_wanted = 0
    for ours, theirs in zip(predicted, expected, strict=True):
        right += len(set(ours) & set(theirs))
        many_given += len(ours)
        many_wanted += len(theirs)
    both = many_given + many_wanted
    return Scores(
        right / many_given if many_given else 0.0,
        right / many_wanted if many_wanted else 0.0,
        2 * right / both if both else 0.0,
    )


def _goes_on(before: str, tag: str) -> bool:
    return before[0] in "BI" and tag[0] in "IE" and _type(before) == _type(tag)


def _type(tag: str) -> str:
    return tag[2:] or UNTYPED
