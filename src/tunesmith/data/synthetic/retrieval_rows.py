"""Short made reports of scenes, and for each what somebody who seeks it would ask.

The query tells the scene in other words and another order. Reports come in threes that differ in
a part or two of five; the other two are a row's negatives as well. No scene occurs twice.
"""

import random
from typing import Any

from tunesmith.data.synthetic.similarity_rows import PARTS, Scene, changed, scene

SPLITS = {"train": 480, "validation": 150, "test": 450}  # queries, each with its report
NEAR = 3  # reports that are nearly the same
REPORTS = [
    "It was {when}. {who} was seen {where} and, as we hear, {did} {what} there.",
    "A note about {what}: {who} {did} it {where}, {when}, and nobody knows why.",
    "We were told that {where} {who} {did} {what}. This happened {when}.",
]
QUERIES = [
    "who {did} {what} {where} {when}? {who}?",
    "{what} that {who} {did} {when} {where}",
    "{who} {where} {when}: {did} {what}",
]


def rows() -> dict[str, list[dict[str, Any]]]:
    dice = random.Random(1891)
    taken: set[Scene] = set()
    return {
        split: [row for _ in range(count // NEAR) for row in _near_ones(dice, taken)]
        for split, count in SPLITS.items()
    }


def _near_ones(dice: random.Random, taken: set[Scene]) -> list[dict[str, Any]]:
    """Make rows of scenes that differ from the first of them in one part."""
    scenes: list[Scene] = []
    while len(scenes) < NEAR:
        one = changed(dice, scenes[0], 1) if scenes else scene(dice)
        if one not in taken:
            taken.add(one)
            scenes.append(one)
    return [_row(dice, one, [other for other in scenes if other != one]) for one in scenes]


def _row(dice: random.Random, one: Scene, others: list[Scene]) -> dict[str, Any]:
    ways = [dice.randrange(2) for _ in one]
    return {
        "query": _said(dice.choice(QUERIES), one, [1 - way for way in ways]),
        "passage": _said(dice.choice(REPORTS), one, ways),
        "negatives": [_said(dice.choice(REPORTS), other, ways) for other in others],
    }


def _said(pattern: str, one: Scene, ways: list[int]) -> str:
    kinds = zip(PARTS.items(), one, ways, strict=True)
    text = pattern.format(**{part: said[i][way] for (part, said), i, way in kinds})
    return text[0].upper() + text[1:]
