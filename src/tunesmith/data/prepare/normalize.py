"""Rows under our names: which columns a source has, and what later checks need of each row."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunesmith.data.columns import MEDIA, TABULAR, TEXTUAL, Column, ColumnType, SourceName, names_of
from tunesmith.data.prepare.media import digest_of
from tunesmith.data.prepare.parse_cells import converter
from tunesmith.data.row_hashes import digest
from tunesmith.data.sources.files import Raw
from tunesmith.errors import DataError, did_you_mean, raise_all

# Nothing to read: white space, control characters, zero-width marks.
EMPTY = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u200b-\u200f\u2060\ufeff]*")
INDEX = re.compile(r"[+-]?\d+(\.0*)?")
WITHHELD = (-1, -100)  # as hub data sets and torch mark a hidden answer
HAS_EMPTY, HAS_NUL, IS_MISPLACED = 1, 2, 4  # bits of `_flags`


@dataclass(frozen=True)
class RowSource:
    """The rows of one split where they come from."""

    name: str  # as messages name it
    identity: str  # changes whenever a row does
    columns: list[str]
    rows: Callable[[], Iterator[Raw]]
    in_lines: bool = True  # rows are numbered by lines of a file, else by themselves from 1
    is_text: bool = False  # every cell is a text, also a number and what is missing (csv)
    classes: Mapping[str, list[str]] = field(default_factory=dict)  # names behind integers
    folder: Path = Path()  # what the paths in its cells are relative to

    def at(self, number: int) -> str:
        """Return where a row stands, as a message begins: `train.csv:3`."""
        return f"{self.name}:{number}" if self.in_lines else f"{self.name}: row {number}"

    def line_of(self, number: int) -> str:
        return f"line {number}" if self.in_lines else f"row {number}"


def present_columns(
    source: RowSource,
    columns: Mapping[str, Column],
    names: Mapping[str, SourceName | None],
    split: str,
) -> dict[str, SourceName]:
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


def cell_of(raw: Mapping[str, Any], named: SourceName) -> Any:
    """Return a column's cell; of several columns a list, without empty cells at its end.

    So a row with fewer choices than others leaves its last cells empty.
    """
    if isinstance(named, str):
        return raw.get(named)
    cells = [raw.get(name) for name in named]
    while cells and cells[-1] in (None, ""):
        cells.pop()
    return cells


def read_cells(
    raw: Mapping[str, Any], named: SourceName, column: Column | None, convert: Callable[[Any], Any]
) -> Any:
    """Read the cell of a column; of those of a table a list. Raises ValueError with the name."""
    try:
        if column is None or column.kind not in TABULAR:
            return convert(cell_of(raw, named))
    except ValueError as error:
        raise ValueError(f"{', '.join(names_of(named))} {error}") from None
    return [read_cells(raw, name, None, convert) for name in names_of(named)]


def looks_split(source: RowSource) -> str:
    """Return the character that seems to separate a file read as one column, or ""."""
    there = source.columns
    return next((s for s in ";\t|," if len(there) == 1 and s in there[0]), "")


def no_column(source: RowSource, name: str) -> DataError:
    there = source.columns
    if looks_split(source):
        mark = repr(looks_split(source))
        what = f"one column {there[0]!r}; file looks {mark}-separated"
        return DataError("DATA-COL", source.name, what, f'set "data.sep={mark}"')  # for a shell
    what = f"no column {name!r}; columns: {', '.join(there)}"
    return DataError("DATA-COL", source.name, what, did_you_mean(name, there))


def normalized_rows(
    source: RowSource,
    columns: Mapping[str, Column],
    chosen: Mapping[str, SourceName],
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
    # What is of use to the train split alone makes no other row: a copy in test lacks it.
    telling = [c for c in texts if not read[c].learning]
    for position, (number, raw) in enumerate(source.rows()):
        row: dict[str, Any] = {"row": position, "_line": number}
        for ours, theirs in chosen.items():
            if ours in texts and raw.keys().isdisjoint(names_of(theirs)):
                raise DataError("DATA-COL", source.at(number), f"key {theirs!r} missing")
            try:
                row[ours] = read_cells(raw, theirs, columns.get(ours), convert[ours])
            except ValueError as error:
                raise DataError("DATA-CELL", source.at(number), str(error)) from None
        resolve_choice(row, raw, read, chosen, source.at(number))
        check_lengths(row, read, source.at(number))
        others = [c for c in read if read[c].kind in (*MEDIA, *TABULAR)]
        row |= identity(row, telling, others) | {"_flags": flags(row, texts)}
        row["_flags"] |= IS_MISPLACED * any(misplaced(row))
        yield row


def resolve_choice(
    row: dict[str, Any],
    raw: Mapping[str, Any],
    columns: Mapping[str, Column],
    chosen: Mapping[str, SourceName],
    location: str,
) -> None:
    """Put the number of the right choice for what a row calls it, in place."""
    kinds = {column.kind: name for name, column in columns.items()}
    if ColumnType.CHOICE not in kinds or ColumnType.CHOICES not in kinds:
        return
    ours, choices = kinds[ColumnType.CHOICE], kinds[ColumnType.CHOICES]
    given = cell_of(raw, chosen[choices])
    names = given.get("label") if isinstance(given, Mapping) else None
    try:
        row[ours] = right_one(row[ours], row[choices], names)
    except ValueError as error:
        raise DataError("DATA-CELL", location, f"{chosen[ours]} {error}") from None


def right_one(cell: Any, choices: Sequence[str], names: Sequence[Any] | None) -> int | None:
    """Return which choice a cell means, from 0; None where it tells none (nothing, or -1).

    A number is an index. A text is one of the `names` that the choices carry; without them an
    index, a letter, or the text of a choice. Raises ValueError where it means none, or two.
    """
    text = "" if cell is None else str(cell).strip()
    index = int(float(text)) if INDEX.fullmatch(text) and not isinstance(cell, bool) else None
    if not text or index in WITHHELD:
        return None
    places = range(len(choices))
    if names is not None:
        meant = {i for i, name in enumerate(names) if str(name) == text}
    elif isinstance(cell, str):
        meant = {i for i, choice in enumerate(choices) if choice.strip() == text}
        meant |= {i for i in places if i in (index, _letter(text))}
    else:
        meant = {i for i in places if i == index}
    if len(meant) == 1:
        return meant.pop()
    if meant:
        both = " and ".join(map(str, sorted(meant)[:2]))
        raise ValueError(f"{text!r} may be choice {both} (from 0), by number, letter or text")
    raise ValueError(f"{text[:40]!r} is none of {len(choices)} choices: index from 0, letter, text")


def _letter(text: str) -> int | None:
    return ord(text.upper()) - ord("A") if len(text) == 1 and text.isascii() else None


def check_lengths(row: Mapping[str, Any], columns: Mapping[str, Column], location: str) -> None:
    """Raise DataError where a row has not one tag a word."""
    kinds = {column.kind: name for name, column in columns.items()}
    if ColumnType.WORDS not in kinds or ColumnType.TAGS not in kinds:
        return
    words, tags = row[kinds[ColumnType.WORDS]], row[kinds[ColumnType.TAGS]]
    if tags is not None and len(words) != len(tags):
        what = f"{len(tags)} tags for {len(words)} words"
        raise DataError("DATA-CELL", location, what, "one tag a word")


def misplaced(row: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the answers that are not in the row's context where they say, or say nothing."""
    for answer in row.get("answers") or ():
        text, start = answer["text"], answer["start"]
        if not text.strip() or start < 0 or not row["context"].startswith(text, start):
            yield answer


