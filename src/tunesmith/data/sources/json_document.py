"""A JSON file that is one document: a list of rows, an object that holds one, SQuAD's own form."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tunesmith.data.sources.text_lines import HALF
from tunesmith.errors import DataError


def rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (number, row) of a document, numbered from 1. Raises DataError where it has no rows."""
    yield from _rows_of(path, _parsed(path), may_hold_halves=b"\\u" in path.read_bytes())


def columns(path: Path) -> list[str]:
    """Return every key of any row; of SQuAD's form those of the first question."""
    document = _parsed(path)
    found = (row for _, row in _rows_of(path, document))
    if is_squad(document):
        return list(next(found, ["id", "question", "answers", "context"]))
    return list(dict.fromkeys(key for row in found for key in row))


def _rows_of(
    path: Path, document: Any, may_hold_halves: bool = False
) -> Iterator[tuple[int, dict[str, Any]]]:
    if is_squad(document):
        yield from squad_rows(path, document)
        return
    for number, row in enumerate(_list_of_rows(path, document), start=1):
        where = f"{path}: row {number}"
        if not isinstance(row, dict):
            what = f"a JSON {'list' if isinstance(row, list) else 'value'}, not an object"
            raise DataError("DATA-JSON", where, what, "a list of objects")
        if may_hold_halves:
            refuse_half_characters(where, row)
        yield number, row


def is_squad(document: Any) -> bool:
    """Tell whether a document holds articles, their paragraphs, and the questions."""
    articles = document.get("data") if isinstance(document, dict) else None
    return isinstance(articles, list) and (
        not articles or (isinstance(articles[0], dict) and "paragraphs" in articles[0])
    )


def _list_of_rows(path: Path, document: Any) -> list[Any]:
    if isinstance(document, list):
        return document
    lists = {
        key: value
        for key, value in (document.items() if isinstance(document, dict) else ())
        if isinstance(value, list) and any(isinstance(row, dict) for row in value)
    }
    if len(lists) == 1:
        return next(iter(lists.values()))
    if lists:
        what = f"{len(lists)} lists of objects ({', '.join(list(lists)[:4])}): which are the rows?"
        raise DataError("DATA-JSON", str(path), what, "write the rows as one object a line")
    what = "one JSON object, and no list of rows in it"
    raise DataError("DATA-JSON", str(path), what, "a list of objects, or one object a line")


def refuse_half_characters(location: str, row: dict[str, Any]) -> None:
    r"""Raise DataError for a lone `\ud800`, which is no text and can be written nowhere."""
    for name, cell in row.items():
        if HALF.search(json.dumps([name, cell], ensure_ascii=False)):
            what = f"{name} holds half a character (a lone surrogate)"
            raise DataError("DATA-CELL", location, what, "write both halves, or neither")


def squad_rows(path: Path, document: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (number, row) of each question, from 1, in the form that the hub gives them.

    An impossible question has no answers, whatever is plausible; one of a test set, where none
    are told, has no key `answers`. Raises DataError at what is no such file.
    """
    number = 0
    for a, article in enumerate(_list(document, "data", str(path)), start=1):
        where = f"{path}: article {a}"
        for p, paragraph in enumerate(_list(article, "paragraphs", where), start=1):
            context = _text(paragraph, "context", f"{where}, paragraph {p}")
            for question in _list(paragraph, "qas", f"{where}, paragraph {p}"):
                number += 1
                row = _row(question, f"{path}: row {number}")
                title = {"title": article["title"]} if "title" in article else {}
                yield number, {**row, **title, "context": context}


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
