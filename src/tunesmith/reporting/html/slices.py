"""One picture a dimension: score against setting, with an alarm where the best lie at an edge."""

from collections.abc import Sequence

from tunesmith.reporting import findings, formatting
from tunesmith.reporting.html import scales
from tunesmith.reporting.html.svg import BOTTOM, LEFT, TOP, Figure, Pictures, Plot, marks_of, slug
from tunesmith.reporting.results import SearchedDimension, StudyResults
from tunesmith.reporting.trial_results import TrialResult

MOST_NAMED = 60
GOLDEN = 0.618034  # its multiples spread evenly: points of one choice stand side by side


def slices(study: StudyResults) -> Pictures:
    """Return score against setting for every dimension."""
    keys = study.keys
    if not study.scored or not keys:
        why = (
            "No trial has a score that counts."
            if keys
            else "Nothing was searched: there is no dimension."
        )
        return Pictures(why=why)
    edges = findings.edges(study)
    figures = [_slice(study, key_, edges.get(key_), n) for n, key_ in enumerate(keys)]
    best, low = ("m-top", "the three best"), "at the edge: never reached this rung"
    marks = marks_of(study, "the others", low, best)
    return Pictures(figures, marks)


def _slice(study: StudyResults, key_: str, edge: findings.Edge | None, number: int) -> Figure:
    this = study.dimension(key_)
    trials = [trial for trial in study.trials if this.is_set(trial)]
    x = scales.of_dimension(this, [trial.params[key_] for trial in trials])
    rung, pairs = findings.comparable(study)
    y = scales.of_scores([score for _, score in pairs], study.sign)
    unit = " (logarithmic)" if isinstance(x, scales.Log) else ""
    plot = Plot(x, y, f"{formatting.shorten(key_, 46)}{unit}", _y_title(study, rung), 220)
    if edge is not None:
        _alarm(plot, edge)
    _points(plot, study, trials, key_)
    words = _words(study, this, trials, edge)
    name = f"slice-{number}-{slug(key_)[:40]}"
    svg = plot.render(name, f"Score against {formatting.shorten(key_, 80)}", words)
    return Figure(formatting.shorten(key_, 80), words, svg)


def _points(plot: Plot, study: StudyResults, trials: Sequence[TrialResult], key_: str) -> None:
    _, pairs = findings.comparable(study)
    scores = {trial.number: score for trial, score in pairs}
    best = {trial.number for trial in study.scored[:3]}
    rail = plot.rail(study.sign)
    groups: dict[str, list[tuple[float, float]]] = {"pale": [], "full": [], "top": [], "cross": []}
    for trial in trials:
        number = trial.number
        score = scores.get(number)
        point = (
            _across(plot, trial, key_),
            rail if score is None else plot.up(plot.y.position(score)),
        )
        groups[_kind(trial, score, number in best)].append(point)
        if len(trials) <= MOST_NAMED:
            plot.named(point, _caption(study, trial, key_))
    plot.crosses(groups.pop("cross"))
    for kind, points in groups.items():
        plot.dots(points, kind)


def _kind(trial: TrialResult, score: float | None, is_best: bool) -> str:
    if trial.is_degenerate:
        return "cross"
    if score is None:
        return "pale"
    return "top" if is_best else "full"


def _caption(study: StudyResults, trial: TrialResult, key_: str) -> str:
    value = formatting.shorten(formatting.setting(trial.params[key_]), 60)
    state = study.state_name(trial)
    return f"trial {trial.number}, {value}: {formatting.score(trial.score)}, {state}"


def _y_title(study: StudyResults, rung: int) -> str:
    metric = formatting.shorten(str(study.metric), 34)
    return f"{metric}{study.at_rung(rung)}"


def _across(plot: Plot, trial: TrialResult, key_: str) -> float:
    place = plot.x.position(trial.params[key_])
    if isinstance(plot.x, scales.Choices):
        spread = (trial.number * GOLDEN) % 1 - 0.5
        place += spread * 0.5 / max(len(plot.x.labels), 1)
    return plot.across(place)


def _alarm(plot: Plot, edge: findings.Edge) -> None:
    left, right = plot.across(0), plot.across(1)
    share = 0.12
    if isinstance(plot.x, scales.Choices):
        share = 1 / len(plot.x.labels)
    width = share * (right - left)
    start = right - width if edge.side == "high" else left
    plot.bar(start, TOP - 4, width, plot.height - BOTTOM - TOP + 4, "alarm")
    x, anchor = (right, "end") if edge.side == "high" else (LEFT, "start")
    plot.text(x, 13, "best at the edge", "alarmed", anchor)


def _words(
    study: StudyResults,
    this: SearchedDimension,
    trials: Sequence[TrialResult],
    edge: findings.Edge | None,
) -> str:
    parts = []
    if edge is not None:
        bound = formatting.setting(edge.bound)
        end = "upper" if edge.side == "high" else "lower"
        parts.append(f"The best lie at the {end} edge ({edge.spelled}; bound {bound}): widen it.")
    inactive = len(study.trials) - len(trials)
    if inactive:
        parts.append(f"Not set in {formatting.count(inactive, 'trial')}{_when(this)}.")
    return " ".join(parts)


def _when(this: SearchedDimension) -> str:
    held = " and ".join(f"{key_}={formatting.setting(value)}" for key_, value in this.when.items())
    return f", only when {held}" if held else ""
