"""Sentences that name a colour, each with a small picture of one thing: is the sentence true?

Neither tells it alone: every sentence is as often true as false, and so is every colour of a
picture. Pictures are files in the row, as the hub's Image feature has them.
"""

import random
from typing import Any

from tunesmith.data.synthetic import texts_of

TEXTS = texts_of("image_text")
SIZES = {"train": 1200, "validation": 200, "test": 400}
COLOURS = {
    "red": (220, 30, 30),
    "green": (30, 170, 50),
    "blue": (40, 60, 220),
    "yellow": (230, 210, 40),
}
THINGS = TEXTS["things"]
SENTENCES = TEXTS["sentences"]
SIDE = 16  # pixels


def rows() -> dict[str, list[dict[str, Any]]]:
    """Return the rows of every split: text, image, label."""
    return {split: _split(split, size) for split, size in SIZES.items()}


def _split(split: str, size: int) -> list[dict[str, Any]]:
    dice = random.Random(split)
    return [_row(dice, f"{split}-{i}.ppm", i % 2 == 0) for i in range(size)]


def _row(dice: random.Random, name: str, is_true: bool) -> dict[str, Any]:
    shown = dice.choice(list(COLOURS))
    said = shown if is_true else dice.choice([colour for colour in COLOURS if colour != shown])
    text = dice.choice(SENTENCES).format(thing=dice.choice(THINGS), colour=said)
    image = {"bytes": _picture(dice, COLOURS[shown]), "path": name}
    return {"text": text, "image": image, "label": "true" if is_true else "false"}


def _picture(dice: random.Random, colour: tuple[int, int, int]) -> bytes:
    """Return a portable pixmap: a rectangle of a colour on grey, both noisy."""
    width, height = dice.randint(7, 12), dice.randint(7, 12)
    left, top = dice.randint(0, SIDE - width), dice.randint(0, SIDE - height)
    grey = (dice.randint(60, 200),) * 3
    pixels = bytearray()
    for y in range(SIDE):
        for x in range(SIDE):
            inside = left <= x < left + width and top <= y < top + height
            noisy = (part + dice.randint(-25, 25) for part in (colour if inside else grey))
            pixels += bytes(min(max(part, 0), 255) for part in noisy)
    return b"P6 %d %d 255\n" % (SIDE, SIDE) + bytes(pixels)
