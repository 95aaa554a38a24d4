"""Documents of made sentences: each is about one subject and has that subject's words.

Sentences have a grammar, so that hidden words can be told from what stands around them. That two
segments belong together is told by their subjects: those of two documents differ five times in six.
"""

import random
from typing import Any

from tunesmith.data.synthetic import texts_of

TEXTS = texts_of("topics")
SPLITS = {"train": 400, "validation": 150, "test": 300}  # documents
SENTENCES = (8, 14)  # of a document, from and to
PATTERNS = TEXTS["patterns"]  # {who}, {did}, {what}, {where}: the subject's words
NAMES = TEXTS["names"]  # of the subjects
SUBJECTS: list[dict[str, list[str]]] = TEXTS["subjects"]


def rows() -> dict[str, list[dict[str, Any]]]:
    """Return the rows of each split; no document occurs twice."""
    dice = random.Random(1906)
    return {
        split: [
            {"text": document(dice, SUBJECTS[i]), "label": NAMES[i]}
            for i in (n % len(NAMES) for n in range(count))
        ]
        for split, count in SPLITS.items()
    }


def document(dice: random.Random, subject: dict[str, list[str]]) -> str:
    return " ".join(sentence(dice, subject) for _ in range(dice.randint(*SENTENCES)))


def sentence(dice: random.Random, subject: dict[str, list[str]]) -> str:
    """Fill a pattern, each place with a word of its own."""
    text = dice.choice(PATTERNS)
    for kind, words in subject.items():
        for word in dice.sample(words, text.count(f"{{{kind}}}")):
            text = text.replace(f"{{{kind}}}", word, 1)
    return text
