"""Made beginnings of a story, each with four endings of which one is in its place, in SWAG's form.

The endings of the validation and the test split occur in no other split: what fits has to be told
by what words mean, not learnt by heart.
"""

import random
from typing import Any

SPLITS = {"train": 800, "validation": 160, "test": 400}
SHARES = {"train": slice(0, 5), "validation": slice(5, 6), "test": slice(6, 8)}  # of the endings
NAMES = {"She": ["Anna", "Maria", "Ruth", "Clara"], "He": ["Tom", "Paul", "Victor", "Samuel"]}
PLACES: list[tuple[list[str], list[str]]] = [  # how it begins, how it may go on
    (
        ["opens the door of the bakery.", "smells fresh bread and joins the queue."],
        [
            "buys two warm rolls.",
            "points at the apple cake.",
            "asks for a loaf of rye.",
            "carries a bag of buns home.",
            "tastes a piece of pie.",
            "pays for the birthday cake.",
            "orders a dozen croissants.",
            "wonders which pastry has no sugar.",
        ],
    ),
    (
        ["runs along the platform.", "looks for the right track at the railway station."],
        [
            "jumps into the last carriage.",
            "shows the ticket to the conductor.",
            "hears that the express is late.",
            "waves until the train is gone.",
            "puts a suitcase on the rack.",
            "asks when the next train leaves.",
            "misses the connection to the capital.",
            "reads the timetable.",
        ],
    ),
    (
        ["sits in the waiting room of the doctor.", "comes to the hospital with a fever."],
        [
            "shows the nurse a swollen knee.",
            "gets a bandage.",
            "hopes that nothing is broken.",
            "swallows a bitter pill.",
            "describes the pain.",
            "is told to stay in bed.",
            "leaves with a prescription.",
            "has a blood test.",
        ],
    ),
    (
        ["walks onto the football pitch.", "ties the boots before the match."],
        [
            "kicks the ball past the keeper.",
            "gets a yellow card.",
            "scores with a header.",
            "hears the whistle of the referee.",
            "takes the penalty.",
            "saves a shot in the last minute.",
            "passes to the striker.",
            "celebrates the goal with the team.",
        ],
    ),
    (
        ["goes into the kitchen.", "wants to cook soup for the guests."],
        [
            "peels the potatoes.",
            "stirs the pot.",
            "chops an onion.",
            "boils some water.",
            "adds salt and pepper.",
            "turns the stove down.",
            "fries the carrots in butter.",
            "slices the vegetables.",
        ],
    ),
    (
        ["enters the library.", "stands in front of the shelves with novels."],
        [
            "borrows three books.",
            "asks for a novel by a new author.",
            "whispers to the librarian.",
            "turns the pages.",
            "returns a volume of poems.",
            "looks the title up in the catalogue.",
            "reads the first chapter.",
            "has to pay because the book is overdue.",
        ],
    ),
    (
        ["walks into the garden.", "kneels between the flower beds."],
        [
            "waters the roses.",
            "pulls out the weeds.",
            "plants some tulips.",
            "rakes the leaves.",
            "cuts the hedge.",
            "sows a row of beans.",
            "mows the lawn.",
            "digs a hole for the young tree.",
        ],
    ),
    (
        ["goes to the beach.", "lies down on the sand."],
        [
            "swims far out.",
            "dives under a wave.",
            "collects shells.",
            "puts on sun cream.",
            "builds a castle for the children.",
            "dries the wet hair with a towel.",
            "floats on the salt water.",
            "watches the sea gulls.",
        ],
    ),
    (
        ["steps onto the stage.", "opens the case of the violin."],
        [
            "plays the first movement.",
            "bows to the audience.",
            "tunes the strings.",
            "sings the old song again.",
            "follows the conductor of the orchestra.",
            "turns the sheet of music.",
            "enjoys the applause.",
            "rehearses the concerto.",
        ],
    ),
    (
        ["comes late into the classroom.", "hears the school bell."],
        [
            "writes the answer on the blackboard.",
            "forgets the homework.",
            "raises a hand.",
            "copies the exercise.",
            "learns a list of words.",
            "fails the exam.",
            "answers the question of the teacher.",
            "gets a good mark in spelling.",
        ],
    ),
    (
        ["walks up to the counter of the bank.", "needs money."],
        [
            "opens an account.",
            "asks for a loan.",
            "cashes a cheque.",
            "counts the notes.",
            "signs the transfer.",
            "withdraws two hundred dollars.",
            "asks about the interest rate.",
            "pays the savings in.",
        ],
    ),
    (
        ["has a flat tyre.", "stops the car at the garage."],
        [
            "calls a mechanic.",
            "opens the bonnet.",
            "checks the oil.",
            "buys new brakes.",
            "fills the tank.",
            "changes the wheel.",
            "starts the engine again.",
            "has the battery charged.",
        ],
    ),
]


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
