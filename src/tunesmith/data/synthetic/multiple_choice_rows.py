"""Made beginnings of a story, each with four endings of which one is in its place, in SWAG's form.

The endings of the validation and the test split occur in no other split: what fits has to be told
by what words mean, not learnt by heart.
"""

import random
from typing import Any

from tunesmith.data.synthetic import texts_of

TEXTS = texts_of("multiple_choice")
SPLITS = {"train": 800, "validation": 160, "test": 400}
SHARES = {"train": slice(0, 5), "validation": slice(5, 6), "test": slice(6, 8)}  # of the endings
NAMES = {"She": ["Anna", "Maria", "Ruth", "Clara"], "He": ["Tom", "Paul", "Victor", "Samuel"]}
PLACES: list[tuple[list[str], list[str]]] = TEXTS["places"]  # how it begins, how it may go on


def rows() -> dict[str, list[dict[str, Any]]]:
    dice = random.Random(2018)
    return {
        split: [_row(dice, i % len(PLACES), SHARES[split]) for i in range(count)]
        for split, count in SPLITS.items()
    }


def _row(dice: random.Random, position: int, share: slice) -> dict[str, Any]:
    who = dice.choice(list(NAMES))
    begins, endings = PLACES[position]
    others = dice.sample([theirs for theirs in PLACES if theirs is not PLACES[position]], 3)
    right = dice.choice(endings[share])
    given = [right, *(dice.choice(theirs[share]) for _, theirs in others)]
    dice.shuffle(given)
    first = f"{dice.choice(NAMES[who])} {dice.choice(begins)}"
    endings_ = {f"ending{i}": ending for i, ending in enumerate(given)}
    return {"sent1": first, "sent2": who, **endings_, "label": given.index(right)}
