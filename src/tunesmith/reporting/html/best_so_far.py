"""What the trials bought: the best so far, and the best to expect from fewer or more."""

from collections.abc import Sequence

from tunesmith.reporting import findings, formatting
from tunesmith.reporting.html import scales
from tunesmith.reporting.html.svg import Figure, Pictures, Plot, Point, marks_of
from tunesmith.reporting.results import StudyResults
from tunesmith.reporting.trial_results import TrialResult

MOST_NAMED = 150  # points that tell their names; with more the page would grow large


def best_so_far(study: StudyResults) -> Pictures:
    """Return the trials in their order, and the best of those trained furthest."""
    if not study.scored:
        return Pictures(why="No trial has a score that counts yet.")
    trials = sorted(study.trials, key=lambda trial: trial.number)
    hours = _costs(trials)
    unit, size = _unit(hours[-1])
    first = _progress(study, trials, [t.number for t in trials], "trial, in order of start")
    second = _progress(study, trials, [h / size for h in hours], f"training time spent, {unit}")
    marks = marks_of(study, "trained furthest", "stopped at a lower rung")
    text = "The line is the best of the trials that were trained furthest; it is of the validation"
    words = f"{text} split and was selected, so it is optimistic. Marks at the edge lie beyond it."
    figures = [
        Figure("by trials", words, first.render("best-trials", "Best so far by trials", words)),
        Figure("by time", _sum(), second.render("best-time", "Best so far by time", _sum())),
    ]
    return Pictures(figures, marks)


def _sum() -> str:
    return "The same over the training time of all trials, added up in their order of start."


def _costs(trials: Sequence[TrialResult]) -> list[float]:
    spent, costs = 0.0, []
    for trial in trials:
        spent += trial.seconds
        costs.append(spent)
    return costs


def _unit(seconds: float) -> tuple[str, float]:
    if seconds < 180:
        return "seconds", 1.0
    return ("minutes", 60.0) if seconds < 3 * 3600 else ("hours", 3600.0)


def _progress(
    study: StudyResults, trials: Sequence[TrialResult], positions: Sequence[float], title: str
) -> Plot:
    sign, top = study.sign, study.scored[0].rung
    y = _score_scale(study, trials, top)
    whole = all(isinstance(position, int) for position in positions)
    x = (scales.Whole if whole else scales.Linear)(min(0, *positions, 0), max(positions))
    plot = Plot(x, y, title, study.metric)
    groups: dict[str, list[Point]] = {"full": [], "low": [], "failed": []}
    rail = plot.rail(sign)
    line: list[Point] = []
    best = None
    for trial, position in zip(trials, positions, strict=True):
        if not trial.has_score:
            if trial.is_degenerate:
                groups["failed"].append((plot.across(x.position(position)), rail))
            continue
        point = _point(plot, position, trial, sign)
        groups["full" if trial.rung == top else "low"].append(point)
        if trial.rung == top and (best is None or sign * (trial.known_score - best) > 0):
            best = trial.known_score
            line.append(point)
    end = plot.across(x.position(positions[-1]))
    _default_line(plot, study, top)
    plot.steps([*line, (end, line[-1][1])], "best")
    plot.dots(groups["low"], "pale")
    plot.dots(groups["full"], "full")
    plot.crosses(groups["failed"])
    plot.dots(line[-1:], "top")
    _name_points(plot, study, trials, positions, rail)
    return plot


def _default_line(plot: Plot, study: StudyResults, top: int | None) -> None:
    default = study.by_number(study.default)
    if default is None or not default.has_score or default.rung != top:
        return
    if default.number == study.best:
        return  # the line of the best is its own
    y = plot.up(plot.y.position(default.score))
    plot.line([(plot.across(0), y), (plot.across(1), y)], "rung")
    plot.text(plot.across(1), y - 5, "default", "tick halo", "end")


def _point(plot: Plot, position: float, trial: TrialResult, sign: int) -> Point:
    """A score beyond the worse end lies in the strip there."""
    x, y = plot.point(position, trial.score)
    rail = plot.rail(sign)
    return x, min(y, rail) if sign > 0 else max(y, rail)


def _score_scale(
    study: StudyResults, trials: Sequence[TrialResult], top: int | None
) -> scales.Linear:
    """The furthest trained fill half of the picture; what lies under it is put at its edge."""
    furthest = [t.known_score for t in trials if t.has_score and t.rung == top]
    if 2 < len(furthest) < len(study.scored):
        return scales.of_scores(furthest, study.sign, 1.0)
    every = [t.known_score for t in trials if t.has_score]
    return scales.of_scores(every, study.sign)


def _name_points(
    plot: Plot,
    study: StudyResults,
    trials: Sequence[TrialResult],
    positions: Sequence[float],
    rail: float,
) -> None:
    if len(trials) > MOST_NAMED:
        return
    for trial, position in zip(trials, positions, strict=True):
        if trial.has_score:
            at = study.at_rung(trial.rung)
            name = f"trial {trial.number}: {formatting.score(trial.score)}{at}"
            plot.named(_point(plot, position, trial, study.sign), name)
        elif trial.is_degenerate:
            place = plot.across(plot.x.position(position)), rail
            plot.named(place, f"trial {trial.number}: failed, {trial.failure}")


# --- expected best ------------------------------------------------------------------------


def expected(study: StudyResults) -> Pictures:
    """Return the expected best score against the number of trials (Dodge et al., 2019)."""
    curve = findings.budget_curve(study)
    if len(curve) < 3:
        return Pictures(why=f"Needs 3 scores at one rung, there are {len(curve)}.")
    rung, _ = findings.comparable(study)
    at = study.at_rung(rung)
    words = _reading(study, curve)
    low, high = min(curve), max(curve)
    margin = 0.08 * (high - low)
    y = scales.Linear(low - margin, high + margin)
    plot = Plot(scales.Log(1, len(curve)), y, "trials (logarithmic)", study.metric)
    points = [plot.point(n, value) for n, value in enumerate(curve, start=1)]
    plot.line(points, "best")
    plot.dots(points[-1:], "top")
    svg = plot.render("expected", "Expected best by budget", words)
    head = f"{formatting.score(curve[-1])} from {len(curve)} trials{at}"
    return Pictures([Figure(head, words, svg)])


def _reading(study: StudyResults, curve: Sequence[float]) -> str:
    half = max(len(curve) // 2, 1)
    gain = formatting.score(abs(curve[-1] - curve[half - 1]))
    words = f"What the best of so many trials would show on average. Going from {half} to "
    words += f"{len(curve)} trials brought {gain}; doubling once more rarely brings more than that."
    if study.sampler in ("random", "qmc", "grid"):
        return words
    return f"{words} Exact for independent trials only: {study.sampler} learns as it goes."
