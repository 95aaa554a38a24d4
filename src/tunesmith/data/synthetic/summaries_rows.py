"""Reports of made matches, and one line that sums each up: who beat whom, by how much, and where.

What the line needs stands in three sentences in any order, among others that name a town where
something else happened. No report is as another, and the test split has none of train's matches.
"""

import random
from typing import Any

from tunesmith.data.synthetic import texts_of

TEXTS = texts_of("summaries")
SPLITS = {"train": 1200, "validation": 100, "test": 200}  # reports
TEAMS = TEXTS["teams"]
TOWNS = TEXTS["towns"]
GOALS = TEXTS["goals"]
RESULTS = TEXTS["results"]
PLACES = [
    "The match was played in {town}.",
    "The stadium in {town} was full.",
    "Thousands had come to {town} to watch.",
]
SCORES = [
    "It ended {more} to {fewer}.",
    "The score was {more} to {fewer}.",
    "The board showed {more} to {fewer} at the end.",
]
OTHERS = [
    "Next week there is a match in {other}.",
    "The referee had come from {other}.",
    "It rained for most of the evening.",
    "The coach did not want to speak to the press.",
    "A similar match in {other} had been called off.",
]
SUMMARY = "{winner} beat {loser} {more} to {fewer} in {town}."


def rows() -> dict[str, list[dict[str, Any]]]:
    """Return the rows of each split; no match is in two of them."""
    dice = random.Random(1863)
    seen: set[str] = set()
    return {split: [report(dice, seen) for _ in range(count)] for split, count in SPLITS.items()}


def report(dice: random.Random, seen: set[str]) -> dict[str, Any]:
    """Make a match that was not seen, and report it."""
    match = drawn(dice)
    while SUMMARY.format(**match) in seen:
        match = drawn(dice)
    seen.add(SUMMARY.format(**match))
    kinds = [dice.choice(sentences) for sentences in (RESULTS, PLACES, SCORES)]
    kinds += dice.sample(OTHERS, 2)
    dice.shuffle(kinds)
    text = " ".join(sentence.format(**match) for sentence in kinds)
    return {"text": text, "summary": SUMMARY.format(**match)}


def drawn(dice: random.Random) -> dict[str, str]:
    winner, loser = dice.sample(TEAMS, 2)
    town, other = dice.sample(TOWNS, 2)
    fewer, more = sorted(dice.sample(range(len(GOALS)), 2))
    match = {"winner": winner, "loser": loser, "town": town, "other": other}
    return match | {"more": GOALS[more], "fewer": GOALS[fewer]}
