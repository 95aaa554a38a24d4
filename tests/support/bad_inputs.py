"""The catalogue of bad inputs: what each row is, and how a test says which row it is a case of.

The cases of a row: `pytest --collect-only -q -m 'row(number=19)'`.
"""

import re
from collections.abc import Iterable
from typing import Any

import pytest

ROWS = {
    1: "a file that is missing",
    2: "a file of 0 bytes",
    3: "a header and no rows",
    4: "no row left after filters",
    5: "no label column",
    6: "no text column",
    7: "another separator",
    8: "a column name that occurs twice",
    9: "too many fields in a row",
    10: "a quote that never closes",
    11: "Latin-1 bytes",
    12: "UTF-16",
    13: "a byte-order mark of UTF-8, CRLF",
    14: "a NUL in a text",
    15: "a line that is no JSON",
    16: "JSON lines of differing keys",
    17: "texts such as NA, null, None",
    18: "texts such as 123, 007",
    19: "a missing label",
    20: "a regression target that is not finite",
    21: "labels that are strings",
    22: "labels of two kinds",
    23: "labels such as 1.0",
    24: "one class only",
    25: "a class too small to be split",
    26: "a label in validation that train lacks",
    27: "a label id out of range",
    28: "no label that counts",
    29: "labels that are hidden (-1)",
    30: "an empty text",
    31: "a text of spaces or control characters",
    32: "a text of no tokens",
    33: "a text longer than the model takes",
    34: "a max_length above the model's",
    35: "an endless line",
    36: "an id that occurs twice",
    37: "the same text in two splits",
    38: "the same text with two labels",
    39: "train and validation are one file",
    40: "an empty validation split",
    41: "no validation split, and none cut",
    42: "a batch that does not fit",
    43: "no optimizer step",
    44: "a warmup longer than the training",
    45: "an unknown key",
    46: "a value of the wrong type",
    47: "a fraction where a whole number must be",
    48: "a value out of range",
    49: "several values without -m",
    50: "words that yaml takes for something else",
    51: "a yaml key that stands twice",
    52: "an environment variable that is not set",
    53: "a yaml that is too large, or a bomb",
    54: "a yaml tag that names Python",
    55: "a search space that is empty or upside down",
    56: "a swept key that no config has",
    57: "a monitor that the task does not have",
    58: "a metric's wrong direction",
    59: "a hub model without a network",
    60: "a model path to nothing",
    61: "a checkpoint with other labels, by number",
    62: "a checkpoint with other labels, by name or order",
    63: "a checkpoint with a head for another task",
    64: "a tokenizer of another model",
    65: "weights that are truncated or garbage",
    66: "a pickle with code",
    67: "a model that ships its own Python",
    68: "rows to predict without the text column, or with more",
    69: "no rows to predict",
    70: "a run directory that is none, or half finished",
    71: "a device that is not there",
    72: "a precision that is not there",
    73: "a store whose driver is missing or whose password is wrong",
    74: "a study of another space or direction",
    75: "an answer that is not at its place in the context",
}


def row(number: int) -> pytest.MarkDecorator:
    return pytest.mark.row(number=number)


def of_row(number: int, *values: Any) -> Any:
    """Return a parameter that is a case of a row."""
    return pytest.param(*values, marks=row(number))


def named(table: Iterable[str]) -> list[Any]:
    """Return a parameter a name; "row 19: ..." is a case of row 19."""
    numbers = {name: re.match(r"row (\d+)\b", name) for name in table}
    return [
        pytest.param(name, id=name, marks=row(int(found[1])) if found else ())
        for name, found in numbers.items()
    ]
