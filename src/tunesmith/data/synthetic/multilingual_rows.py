"""Short texts about six subjects in three made languages that share some words.

Each language has words of its own for every subject, and little words between them; the names of
things are the same in all three. What is learnt in one language is of use in the others where a
text has such a name, as three in four have.
The codes are those that ISO 639 leaves to private use.
"""

import random
from typing import Any

from tunesmith.data.synthetic.topics_rows import NAMES, SUBJECTS

LANGUAGES = {"qaa": "aeiou", "qab": "iuy", "qac": "aoe"}  # their vowels
ROWS = {  # of each language; the second and the third have few
    "train": {"qaa": 360, "qab": 120, "qac": 24},
    "validation": {"qaa": 90, "qab": 90, "qac": 90},
    "test": {"qaa": 180, "qab": 180, "qac": 180},
}
CONSONANTS = "bdfgklmnprstvz"
OWN, LITTLE = 12, 24  # words of a language: of a subject, and of none
LENGTH = (10, 18)  # words of a text, from and to


def rows() -> dict[str, list[dict[str, Any]]]:
    """Return the rows of each split."""
    dice = random.Random(639)
    words = {language: _words(dice, vowels) for language, vowels in LANGUAGES.items()}
    return {
        split: [
            {"text": _text(dice, *words[language], i), "label": NAMES[i], "language": language}
            for language, count in counts.items()
            for i in (n % len(NAMES) for n in range(count))
        ]
        for split, counts in ROWS.items()
    }


def _words(dice: random.Random, vowels: str) -> tuple[list[list[str]], list[str]]:
    """Make up a language: its own words of each subject, and its little words."""
    made: dict[str, None] = {}
    while len(made) < OWN * len(NAMES) + LITTLE:
        syllables = 1 if len(made) < LITTLE else dice.randint(2, 3)
        made["".join(dice.choice(CONSONANTS) + dice.choice(vowels) for _ in range(syllables))] = (
            None
        )
    found = list(made)
    own = [found[LITTLE + OWN * i :][:OWN] for i in range(len(NAMES))]
    return own, found[:LITTLE]


def _text(dice: random.Random, own: list[list[str]], little: list[str], subject: int) -> str:
    things = SUBJECTS[subject]["what"]  # the same in all languages
    kinds = dice.choices((little, own[subject], things), weights=(6, 3, 1), k=dice.randint(*LENGTH))
    return f"{' '.join(map(dice.choice, kinds)).capitalize()}."
