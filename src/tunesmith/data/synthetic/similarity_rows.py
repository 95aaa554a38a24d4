"""Pairs of made sentences about scenes; their label says in how much the two agree, from 0 to 5.

What agrees is often said in other words (a doctor, a physician), so equal words are not the
measure; nor is all of equal weight: the thing counts twice, the time not at all. No pair of
scenes occurs in two splits.
"""

import random
from typing import Any

from tunesmith.data.synthetic import texts_of

TEXTS = texts_of("similarity")
SPLITS = {"train": 2000, "validation": 250, "test": 500}  # pairs
Scene = tuple[int, ...]  # which of its kind each part is
PARTS: dict[str, list[tuple[str, str]]] = TEXTS["parts"]  # each said in two ways
WEIGHTS = {"who": 1, "did": 1, "what": 2, "where": 1, "when": 0}
ORDERS = TEXTS["orders"]


def rows() -> dict[str, list[dict[str, Any]]]:
    """Return the rows of each split; labels are 0 to 5."""
    dice = random.Random(1885)
    taken: set[tuple[Scene, Scene]] = set()
    return {split: [_pair(dice, taken) for _ in range(count)] for split, count in SPLITS.items()}


def scene(dice: random.Random) -> Scene:
    return tuple(dice.randrange(len(ways)) for ways in PARTS.values())


def changed(dice: random.Random, one: Scene, count: int) -> Scene:
    """Return a scene that differs in so many parts."""
    other = list(one)
    for part in dice.sample(range(len(one)), count):
        choices = len(list(PARTS.values())[part])
        other[part] = (one[part] + dice.randrange(1, choices)) % choices
    return tuple(other)


def in_words(dice: random.Random, one: Scene) -> str:
    """Say a scene in one of the orders, each part in one of its two ways."""
    words = {part: dice.choice(ways[i]) for (part, ways), i in zip(PARTS.items(), one, strict=True)}
    text = dice.choice(ORDERS).format(**words)
    return text[0].upper() + text[1:]


def _pair(dice: random.Random, taken: set[tuple[Scene, Scene]]) -> dict[str, Any]:
    while True:
        one = scene(dice)
        other = changed(dice, one, dice.randrange(len(PARTS) + 1))
        if (one, other) not in taken:
            taken |= {(one, other), (other, one)}
            same = zip(WEIGHTS.values(), one, other, strict=True)
            label = sum(weight for weight, a, b in same if a == b)
            return {"text": in_words(dice, one), "text_pair": in_words(dice, other), "label": label}
