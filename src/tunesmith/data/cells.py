"""Cells of a source made into what a task reads: text, labels, numbers."""

import hashlib
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tunesmith.data.choices import Named, cell_of, names_of, right_one
from tunesmith.data.files import HALF, Raw
from tunesmith.data.media import digest_of, image_of, sound_of
from tunesmith.data.rows import MEDIA, TABULAR, TEXTUAL, Column, Kind
from tunesmith.errors import DataError, did_you_mean, raise_all

# Nothing to read: white space, control characters, zero-width marks.
EMPTY = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u200b-\u200f\u2060\ufeff]*")
HAS_EMPTY, HAS_NUL, IS_MISPLACED = 1, 2, 4  # bits of `_flags`


@dataclass(frozen=True)
class Source:
    """The rows of one split where they come from."""

    name: str  # as messages name it
    identity: str  # changes whenever a row does
    columns: list[str]
    rows: Callable[[], Iterator[Raw]]
    in_lines: bool = True  # rows are numbered by lines of a file, else by themselves from 1
    classes: Mapping[str, list[str]] = field(default_factory=dict)  # names behind integers
    folder: Path = Path()  # what the paths in its cells are relative to

    def at(self, number: int) -> str:
        """Return where a row stands, as a message begins: `train.csv:3`."""
        return f"{self.name}:{number}" if self.in_lines else f"{self.name}: row {number}"

    def place(self, number: int) -> str:
        return f"line {number}" if self.in_lines else f"row {number}"


def present_columns(
    source: Source, columns: Mapping[str, Column], names: Mapping[str, Named | None], split: str
) -> dict[str, Named]:
    """Return {our name: the source's name, or names} of the columns to read.

    A column named in the config must be there; only test may lack its labels, and all but train
    what is of use in learning alone. Raises DataError naming what is missing and what there is.
    """
    may_lack = {
        ours
        for ours, column in columns.items()
        if (column.target and split == "test") or (column.learning and split != "train")
    }
    chosen = {ours: theirs for ours, theirs in names.items() if theirs}
    lacking = {
        ours: [name for name in names_of(theirs) if name not in source.columns]
        for ours, theirs in chosen.items()
    }
    absent = {ours: missing for ours, missing in lacking.items() if missing}
    wrong = [name for ours, missing in absent.items() if ours not in may_lack for name in missing]
    # Two columns missing in a file of one column have one reason: the separator.
    raise_all([no_column(source, name) for name in (wrong[:1] if looks_split(source) else wrong)])
    return {ours: theirs for ours, theirs in chosen.items() if ours not in absent}


def read_cells(
    raw: Mapping[str, Any], named: Named, column: Column | None, convert: Callable[[Any], Any]
) -> Any:
    """Read the cell of a column; of those of a table a list. Raises ValueError with the name."""
    try:
        if column is None or column.kind not in TABULAR:
            return convert(cell_of(raw, named))
    except ValueError as error:
        raise ValueError(f"{', '.join(names_of(named))} {error}") from None
    return [read_cells(raw, name, None, convert) for name in names_of(named)]


def looks_split(source: Source) -> str:
    """Return the character that seems to separate a file read as one column, or ""."""
    there = source.columns
    return next((s for s in ";\t|," if len(there) == 1 and s in there[0]), "")


def no_column(source: Source, name: str) -> DataError:
    there = source.columns
    if looks_split(source):
        mark = repr(looks_split(source))
        what = f"one column {there[0]!r}; file looks {mark}-separated"
        return DataError("DATA-COL", source.name, what, f'set "data.sep={mark}"')  # for a shell
    what = f"no column {name!r}; columns: {', '.join(there)}"
    return DataError("DATA-COL", source.name, what, did_you_mean(name, there))


