"""Sentences of CoNLL files: one word a line, its tag in the last column, blank lines between.

CoNLL-U (Universal Dependencies) has ten columns with names of their own, and comments.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from tunesmith.errors import DataError

COLUMNS = ["tokens", "ner_tags"]  # as the hub calls them
GAP = re.compile(r"[ \t]+")
UNIVERSAL = ["tokens", "lemma", "upos", "xpos", "deprel"]  # of CoNLL-U's ten columns
AT = {"tokens": 1, "lemma": 2, "upos": 3, "xpos": 4, "deprel": 7}
WORD_ID = re.compile(r"\d+")  # 1-2 is the surface of two words, 1.1 a word that is not there
TAG = re.compile(r"O|[BIESLU]-\S+")
COMMENT = re.compile(r"#\s*\w+\s*[=:]")
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
    return COLUMNS[:1] if width == 1 else COLUMNS


def table(path: Path, lines: Iterable[str], sep: str | None) -> Iterator[tuple[int, list[str]]]:
    """Yield (number, fields) of each line; none of a blank one, or of one that begins a document.

    Raises DataError where the number of fields changes.
    """
    width, is_first = 0, True
    for number, line in enumerate(lines, start=1):
        fields = [] if line.startswith(DOCUMENT) else fields_of(line, sep)
        # Before the words of a sentence: `# sent_id = 1`. A word `#` has as many fields as others.
        is_comment = len(fields) != width if width else COMMENT.match(line) is not None
        if is_first and line.startswith("#") and is_comment:
            continue
        is_first = not fields
        width = width or len(fields)
        if fields and (len(fields) != width or not fields[-1]):
            raise broken(f"{path}:{number}", len([field for field in fields if field]), width)
        yield number, fields


def universal(
    path: Path, lines: Iterable[str], longest: int
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (number of its first line, columns of words) of each sentence of a CoNLL-U file."""
    first, rows, size = 0, [], 0
    for number, line in enumerate(chain(lines, [""]), start=1):
        fields = line.rstrip("\r\n").split("\t") if line.strip() else []
        if fields and not line.startswith("#"):
            if len(fields) != 10:
                raise broken(f"{path}:{number}", len(fields), 10)
            first, size = first or number, size + len(line)
            if WORD_ID.fullmatch(fields[0]):
                rows.append(fields)
        elif rows and not fields:
            yield first, {name: [row[at] for row in rows] for name, at in AT.items()}
            first, rows, size = 0, [], 0
        if size > longest:
            what = f"a sentence of more than {longest // 10**6} MB"
            raise DataError("DATA-ROW", f"{path}:{first}", what, "blank lines end sentences")


def looks_like_conllu(lines: Sequence[str]) -> bool:
    words = [line.split("\t") for line in lines if line.strip() and not line.startswith("#")]
    return bool(words) and all(len(word) == 10 and word[0][:1].isdigit() for word in words)


def looks_like_conll(lines: Sequence[str]) -> bool:
    """Tell whether lines are words with their tags last, and blank lines part sentences."""
    rows = [fields_of(line, None) for line in lines if not line.startswith(("#", DOCUMENT))]
    words = [row for row in rows if row]
    widths = {len(row) for row in words}
    are_tags = all(TAG.fullmatch(row[-1]) for row in words)
    return len(widths) == 1 and widths != {1} and [] in rows and are_tags


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
