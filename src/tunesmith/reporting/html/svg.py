"""One plot as SVG, drawn by hand: text stays text, colours follow the page, dots cost few bytes."""

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup, escape

from tunesmith.errors import printable
from tunesmith.reporting import formatting
from tunesmith.reporting.html.scales import Scale
from tunesmith.reporting.results import StudyResults

WIDTH = 420.0
LEFT, RIGHT, TOP, BOTTOM = 56.0, 14.0, 26.0, 42.0
LONGEST_TICK = 12  # characters

Point = tuple[float, float]
Mark = tuple[str, str]  # class of the mark, what it means


class Figure(NamedTuple):
    """A picture under its title and a sentence that says how to read it."""

    title: str
    words: str
    svg: Markup


class Pictures(NamedTuple):
    """A section of the page: pictures, or why there are none."""

    figures: Sequence[Figure] = ()
    marks: Sequence[Mark] = ()
    why: str = ""


class Plot:
    """Axes, and what is drawn between them; the origin is below on the left."""

    def __init__(
        self, x: Scale, y: Scale, x_title: str, y_title: str, height: float = 250.0
    ) -> None:
        self.x, self.y, self.height = x, y, height
        self.parts: list[Markup] = []
        self._axes(x_title, y_title)

    def point(self, x: Any, y: Any) -> Point:
        """Return where a pair of values stands in the picture."""
        return self.across(self.x.position(x)), self.up(self.y.position(y))

    def across(self, position: float) -> float:
        return LEFT + position * (WIDTH - LEFT - RIGHT)

    def up(self, position: float) -> float:
        return self.height - BOTTOM - position * (self.height - BOTTOM - TOP)

    def rail(self, sign: int) -> float:
        """Return the height of the strip at the worse end, for what has no score to be put at."""
        return self.up(0) - 6 if sign > 0 else self.up(1) + 6

    # --- what is drawn --------------------------------------------------------------------

    def dots(self, points: Iterable[Point], kind: str) -> None:
        """Draw round points, all in one path: a line of no length with round ends."""
        path = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in points)
        self._path(path, f"dots {kind}")

    def crosses(self, points: Iterable[Point], kind: str = "cross") -> None:
        path = "".join(f"M{x - 3:.1f} {y - 3:.1f}l6 6m-6 0l6 -6" for x, y in points)
        self._path(path, kind)

    def line(self, points: Sequence[Point], kind: str) -> None:
        self._path(polyline(points), kind)

    def steps(self, points: Sequence[Point], kind: str) -> None:
        """Draw a line that keeps its height until the next point."""
        if points:
            first, *rest = points
            path = f"M{first[0]:.1f} {first[1]:.1f}"
            self._path(path + "".join(f"H{x:.1f}V{y:.1f}" for x, y in rest), kind)

    def bar(self, x: float, y: float, width: float, height: float, kind: str) -> None:
        box = {"x": x, "y": y, "width": max(width, 0.0), "height": max(height, 0.0)}
        self.parts.append(shape("rect", class_=kind, **box))

    def named(self, point: Point, name: str, kind: str = "spot") -> None:
        """Draw an unseen square over a point, which tells its name to a pointer."""
        place = {"x": point[0] - 6, "y": point[1] - 6, "width": 12, "height": 12}
        self.parts.append(shape("g", shape("title", name), shape("rect", class_=kind, **place)))

    def text(self, x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> None:
        place = {"x": x, "y": y, "text_anchor": anchor if anchor != "start" else None}
        self.parts.append(shape("text", words, class_=kind or None, **place))

    def _path(self, path: str, kind: str) -> None:
        if path:
            self.parts.append(shape("path", class_=kind, d=path))

    # --- the frame ------------------------------------------------------------------------

    def _axes(self, x_title: str, y_title: str) -> None:
        right, floor = WIDTH - RIGHT, self.height - BOTTOM
        for place, label in self.y.ticks(5):
            y = self.up(place)
            self._path(f"M{LEFT:.1f} {y:.1f}H{right:.1f}", "grid")
            self.text(LEFT - 7, y + 4, formatting.shorten(label, LONGEST_TICK), "tick", "end")
        self._path(f"M{LEFT:.1f} {floor:.1f}H{right:.1f}", "axis")
        self._x_ticks(floor)
        self.text(2, 13, formatting.shorten(y_title, 60), "name")
        self.text(right, self.height - 5, formatting.shorten(x_title, 60), "name", "end")

    def _x_ticks(self, floor: float) -> None:
        ticks = self.x.ticks(6)
        room = max(3, int(48 / max(len(ticks), 1)))
        for place, label in ticks:
            x = self.across(place)
            self._path(f"M{x:.1f} {floor:.1f}v4", "axis")
            words = formatting.shorten(label, room)
            self.text(x, floor + 17, words, "tick", centred(x, words))

    def render(self, name: str, title: str, description: str) -> Markup:
        return picture(name, title, description, self.parts, WIDTH, self.height)


def centred(x: float, words: str) -> str:
    """Return the anchor of a label under x: its middle, unless it would leave the picture."""
    return "end" if x + 3.2 * len(words) > WIDTH + 4 else "middle"


def polyline(points: Sequence[Point]) -> str:
    """Return the path through points."""
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) if points else ""


def picture(
    name: str, title: str, description: str, parts: Sequence[Markup], width: float, height: float
) -> Markup:
    """Return an SVG that a screen reader can tell about."""
    return shape(
        "svg",
        shape("title", title, id=f"{name}-title"),
        shape("desc", description, id=f"{name}-desc"),
        *parts,
        viewBox=f"0 0 {width:g} {height:g}",
        role="img",
        aria_labelledby=f"{name}-title {name}-desc",
    )


def shape(name: str, /, *children: Any, **attributes: Any) -> Markup:
    """Return an element: what is no markup is escaped, floats are rounded to a tenth.

    A trailing _ of an attribute's name is dropped, an inner one is a hyphen; None is left out.
    """
    given = [
        f' {key.rstrip("_").replace("_", "-")}="{_escaped(value)}"'
        for key, value in attributes.items()
        if value is not None
    ]
    start, inner = f"<{name}{''.join(given)}", "".join(map(_escaped, children))
    return Markup(f"{start}>{inner}</{name}>" if children else f"{start}/>")


def _escaped(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.1f}".removesuffix(".0")
    return escape(visible(value))


def visible(value: Any) -> Any:
    """Return a value as a text in which nothing obeys a terminal; markup as it is, None as ""."""
    if value is None or isinstance(value, Markup):
        return value or ""
    return printable(str(value))


def slug(text: str) -> str:
    """Return a text as an id."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "x"


def marks_of(study: StudyResults, full: str, low: str, *first: Mark) -> list[Mark]:
    """Return the key of a picture of trials: only marks that this study can show."""
    entries = [*first, ("m-full", full)]
    if len(study.finalists) < len(study.scored):
        entries.append(("m-low", low))
    if any(trial.is_degenerate for trial in study.trials):
        entries.append(("m-cross", "failed"))
    return entries
