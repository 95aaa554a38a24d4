"""Short made reports of scenes, and for each what somebody who seeks it would ask.

The query tells the scene in other words and another order. Reports come in threes that differ in
a part or two of five; the other two are a row's negatives as well. No scene occurs twice.
"""

import random
from typing import Any

from tunesmith.data.synthetic import texts_of
from tunesmith.data.synthetic.similarity_rows import PARTS, Scene, changed, scene

TEXTS = texts_of("retrieval")
SPLITS = {"train": 480, "validation": 150, "test": 450}  # queries, each with its report
NEAR = 3  # reports that are nearly the same
REPORTS = TEXTS["reports"]
QUERIES = TEXTS["queries"]


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