def identity(
    row: Mapping[str, Any], texts: Sequence[str], others: Sequence[str] = ()
) -> dict[str, int]:
    """Return hashes of the texts (and of the id), by which rows are compared and split.

    `others` are columns of files and of tables: the same text with others is another row.
    """
    told = cells_of(row, texts) or [""]
    beside = [digest_of(row[c]) if isinstance(row[c], dict | None) else str(row[c]) for c in others]
    loose = "\0".join([*(" ".join(t.casefold().split()) for t in told), *beside])
    found = {"_text": digest("\0".join([*told, *beside])), "_loose": digest(loose)}
    return found | ({"_id": digest(row["id"])} if "id" in row else {})


def flags(row: Mapping[str, Any], texts: Mapping[str, ColumnType]) -> int:
    """Return the bits of what is odd in the texts, those of use in learning alone too."""
    given = cells_of(row, texts) or [""]
    # One odd word empties no sentence.
    whole = [" ".join(row[c]) for c in texts if texts[c] is ColumnType.WORDS] or given
    is_empty = any(EMPTY.fullmatch(text) is not None for text in whole)
    return HAS_EMPTY * is_empty | HAS_NUL * any("\0" in text for text in given)


def cells_of(row: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """Return the texts of some columns, whether a cell holds one or several."""
    return [cell for c in names for cell in ([row[c]] if isinstance(row[c], str) else row[c])]
