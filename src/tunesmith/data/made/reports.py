"""Short made reports of scenes, and for each what somebody who seeks it would ask.

The query tells the scene in other words and another order; of each report there are two that
differ from it in one part of five alone, as negatives. No scene occurs twice.
"""

import random
from typing import Any

from tunesmith.data.made.scenes import PARTS, Scene, changed, scene

SPLITS = {"train": 1500, "validation": 250, "test": 500}  # queries, each with its report
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
    return {split: [_row(dice, taken) for _ in range(count)] for split, count in SPLITS.items()}


def _row(dice: random.Random, taken: set[Scene]) -> dict[str, Any]:
    one = scene(dice)
    while one in taken:
        one = scene(dice)
    taken.add(one)
    ways = [dice.randrange(2) for _ in one]
    others = [changed(dice, one, 1) for _ in range(2)]
    return {
        "query": _said(dice.choice(QUERIES), one, [1 - way for way in ways]),
        "passage": _said(dice.choice(REPORTS), one, ways),
        "negatives": [_said(dice.choice(REPORTS), other, ways) for other in others],
    }


def _said(pattern: str, one: Scene, ways: list[int]) -> str:
    kinds = zip(PARTS.items(), one, ways, strict=True)
    text = pattern.format(**{part: said[i][way] for (part, said), i, way in kinds})
    return text[0].upper() + text[1:]
