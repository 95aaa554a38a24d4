"""Cells of a source made into what a task reads: text, labels, numbers."""

import ast
import json
import math
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial, reduce
from pathlib import Path
from typing import Any

from tunesmith.data.columns import Column, ColumnType, SourceName
from tunesmith.data.prepare.media import image_of, sound_of
from tunesmith.data.sources.text_lines import HALF

INTEGRAL = re.compile(r"[+-]?\d+\.?0*")  # also 1.0
LIKE_LIST = re.compile(r"\[\s*(?:['\"].*|[-+\d.,\s]*)\]", re.DOTALL)  # as Python or JSON writes it
TWO_TEXTS = re.compile(r"""(['"])\s+(['"])""")  # numpy writes no commas: Python would join the two


def converter(
    column: Column | None, names: list[str] | None, separator: str | None, folder: Path = Path()
) -> Callable[[Any], Any]:
    """Return how a cell is read; of a column that is made up of several, each of them."""
    kind = column.kind if column is not None else ColumnType.TEXT
    if kind is ColumnType.CLASS:
        return lambda cell: one_class_of(cell, names)
    if kind is ColumnType.CLASSES:
        return lambda cell: classes_of(cell, names, separator)
    if kind is ColumnType.TAGS:
        return lambda cell: tags_of(cell, names, separator)
    if kind is ColumnType.TEXTS and column is not None and column.target:
        return right_texts_of
    if kind is ColumnType.TEXTS:
        return lambda cell: texts_of(cell, separator)
    if kind is ColumnType.CHOICES:
        return lambda cell: choices_of(cell, separator)
    if kind is ColumnType.TEXT and column is not None and column.target:
        return lambda cell: None if is_nothing(cell) else text_of(cell)
    read: dict[ColumnType, Callable[[Any], Any]] = {
        ColumnType.TEXT: text_of,
        ColumnType.GROUP: group_of,
        ColumnType.NUMBER: number_of,
        ColumnType.WORDS: words_of,
        ColumnType.CHOICE: lambda cell: cell,  # settled beside the row's choices
        ColumnType.SPANS: spans_of,
        ColumnType.IMAGE: partial(image_of, folder=folder),
        ColumnType.AUDIO: partial(sound_of, folder=folder),
        ColumnType.NUMBERS: number_of,
        ColumnType.CATEGORIES: category_of,
    }
    return read[kind]


def cell_of(raw: Mapping[str, Any], named: SourceName) -> Any:
    """Return a column's cell; of several columns a list, without empty cells at its end.

    So a row with fewer choices than others leaves its last cells empty. A dotted name that no
    column has is a path: `choices.text` is below `choices`, in an object or in each of a list.
    """
    if isinstance(named, str):
        if named in raw:
            return raw[named]
        root, *keys = named.split(".")
        return reduce(_below, keys, raw.get(root))
    cells = [cell_of(raw, name) for name in named]
    while cells and cells[-1] in (None, ""):
        cells.pop()
    return cells


def _below(value: Any, key: str) -> Any:
    if isinstance(value, list):
        return [_below(part, key) for part in value]
    return value.get(key) if isinstance(value, Mapping) else None


def nested_names(name: str, value: Any) -> list[str]:
    """Return the dotted names of all that is below a column's cell: choices.text, choices.label."""
    if isinstance(value, list):
        return list(dict.fromkeys(n for part in value for n in nested_names(name, part)))
    if not isinstance(value, Mapping):
        return []
    paths = [(f"{name}.{key}", below) for key, below in value.items()]
    return [path for name, below in paths for path in (name, *nested_names(name, below))]


def text_of(cell: Any) -> str:
    """Make a text of a cell; none at all is an empty one. Raises ValueError."""
    if isinstance(cell, str):
        if HALF.search(cell):
            raise ValueError("holds half a character (a lone surrogate)")
        return cell
    if is_nothing(cell):
        return ""
    if isinstance(cell, bool | int | float | Decimal):
        return spelled(cell)
    raise ValueError(f"is a {type(cell).__name__}, not a text")


def is_nothing(cell: Any) -> bool:
    """Tell whether a cell holds nothing: null, or the number NaN (the text "nan" is a text)."""
    return cell is None or (isinstance(cell, float | Decimal) and math.isnan(cell))


