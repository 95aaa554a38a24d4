"""HTML and SVG in which everything that is not markup is escaped, by its type."""

import html
import re
from typing import Any, NamedTuple

from tunesmith.errors import printable

ONE_LINE = 24  # characters of a cell that are not broken
EMPTY = frozenset({"br", "circle", "col", "hr", "line", "meta", "path", "polyline", "rect"})


class Markup(str):
    """Text that is markup already; every other text is escaped when it is put into an element."""

    __slots__ = ()


class Section(NamedTuple):
    """A part of the page."""

    title: str
    body: Markup


def element(name: str, /, *children: Any, **attributes: Any) -> Markup:
    """Return an element; a trailing _ and inner _ of an attribute's name are dropped or a hyphen.

    Children and attributes that are None or False are left out.
    """
    given = [
        f' {key.rstrip("_").replace("_", "-")}="{escaped(value)}"'
        for key, value in attributes.items()
        if value is not None and value is not False
    ]
    start = f"<{name}{''.join(given)}>"
    return Markup(start if name in EMPTY else f"{start}{joined(*children)}</{name}>")


def shape(name: str, /, *children: Any, **attributes: Any) -> Markup:
    """Return an element of an SVG, closed also where it is empty; numbers to a tenth."""
    rounded = {
        key: f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else value
        for key, value in attributes.items()
    }
    given = element(name, *children, **rounded)
    return Markup(f"{given[:-1]}/>") if name in EMPTY else given


def joined(*children: Any) -> Markup:
    """Return children one after the other: markup as it is, lists flat, all else escaped."""
    return Markup("".join(_one(child) for child in children))


def _one(child: Any) -> str:
    if child is None or child is False:
        return ""
    if isinstance(child, (list, tuple)):
        return joined(*child)
    return escaped(child)


def escaped(value: Any) -> str:
    """Return text with what HTML or a terminal would obey made visible; markup unchanged."""
    return value if isinstance(value, Markup) else html.escape(printable(str(value)))


def nothing(why: str) -> Markup:
    """Return the one line of a section that has no data."""
    return element("p", why, class_="nothing")


def slug(text: str) -> str:
    """Return a text as an id."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "x"


def table(header: list[Any], rows: list[list[Any]], numeric: frozenset[int], name: str) -> Markup:
    """Return a table that scrolls inside its own box; `numeric` columns are set to the right."""

    def kind(column: int, value: Any) -> str | None:
        is_short = not isinstance(value, Markup) and len(str(value)) <= ONE_LINE
        return "n" if column in numeric else "w" if is_short else None

    def cells(name: str, row: list[Any]) -> list[Markup]:
        return [element(name, cell, class_=kind(n, cell)) for n, cell in enumerate(row)]

    head = element("thead", element("tr", cells("th", header)))
    body = element("tbody", [element("tr", cells("td", row)) for row in rows])
    inner = element("table", head, body)
    return element("div", inner, class_="scroll", tabindex=0, role="region", aria_label=name)
