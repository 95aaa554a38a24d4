"""Documents of made sentences: each is about one subject and has that subject's words.

Sentences have a grammar, so that hidden words can be told from what stands around them. That two
segments belong together is told by their subjects: those of two documents differ five times in six.
"""

import random
from typing import Any

SPLITS = {"train": 400, "validation": 150, "test": 300}  # documents
SENTENCES = (8, 14)  # of a document, from and to
PATTERNS = [  # {who}, {did}, {what}, {where}: the subject's words
    "The {who} {did} the {what} {where}.",
    "The {who} {did} an old {what}.",
    "A {what} was {did} by the {who}.",
    "Early in the morning the {who} {did} a {what} {where}.",
    "Nobody knew why the {who} {did} the {what}.",
    "The {what} and the {what} were {where}.",
    "The {who} asked the {who} about the {what}.",
    "When the {who} came, the {what} was {where}.",
]
NAMES = ("sea", "land", "medicine", "music", "sport", "law")  # of the subjects
SUBJECTS: list[dict[str, list[str]]] = [
    {
        "who": ["captain", "sailor", "fisherman", "pilot"],
        "did": ["anchored", "painted", "rowed", "repaired"],
        "what": ["boat", "net", "sail", "ship", "rope"],
        "where": ["in the harbour", "near the coast", "on the river"],
    },
    {
        "who": ["farmer", "shepherd", "gardener", "miller"],
        "did": ["planted", "harvested", "watered", "fed"],
        "what": ["field", "cow", "horse", "apple", "tree"],
        "where": ["in the barn", "behind the fence", "on the hill"],
    },
    {
        "who": ["doctor", "nurse", "patient", "surgeon"],
        "did": ["examined", "cured", "treated", "cleaned"],
        "what": ["heart", "wound", "bone", "drug", "bandage"],
        "where": ["in the hospital", "on the ward", "at the clinic"],
    },
    {
        "who": ["singer", "composer", "drummer", "pianist"],
        "did": ["played", "recorded", "rehearsed", "composed"],
        "what": ["song", "piano", "album", "guitar", "symphony"],
        "where": ["on the stage", "in the studio", "at the concert"],
    },
    {
        "who": ["goalkeeper", "coach", "striker", "referee"],
        "did": ["kicked", "caught", "watched", "missed"],
        "what": ["ball", "goal", "match", "cup", "penalty"],
        "where": ["in the stadium", "on the pitch", "at the training"],
    },
    {
        "who": ["judge", "lawyer", "witness", "thief"],
        "did": ["accused", "defended", "signed", "questioned"],
        "what": ["crime", "letter", "verdict", "contract", "law"],
        "where": ["in the court", "at the trial", "before the jury"],
    },
]


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
