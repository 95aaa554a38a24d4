"""Cells of a source made into what a task reads: text, labels, numbers."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tunesmith.data.columns import Column, ColumnType
from tunesmith.data.prepare.media import image_of, sound_of
from tunesmith.data.sources.files import HALF


def converter(
    column: Column | None, names: list[str] | None, separator: str | None, folder: Path = Path()
) -> Callable[[Any], Any]:
    """Return how a cell is read; of a column that is made up of several, each of them."""
    kind = column.kind if column is not None else ColumnType.TEXT
    if kind is ColumnType.CLASS:
        return lambda cell: class_of(cell, names)
    if kind is ColumnType.CLASSES:
        return lambda cell: classes_of(cell, names, separator)
    if kind is ColumnType.TAGS:
        return lambda cell: tags_of(cell, names)
    if kind is ColumnType.TEXTS:
        return lambda cell: texts_of(cell, separator)
    if kind is ColumnType.CHOICES:
        return lambda cell: choices_of(cell, separator)
    if kind is ColumnType.TEXT and column is not None and column.target:
        return lambda cell: None if cell is None else text_of(cell)
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
        ColumnType.CATEGORIES: partial(class_of, names=None),
    }
    return read[kind]


def text_of(cell: Any) -> str:
    """Make a text of a cell; none at all is an empty one. Raises ValueError."""
    if isinstance(cell, str):
        if HALF.search(cell):
            raise ValueError("holds half a character (a lone surrogate)")
        return cell
    if cell is None:
        return ""
    if isinstance(cell, bool | int | float):
        return spelled(cell)
    raise ValueError(f"is a {type(cell).__name__}, not a text")


def group_of(cell: Any) -> str:
    """Make the name of a row's group of a cell. Raises ValueError where it holds none."""
    name = text_of(cell).strip()
    if not name:
        raise ValueError("is empty")
    return name


def spelled(cell: bool | int | float) -> str:
    return str(cell).lower() if isinstance(cell, bool) else str(cell)


def class_of(cell: Any, names: list[str] | None) -> str | None:
    """Make a label of a cell; None where it holds none. Raises ValueError."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return None
    if names is not None and isinstance(cell, int):
        return names[cell] if 0 <= cell < len(names) else None  # -1: withheld
    if not isinstance(cell, str | bool | int | float):
        raise ValueError(f"is a {type(cell).__name__}, not one label")
    label = (cell if isinstance(cell, str) else spelled(cell)).strip()
    return None if label in ("", "nan", "NaN") else label


def classes_of(cell: Any, names: list[str] | None, separator: str | None) -> list[str] | None:
    """Make a list of labels of a cell, without repeats; an empty cell is no label at all."""
    if cell is None:
        return None
    if isinstance(cell, str):
        cell = cell.split(separator) if separator else [cell]
    elif not isinstance(cell, list | tuple):
        cell = [cell]
    labels = (class_of(part, names) for part in cell)
    return list(dict.fromkeys(label for label in labels if label is not None))


def words_of(cell: Any) -> list[str]:
    """Make words of a cell: a list, or one text cut at white space. Raises ValueError."""
    if isinstance(cell, list | tuple):
        return [text_of(word) for word in cell]
    return text_of(cell).split()


def words_or_text(cell: Any) -> str | list[str]:
    """Leave a text whole, so that an answer can say where a word stands. Raises ValueError."""
    return text_of(cell) if isinstance(cell, str) else words_of(cell)


def reader(column: Column, separator: str | None, folder: Path = Path()) -> Callable[[Any], Any]:
    """Return how a cell is read for a prediction: as a converter does, but a text stays whole."""
    if column.kind is ColumnType.WORDS:
        return words_or_text
    return converter(column, None, separator, folder)


def tags_of(cell: Any, names: list[str] | None) -> list[str] | None:
    """Make one label a word of a cell; None where it holds none. Raises ValueError."""
    if cell is None or cell == "":
        return None
    tags = [class_of(tag, names) for tag in (cell.split() if isinstance(cell, str) else cell)]
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
    text = text_of(cell)
    return (text.split(separator) if separator else [text]) if text else []


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
    if cell is None:
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
    """Make a number of a cell; None where it holds none. Raises ValueError."""
    if cell is None or (isinstance(cell, str) and not cell.strip()):
        return None
    if isinstance(cell, bool) or not isinstance(cell, str | int | float):
        raise ValueError(f"{cell!r} is not a number")
    try:
        number = float(cell)
    except (ValueError, OverflowError):
        raise ValueError(f"{cell!r} is not a number") from None
    if not math.isfinite(number):
        raise ValueError(f"{cell} is not finite")
    return number