def canonical_rows(
    source: Source,
    columns: Mapping[str, Column],
    chosen: Mapping[str, Named],
    separator: str | None,
    media: str | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield the rows under our names, with what later checks need to know of each.

    `media` is the folder that paths in cells are relative to; None: the source's own.
    """
    folder = source.folder if media is None else Path(media).expanduser()
    convert = {
        ours: converter(columns.get(ours), source.classes.get(str(theirs)), separator, folder)
        for ours, theirs in chosen.items()
    }
    read = {c: columns[c] for c in chosen if c in columns}
    texts = {
        c: column.kind for c, column in read.items() if column.kind in TEXTUAL and not column.target
    }
    for position, (number, raw) in enumerate(source.rows()):
        row: dict[str, Any] = {"row": position, "_line": number}
        for ours, theirs in chosen.items():
            if ours in texts and raw.keys().isdisjoint(names_of(theirs)):
                raise DataError("DATA-COL", source.at(number), f"key {theirs!r} missing")
            try:
                row[ours] = read_cells(raw, theirs, columns.get(ours), convert[ours])
            except ValueError as error:
                raise DataError("DATA-CELL", source.at(number), str(error)) from None
        settle_choice(row, raw, read, chosen, source.at(number))
        check_lengths(row, read, source.at(number))
        row |= marks(row, texts, [c for c in read if read[c].kind in (*MEDIA, *TABULAR)])
        row["_flags"] |= IS_MISPLACED * any(misplaced(row))
        yield row


def settle_choice(
    row: dict[str, Any],
    raw: Mapping[str, Any],
    columns: Mapping[str, Column],
    chosen: Mapping[str, Named],
    where: str,
) -> None:
    """Put the number of the right choice for what a row calls it, in place."""
    kinds = {column.kind: name for name, column in columns.items()}
    if Kind.CHOICE not in kinds or Kind.CHOICES not in kinds:
        return
    ours, choices = kinds[Kind.CHOICE], kinds[Kind.CHOICES]
    given = cell_of(raw, chosen[choices])
    names = given.get("label") if isinstance(given, Mapping) else None
    try:
        row[ours] = right_one(row[ours], row[choices], names)
    except ValueError as error:
        raise DataError("DATA-CELL", where, f"{chosen[ours]} {error}") from None


def check_lengths(row: Mapping[str, Any], columns: Mapping[str, Column], where: str) -> None:
    """Raise DataError where a row has not one tag a word."""
    kinds = {column.kind: name for name, column in columns.items()}
    if Kind.WORDS not in kinds or Kind.TAGS not in kinds:
        return
    words, tags = row[kinds[Kind.WORDS]], row[kinds[Kind.TAGS]]
    if tags is not None and len(words) != len(tags):
        what = f"{len(tags)} tags for {len(words)} words"
        raise DataError("DATA-CELL", where, what, "one tag a word")


def misplaced(row: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the answers that are not in the row's context where they say, or say nothing."""
    for answer in row.get("answers") or ():
        text, start = answer["text"], answer["start"]
        if not text.strip() or start < 0 or not row["context"].startswith(text, start):
            yield answer


def marks(
    row: Mapping[str, Any], texts: Mapping[str, Kind], others: Sequence[str] = ()
) -> dict[str, int]:
    """Return hashes of the texts (and of the id), by which rows are compared and split.

    `others` are columns of files and of tables: the same text with others is another row.
    """
    given = [cell for c in texts for cell in ([row[c]] if isinstance(row[c], str) else row[c])]
    given = given or [""]
    beside = [digest_of(row[c]) if isinstance(row[c], dict | None) else str(row[c]) for c in others]
    whole = "\0".join([*given, *beside])
    # One odd word empties no sentence.
    whole_texts = [" ".join(row[c]) for c in texts if texts[c] is Kind.WORDS] or given
    flags = HAS_EMPTY * any(EMPTY.fullmatch(t) is not None for t in whole_texts)
    flags |= HAS_NUL * any("\0" in t for t in given)
    loose = "\0".join([*(" ".join(t.casefold().split()) for t in given), *beside])
    found = {"_text": digest(whole), "_loose": digest(loose), "_flags": flags}
    return found | ({"_id": digest(row["id"])} if "id" in row else {})


def digest(text: str) -> int:
    """Hash a text to 64 bits; half of 2^32 texts would be needed for a likely collision."""
    data = text.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def converter(
    column: Column | None, names: list[str] | None, separator: str | None, folder: Path = Path()
) -> Callable[[Any], Any]:
    """Return how a cell is read; of a column that is made up of several, each of them."""
    kind = column.kind if column is not None else Kind.TEXT
    if kind is Kind.CLASS:
        return lambda cell: class_of(cell, names)
    if kind is Kind.CLASSES:
        return lambda cell: classes_of(cell, names, separator)
    if kind is Kind.TAGS:
        return lambda cell: tags_of(cell, names)
    if kind is Kind.TEXTS:
        return lambda cell: texts_of(cell, separator)
    if kind is Kind.CHOICES:
        return lambda cell: choices_of(cell, separator)
    if kind is Kind.TEXT and column is not None and column.target:
        return lambda cell: None if cell is None else text_of(cell)
    read: dict[Kind, Callable[[Any], Any]] = {
        Kind.TEXT: text_of,
        Kind.GROUP: lambda cell: text_of(cell).strip(),
        Kind.NUMBER: number_of,
        Kind.WORDS: words_of,
        Kind.CHOICE: lambda cell: cell,  # settled beside the row's choices
        Kind.SPANS: spans_of,
        Kind.IMAGE: partial(image_of, folder=folder),
        Kind.AUDIO: partial(sound_of, folder=folder),
        Kind.NUMBERS: number_of,
        Kind.CATEGORIES: partial(class_of, names=None),
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
    if column.kind is Kind.WORDS:
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
