"""Passages of facts about made people and firms, and questions on one of them.

Every passage says the same things of two people and a firm, or of two firms and a person, and a
question is on one of the two: its name has to be found, not only the kind of answer. A fifth of
the questions have no answer: the passage does not name whom they ask about. No name of one
split occurs in another.
"""

import random
from string import Formatter
from typing import Any

from tunesmith.data.synthetic import texts_of

TEXTS = texts_of("qa")
SIZES = {"train": 1500, "validation": 250, "test": 400}
STARTS = "bdfgklmnprstv"
VOWELS = ["a", "e", "i", "o", "u", "ai", "ou"]
ENDS = ["l", "n", "r", "s", "t", "nd", "rk", ""]
JOBS = TEXTS["jobs"]
GOODS = TEXTS["goods"]
# By the kind of thing: sentences, and questions with the slot that answers them.
FACTS = TEXTS["facts"]


def rows() -> dict[str, list[dict[str, Any]]]:
    """Return the rows of every split, in SQuAD's flat form."""
    taken: set[str] = set()
    return {split: _split(split, size, taken) for split, size in SIZES.items()}


def _split(split: str, size: int, taken: set[str]) -> list[dict[str, Any]]:
    dice = random.Random(split)
    return [{"id": f"{split}-{i}", **_row(dice, taken)} for i in range(size)]


def _row(dice: random.Random, taken: set[str]) -> dict[str, Any]:
    kind, other = dice.sample(list(FACTS), 2)
    things = [_thing(dice, k, taken) for k in (kind, kind, other)]
    dice.shuffle(things)
    context, places = "", []
    for thing in things:
        sentence, at = _filled(dice.choice(FACTS[thing["kind"]][0]), thing)
        places.append({slot: len(context) + start for slot, start in at.items()})
        context += f"{sentence} "
    is_answerable = dice.random() < 0.8
    which = dice.choice([i for i, thing in enumerate(things) if thing["kind"] == kind])
    asked = things[which] if is_answerable else _thing(dice, kind, taken)
    question, slot = dice.choice(FACTS[asked["kind"]][1])
    answers: dict[str, list[Any]] = {"text": [], "answer_start": []}
    if is_answerable:
        answers = {"text": [asked[slot]], "answer_start": [places[which][slot]]}
    return {"question": question.format(**asked), "context": context.rstrip(), "answers": answers}


def _filled(template: str, values: dict[str, str]) -> tuple[str, dict[str, int]]:
    """Fill a template; return the text and where each slot's value begins in it."""
    text, places = "", {}
    for literal, slot, _, _ in Formatter().parse(template):
        text += literal
        if slot is not None:
            places[slot] = len(text)
            text += values[slot]
    return text, places


def _thing(dice: random.Random, kind: str, taken: set[str]) -> dict[str, str]:
    return {
        "kind": kind,
        "name": _name(dice, taken),
        "town": _name(dice, taken),
        "founder": _name(dice, taken),
        "year": str(dice.randint(1700, 1999)),
        "job": dice.choice(JOBS),
        "goods": dice.choice(GOODS),
    }


def _name(dice: random.Random, taken: set[str]) -> str:
    """Make a name that was not made before."""
    while True:
        first, second = (dice.choice(STARTS) + dice.choice(VOWELS) for _ in range(2))
        name = (first + second + dice.choice(ENDS)).capitalize()
        if name not in taken:
            taken.add(name)
            return name
