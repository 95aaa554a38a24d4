"""SQuAD's own files: one JSON object that holds articles, their paragraphs, and the questions."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tunesmith.errors import DataError

# {"version": ..., "data": [{...: plain values may stand before the articles.
VALUES = r'(?:"\w+"\s*:\s*(?:"[^"]*"|[\d.]+|null)\s*,\s*)*'
BEGINS = re.compile(rf'\s*\{{\s*{VALUES}"data"\s*:\s*\[\s*[{{\]]')


def is_one(path: Path) -> bool:
    """Tell by its first characters whether a file is one, and not rows, one a line."""
    with path.open("rb") as handle:
        start = handle.read(1000)
    return BEGINS.match(start.decode(json.detect_encoding(start), "ignore")) is not None


def rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (number, row) of each question, from 1, in the form that the hub gives them.

    An impossible question has no answers, whatever is plausible; one of a test set, where none
    are told, has no key `answers`. Raises DataError at what is no such file.
    """
    number = 0
    for a, article in enumerate(_list(_parsed(path), "data", str(path)), start=1):
        where = f"{path}: article {a}"
        for p, paragraph in enumerate(_list(article, "paragraphs", where), start=1):
            context = _text(paragraph, "context", f"{where}, paragraph {p}")
            for question in _list(paragraph, "qas", f"{where}, paragraph {p}"):
                number += 1
                row = _row(question, f"{path}: row {number}")
                title = {"title": article["title"]} if "title" in article else {}
                yield number, {**row, **title, "context": context}


def columns(path: Path) -> list[str]:
    """Return the columns of the first question; of a file without any, those that there may be."""
    usual = ["id", "question", "answers", "context"]
    return list(next((row for _, row in rows(path)), usual))


def _row(question: Any, location: str) -> dict[str, Any]:
    row = {"question": _text(question, "question", location)}
    if "id" in question:
        row = {"id": str(question["id"]), **row}
    if question.get("is_impossible"):
        return row | {"answers": []}
    return row | ({"answers": question["answers"]} if "answers" in question else {})


def _parsed(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except json.JSONDecodeError as error:
        where = f"{path}:{error.lineno}"
        raise DataError("DATA-JSON", where, f"invalid JSON at column {error.colno}") from None
    except UnicodeDecodeError as error:
        raise DataError("DATA-ENC", str(path), f"not {error.encoding.upper()}") from None
    except (ValueError, RecursionError):
        raise DataError("DATA-JSON", str(path), "JSON too deep or too long a number") from None


def _list(node: Any, key: str, location: str) -> list[Any]:
    return _value(node, key, list, "list", location)


def _text(node: Any, key: str, location: str) -> str:
    return _value(node, key, str, "text", location)


def _value(node: Any, key: str, kind: type, called: str, location: str) -> Any:
    value = node.get(key) if isinstance(node, dict) else None
    if not isinstance(value, kind):
        raise DataError("DATA-JSON", location, f"no {called} {key!r}", "as in SQuAD's files")
    return value