def group_of(cell: Any) -> str:
    """Make the name of a row's group of a cell. Raises ValueError where it holds none."""
    name = text_of(cell).strip()
    if not name:
        raise ValueError("is empty")
    return name


def spelled(cell: bool | int | float | Decimal) -> str:
    return str(cell).lower() if isinstance(cell, bool) else str(cell)


def class_of(cell: Any, names: list[str] | None) -> str | None:
    """Make a label of a cell; None where it holds none. Raises ValueError.

    `names` are those that the source itself gives to integers; -1 is no label there.
    """
    if is_nothing(cell):
        return None
    if not isinstance(cell, str | bool | int | float | Decimal):
        raise ValueError(f"is a {type(cell).__name__}, not one label")
    label = (cell if isinstance(cell, str) else spelled(cell)).strip()
    if names is not None and not isinstance(cell, str | bool) and INTEGRAL.fullmatch(label):
        index = int(float(label))
        if index >= len(names):
            raise ValueError(f"is {index}, and the source names {len(names)} labels, from 0")
        return names[index] if index >= 0 else None  # -1: withheld
    return label or None


def one_class_of(cell: Any, names: list[str] | None) -> str | None:
    """Make the label of a row that has one. Raises ValueError for a list, also one in a text."""
    if isinstance(cell, str) and list_in(cell) is not None:
        raise ValueError("is a list, not one label; task=multi_label reads it")
    return class_of(cell, names)


def category_of(cell: Any) -> str | None:
    """Make a category of a cell: 1, 1.0 and "1" are one, and so are true, "True" and "true"."""
    label = class_of(cell, None)
    if label is None or label in ("nan", "NaN"):
        return None
    return normal_form(label)


def normal_form(label: str) -> str:
    """Return the one spelling of a number or a truth value that has several; else the label."""
    if INTEGRAL.fullmatch(label):
        return label.partition(".")[0]
    return label.lower() if label.lower() in ("true", "false") else label


def classes_of(cell: Any, names: list[str] | None, separator: str | None) -> list[str] | None:
    """Make a list of labels of a cell, without repeats; an empty cell is no label at all.

    Of noughts and ones the repeats stay: the whole column tells whether they are indicators.
    """
    if is_nothing(cell):
        return None
    if isinstance(cell, str):
        parsed = list_in(cell)
        if parsed is not None:
            cell = parsed
        else:
            refuse_broken_list(cell)
            cell = cell.split(separator) if separator else [cell]
    elif not isinstance(cell, list | tuple):
        cell = [cell]
    labels = [label for part in cell if (label := class_of(part, names)) is not None]
    if names is None and all(normal_form(label) in BITS for label in labels):
        return labels
    return list(dict.fromkeys(labels))


BITS = {"0": False, "false": False, "1": True, "true": True}  # what an indicator may be


