"""The made pictures: neither the sentence nor the picture tells the label."""

import io
import re
from collections import Counter

import numpy as np
from PIL import Image

from tunesmith.data.synthetic.image_text_rows import COLOURS, SIZES, rows


def said(row):
    [colour] = set(re.findall(r"\w+", row["text"])) & set(COLOURS)
    return colour


def shown(row):
    pixels = np.array(Image.open(io.BytesIO(row["image"]["bytes"]))).reshape(-1, 3).astype(int)
    spread = pixels.max(1) - pixels.min(1)
    middle = pixels[spread > 90].mean(0)
    return min(COLOURS, key=lambda colour: np.abs(middle - COLOURS[colour]).sum())


def test_the_label_is_whether_both_agree():
    made = rows()
    assert {split: len(part) for split, part in made.items()} == SIZES
    for row in made["validation"]:
        assert (said(row) == shown(row)) == (row["label"] == "true")


def test_neither_tells_it_alone():
    for read in (said, shown):
        counts = Counter((read(row), row["label"]) for row in rows()["train"])
        for colour in COLOURS:
            share = counts[colour, "true"] / (counts[colour, "true"] + counts[colour, "false"])
            assert 0.4 < share < 0.6


def test_they_are_always_the_same():
    assert rows() == rows()
