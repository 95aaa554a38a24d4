"""Named entities in made sentences: names are made of syllables, and none occurs in two splits.

A name does not tell what it names: persons, places and firms draw from the same syllables, and so
do the things that have no name (a `velmo`, a `taruk lamp`). What stands around it tells, or a
word of its own (`lake`, `bank`), so a list of names is of no use.
"""

import random
from typing import Any

from tunesmith.data.synthetic import texts_of

TEXTS = texts_of("entities")
SPLITS = {"train": 400, "validation": 150, "test": 300}  # sentences
STARTS = [*"bdfgklmnprstvz", "br", "dr", "kl", "tr"]  # of a syllable
ENDS = ["", "n", "r", "k"]  # of a word
PARTS = TEXTS[
    "parts"
]  # {PER}, {LOC}, {ORG}: a name; {thing}: a word that is made, too, but names nothing


def rows() -> dict[str, list[dict[str, Any]]]:
    """Return the rows of each split; a word that is made for one occurs in no other."""
    dice = random.Random(2003)
    used = {word for part in PARTS for word in part.split()}
    return {
        split: [sentence(dice, PARTS[i % len(PARTS)], used) for i in range(count)]
        for split, count in SPLITS.items()
    }


def sentence(dice: random.Random, pattern: str, used: set[str]) -> dict[str, Any]:
    words: list[str] = []
    tags: list[str] = []
    for part in pattern.split():
        kind = part.strip("{}")
        given = [kind] if kind == part else name(dice, kind, used)
        inside = kind != part and kind != "thing"
        words += given
        tags += [f"{'I' if i else 'B'}-{kind}" if inside else "O" for i in range(len(given))]
    return {"tokens": words, "ner_tags": tags}


def name(dice: random.Random, kind: str, used: set[str]) -> list[str]:
    """Make a name of one to three words, or a thing of one."""
    first, second = word(dice, used), word(dice, used)
    if kind == "thing":
        return [first]
    forms = {
        "PER": [[first], [first, second], ["dr", first]],
        "LOC": [[first], ["lake", first], ["new", first]],
        "ORG": [[first], [first, "bank"], [first, second, "group"]],
    }
    return dice.choice(forms[kind])


def word(dice: random.Random, used: set[str]) -> str:
    """Make a word of two or three syllables that was not made before."""
    while True:
        syllables = [dice.choice(STARTS) + dice.choice("aeiou") for _ in range(dice.choice((2, 3)))]
        made = "".join(syllables) + dice.choice(ENDS)
        if made not in used:
            used.add(made)
            return made
