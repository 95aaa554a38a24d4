"""What a data source hands on: rows by split, the labels found, and what was noticed."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datasets import Dataset


class ColumnType(StrEnum):
    """What the cells of a column are."""

    TEXT = "text"
    CLASS = "class"  # one label
    CLASSES = "classes"  # any number of labels
    NUMBER = "number"
    WORDS = "words"  # one text, cut into words
    TAGS = "tags"  # one label for each of the words
    TEXTS = "texts"  # any number of texts
    CHOICES = "choices"  # two texts or more, of which one is right
    CHOICE = "choice"  # which of the row's choices that is, from 0
    GROUP = "group"  # which part of the rows it belongs to; no model reads it
    IMAGE = "image"
    AUDIO = "audio"
    NUMBERS = "numbers"  # of several columns of the source
    CATEGORIES = "categories"  # of several columns of the source
    SPANS = "spans"  # any number of stretches of another column: their texts and where they begin


LONGEST_ROW = 10_000_000  # characters; one row of more is a broken file, not a text
Raw = tuple[int, dict[str, Any]]  # where it stands in its file, and its cells

NAMED = (
    ColumnType.CLASS,
    ColumnType.CLASSES,
    ColumnType.TAGS,
)  # kinds whose labels have names to find out
TEXTUAL = (
    ColumnType.TEXT,
    ColumnType.WORDS,
    ColumnType.TEXTS,
    ColumnType.CHOICES,
)  # kinds that rows are compared and split by
MEDIA = (ColumnType.IMAGE, ColumnType.AUDIO)  # kinds whose cells are files
TABULAR = (
    ColumnType.NUMBERS,
    ColumnType.CATEGORIES,
)  # kinds that stand for several columns of a source


SourceName = str | Sequence[str]  # what a column is called in its source; several make one list


def names_of(named: SourceName) -> list[str]:
    return [named] if isinstance(named, str) else list(named)


@dataclass(frozen=True)
class Column:
    """A column that a task reads, under our name for it."""

    kind: ColumnType
    required: bool = True
    target: bool = False  # what is to be predicted: a test split may withhold it
    learning: bool = False  # of use to the train split alone: others may lack it


LANGUAGE = "language"  # the column that names the language of a row, whatever the task
COLUMNS = (  # every column that some task reads; `data` has a key for each: its name in the source
    "id",
    "text",
    "text_pair",
    "label",
    LANGUAGE,
    "words",
    "tags",
    "question",
    "context",
    "answers",
    "image",
    "audio",
    "numeric",
    "categorical",
    "target",
    "choices",
    "negatives",
)


@dataclass(frozen=True)
class Rows:
    """The rows of each split, memory-mapped, under our column names.

    Besides the task's columns each row has `row`, its position in its source, from 0.
    """

    splits: dict[str, "Dataset"]
    labels: list[str] | None  # as configured, or sorted from the train split; None: numbers
    fingerprint: str  # of the sources' content and every option that changes the rows
    notes: list[str] = field(default_factory=list)  # warnings, already logged
    label_from: int | None = None  # the number of the first choice, where rows have choices
    hidden_labels: frozenset[str] = frozenset()  # splits whose labels are withheld
    hashes: dict[str, str] = field(default_factory=dict)  # of each split's rows, texts and labels