def list_in(cell: str) -> list[Any] | None:
    """Return the list that a text holds as Python or JSON writes one, or None."""
    text = cell.strip()
    if not LIKE_LIST.fullmatch(text) or TWO_TEXTS.search(text):
        return None
    for parse in (json.loads, ast.literal_eval):
        try:
            found = parse(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        return found if isinstance(found, list) else None
    return None


def refuse_broken_list(cell: str) -> None:
    """Raise ValueError for a text that is written like a list, and is none."""
    if LIKE_LIST.fullmatch(cell.strip()):
        shown = cell.strip()[:40]
        raise ValueError(f"looks like a list, and is none: {shown!r}; commas part its values")


def words_of(cell: Any) -> list[str]:
    """Make words of a cell: a list, or one text cut at white space. Raises ValueError."""
    if isinstance(cell, list | tuple):
        return [text_of(word) for word in cell]
    parsed = texts_in(cell)
    return parsed if parsed is not None else text_of(cell).split()


def texts_in(cell: Any) -> list[str] | None:
    """Return the texts of a list that a cell holds as text, or None. Raises ValueError."""
    parsed = list_in(cell) if isinstance(cell, str) else None
    if parsed and all(isinstance(part, str) for part in parsed):
        return [text_of(part) for part in parsed]
    if isinstance(cell, str) and parsed is None and TWO_TEXTS.search(cell):
        refuse_broken_list(cell)
    return None


def words_or_text(cell: Any) -> str | list[str]:
    """Leave a text whole, so that an answer can say where a word stands. Raises ValueError."""
    if isinstance(cell, str) and texts_in(cell) is None:
        return text_of(cell)
    return words_of(cell)


def reader(column: Column, separator: str | None, folder: Path = Path()) -> Callable[[Any], Any]:
    """Return how a cell is read for a prediction: as a converter does, but a text stays whole."""
    if column.kind is ColumnType.WORDS:
        return words_or_text
    return converter(column, None, separator, folder)


def tags_of(cell: Any, names: list[str] | None, separator: str | None = None) -> list[str] | None:
    """Make one label a word of a cell; None where it holds none. Raises ValueError.

    Without a separator a text is cut at white space.
    """
    if is_nothing(cell) or cell == "":
        return None
    if isinstance(cell, str):
        parsed = list_in(cell)
        if parsed is None:
            refuse_broken_list(cell)
        cell = cell.split(separator) if parsed is None else parsed
    tags = [class_of(tag, names) for tag in cell]
    if None in tags:
        raise ValueError(f"has no tag at word {tags.index(None) + 1}")
    return tags  # type: ignore[return-value]


def texts_of(cell: Any, separator: str | None) -> list[str]:
    """Make several texts of a cell: a list, or one text cut at a separator. Raises ValueError.

    Takes {"text": [...], "label": [...]} as well, as some hub data sets have choices.
    """
    if isinstance(cell, Mapping):
        cell = cell.get("text")
    if isinstance(cell, list | tuple):
        return [text_of(text) for text in cell]
    parsed = texts_in(cell)
    if parsed is not None:
        return parsed
    text = text_of(cell)
    return (text.split(separator) if separator else [text]) if text else []


def right_texts_of(cell: Any) -> list[str] | None:
    """Make the texts of which any is right of a cell: of a list, or of one written as text.

    None where it holds none. An empty text is one, and what only begins as a list does.
    """
    if is_nothing(cell) or cell == []:
        return None
    if isinstance(cell, list | tuple):
        return [text_of(text) for text in cell]
    try:
        several = texts_in(cell)
    except ValueError:
        several = None
    return several or [text_of(cell)]


def choices_of(cell: Any, separator: str | None) -> list[str]:
    texts = texts_of(cell, separator)
    if len(texts) < 2:
        cut = "" if separator else "; data.label_separator cuts a text"
        raise ValueError(f"has {len(texts)} of at least 2 choices{cut}")
    return texts


def spans_of(cell: Any) -> list[dict[str, Any]] | None:
    """Make {text, start} of each answer; None where the cell holds nothing. Raises ValueError.

    Takes what SQuAD and `datasets` write: {"text": [...], "answer_start": [...]}, or a list of
    {"text": ..., "answer_start": ...}. No answer is an empty list.
    """
    if is_nothing(cell):
        return None
    if isinstance(cell, Mapping):
        texts, starts = cell.get("text"), cell.get("answer_start")
        if not isinstance(texts, list) or not isinstance(starts, list) or len(texts) != len(starts):
            raise ValueError("needs lists `text` and `answer_start`, equally long")
        cell = [{"text": t, "answer_start": s} for t, s in zip(texts, starts, strict=True)]
    if not isinstance(cell, list) or not all(isinstance(answer, Mapping) for answer in cell):
        raise ValueError("is not a list of answers")
    spans = [{"text": answer.get("text"), "start": answer.get("answer_start")} for answer in cell]
    if not all(isinstance(s["text"], str) and type(s["start"]) is int for s in spans):
        raise ValueError("needs a `text` and a whole number `answer_start` in each answer")
    return spans


def number_of(cell: Any) -> float | None:
    """Make a number of a cell; None where it holds none, or NaN. Raises ValueError."""
    if is_nothing(cell) or (isinstance(cell, str) and not cell.strip()):
        return None
    if isinstance(cell, bool) or not isinstance(cell, str | int | float | Decimal):
        raise ValueError(f"{cell!r} is not a number")
    try:
        number = float(cell)
    except (ValueError, OverflowError):
        raise ValueError(f"{cell!r} is not a number") from None
    if math.isinf(number):
        raise ValueError(f"{cell} is not finite")
    return None if math.isnan(number) else number
