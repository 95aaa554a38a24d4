"""Do lower rungs tell who will win? Kendall's rank correlation between each rung and the next."""

from tunesmith.reporting import findings, formatting
from tunesmith.reporting.advice import AGREES
from tunesmith.reporting.html import scales
from tunesmith.reporting.html.markup import Markup, Section, element, joined, nothing
from tunesmith.reporting.html.svg import Plot, figure
from tunesmith.reporting.results import Summary, orientation, rung_name

LEAST = 3  # trials


def rungs(summary: Summary) -> Section:
    """Return a picture for each pair of rungs: the score at the lower against the higher."""
    title = "Rank correlation between rungs"
    if len(summary["rungs"]) < 2:
        return Section(title, nothing("Every trial was trained in full: there is one rung only."))
    pairs = findings.rung_pairs(summary)
    enough = [pair for pair in pairs if pair.tau is not None]
    if not enough:
        most = max(len(pair.points) for pair in pairs)
        found = f"the most that two rungs share is {formatting.count(most, 'trial')}"
        return Section(title, nothing(f"Needs {LEAST} trials at two rungs that differ, {found}."))
    words = "1 means that the lower rung orders the trials as the higher one does, 0 that it says "
    words += "nothing. Promoted trials only: those are alike already, which lowers the figure."
    figures = element("div", [_scatter(summary, pair) for pair in enough], class_="figures three")
    return Section(title, joined(element("p", words), figures))


def _scatter(summary: Summary, pair: findings.RungPair) -> Markup:
    low, high = rung_name(summary, pair.low), rung_name(summary, pair.high)
    sign = orientation(summary)
    x = scales.of_scores([point[1] for point in pair.points], sign)
    y = scales.of_scores([point[2] for point in pair.points], sign)
    metric = formatting.shorten(str(summary["metric"]), 30)
    plot = Plot(x, y, f"{metric} at {low}", f"{metric} at {high}", 230)
    points = [plot.point(first, second) for _, first, second in pair.points]
    plot.dots(points, "full")
    if len(points) <= 60:
        for (number, first, second), point in zip(pair.points, points, strict=True):
            scores = f"{formatting.score(first)}, then {formatting.score(second)}"
            plot.named(point, f"trial {number}: {scores}")
    assert pair.tau is not None
    words = f"over {formatting.count(len(pair.points), 'trial')}: {_judged(pair)}."
    head = f"{low} to {high}: τ = {pair.tau:.2f}"
    return figure(head, words, plot.render(f"rungs-{pair.low}-{pair.high}", head, words))


def _judged(pair: findings.RungPair) -> str:
    assert pair.tau is not None
    if len(pair.points) < 8:
        return "too few to judge by"
    return "the lower rung says little" if pair.tau < AGREES else "the lower rung is a guide"
