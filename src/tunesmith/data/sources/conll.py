"""Sentences of a CoNLL file: one word a line, its tag in the last column, blank lines between."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tunesmith.errors import DataError

COLUMNS = ["tokens", "ner_tags"]  # as the hub calls them
GAP = re.compile(r"[ \t]+")
DOCUMENT = "-DOCSTART-"  # a line that begins a document and is no word


def sentences(
    path: Path, lines: Iterable[str], sep: str | None, longest: int
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (number of its first line, words and tags) of each sentence.

    A file of one column has words only. Raises DataError where a line has more or fewer columns
    than the first, or a sentence more than `longest` characters.
    """
    first, rows, size = 0, [], 0
    for number, fields in _with_end(table(path, lines, sep)):
        if fields:
            first, size = first or number, size + sum(map(len, fields))
            rows.append(fields)
        elif rows:
            yield first, sentence(rows)
            first, rows, size = 0, [], 0
        if size > longest:
            what = f"a sentence of more than {longest // 10**6} MB"
            raise DataError("DATA-ROW", f"{path}:{first}", what, "blank lines end sentences")


def columns(path: Path, lines: Iterable[str], sep: str | None) -> list[str]:
    """Return what the file has: words and tags, or words alone."""
    width = next((len(fields) for _, fields in table(path, lines, sep) if fields), 0)
    if not width:
        raise DataError("DATA-EMPTY", str(path), "no word in the file")
    return COLUMNS[:width]


def table(path: Path, lines: Iterable[str], sep: str | None) -> Iterator[tuple[int, list[str]]]:
    """Yield (number, fields) of each line; none of a blank one, or of one that begins a document.

    Raises DataError where the number of fields changes.
    """
    width = 0
    for number, line in enumerate(lines, start=1):
        fields = [] if line.startswith(DOCUMENT) else fields_of(line, sep)
        width = width or len(fields)
        if fields and (len(fields) != width or not fields[-1]):
            raise broken(f"{path}:{number}", len([field for field in fields if field]), width)
        yield number, fields


def fields_of(line: str, sep: str | None) -> list[str]:
    """Cut a line; only a blank and a tab are gaps: other white space may be a word."""
    if not line.strip(" \t\r\n"):
        return []
    return line.rstrip("\r\n").split(sep) if sep else GAP.split(line.strip(" \t\r\n"))


def sentence(rows: list[list[str]]) -> dict[str, Any]:
    words = {"tokens": [row[0] for row in rows]}
    return words if len(rows[0]) == 1 else words | {"ner_tags": [row[-1] for row in rows]}


def broken(location: str, lines: int, expected: int) -> DataError:
    many = "1 field" if lines == 1 else f"{lines} fields"
    lacks = lines == 1 and expected > 1
    what = f"{many}, expected {expected}" + (": a word without a tag" if lacks else "")
    return DataError("DATA-CONLL", location, what, "" if lacks else "data.sep says what is between")


def _with_end(rows: Iterable[tuple[int, list[str]]]) -> Iterator[tuple[int, list[str]]]:
    """End the last sentence, which may have no blank line after it."""
    yield from rows
    yield 0, []
