"""How the trials learnt: a curve each, and when their best validation came."""

from collections.abc import Sequence
from typing import Any

from tunesmith.reporting import findings, formatting
from tunesmith.reporting.html import scales
from tunesmith.reporting.html.svg import BOTTOM, TOP, Figure, Pictures, Plot
from tunesmith.reporting.results import StudyResults
from tunesmith.reporting.trial_results import TrialResult, is_number

MOST = 200  # curves that are drawn
POINTS = 40  # of a curve


def curves(study: StudyResults) -> Pictures:
    """Return the validation score against steps, by the rung a trial reached."""
    trials = [trial for trial in study.ranked if _points(trial)]
    if not trials:
        return Pictures(why="No trial has recorded a validation.")
    shown = _chosen(trials)
    words = "Validation score while training. The ticks above name the rungs: a trial that was "
    words += "not promoted ends at one of them."
    if len(shown) < len(trials):
        words += f" {len(shown)} of {len(trials)} curves are drawn, the best ones among them."
    plot = _plot(study, trials, shown)
    rest = [("k-rest", "ended at a lower rung")] if len(study.rungs) > 1 else []
    marks = [("k-best", "best"), ("k-full", "trained furthest"), *rest]
    svg = plot.render("curves", "Learning curves", words)
    return Pictures([Figure("by rung", words, svg)], marks)


def _chosen(trials: Sequence[TrialResult]) -> list[TrialResult]:
    """The best ones, and of the rest every so many."""
    if len(trials) <= MOST:
        return list(trials)
    rest = trials[MOST // 2 :]
    return [*trials[: MOST // 2], *rest[:: len(rest) // (MOST // 2) + 1]]


def _points(trial: TrialResult) -> list[tuple[int, float]]:
    points = [(p.step, p.score) for p in trial.history if is_number(p.score)]
    every = max(1, -(-len(points) // POINTS))
    return [*points[:-1:every], *points[-1:]]


def _plot(study: StudyResults, trials: Sequence[TrialResult], shown: Sequence[TrialResult]) -> Plot:
    end = max(max(t.horizon, t.history[-1].step) for t in trials)
    every = [score for trial in shown for _, score in _points(trial)]
    y = scales.of_scores(every, study.sign)
    plot = Plot(scales.Whole(0, max(end, 1)), y, "optimizer steps", study.metric, 280)
    _rungs(plot, study, end)
    best = study.scored[0] if study.scored else None
    last = max((t.rung or 0 for t in trials), default=0)
    for trial in reversed(shown):
        points = [plot.point(step, score) for step, score in _points(trial)]
        is_full = trial.rung == last and not trial.is_degenerate
        kind = "curve first" if trial is best else "curve full" if is_full else "curve"
        if len(points) == 1:
            plot.dots(points, "top" if trial is best else "full" if is_full else "pale")
        plot.line(points, kind)
        if trial is best:
            plot.dots(points[-1:], "top")
    return plot


def _rungs(plot: Plot, study: StudyResults, end: int) -> None:
    """Mark the rungs where all trials have one horizon; else one line could not be right."""
    if len({t.horizon for t in study.trials if t.horizon}) != 1:
        return
    free = 0.0
    for index, fraction in enumerate(study.rungs):
        x = plot.across(plot.x.position(fraction * end))
        plot.line([(x, TOP), (x, plot.height - BOTTOM)], "rung")
        if x > free:
            at_end = x > 380
            plot.text(x, TOP - 4, study.rung_name(index), "tick", "end" if at_end else "middle")
            free = x + 26


def best_steps(study: StudyResults) -> Pictures:
    """Return the histogram of when the best validation of a full training came."""
    shares = findings.steps_of_best(study)
    if len(shares) < 3:
        return Pictures(why=f"Needs 3 fully trained trials, there are {len(shares)}.")
    bins = [0] * 10
    for share in shares:
        bins[min(int(share * 10 - 1e-9), 9)] += 1
    words = "At the right end: a longer training may pay. Far to the left: a shorter one is enough."
    x, y = scales.Linear(0, 100, " %"), scales.Whole(0, max(bins))
    plot = Plot(x, y, "share of the steps trained", "trials", 200)
    _bars(plot, bins)
    head = f"of {formatting.count(len(shares), 'full training')}"
    svg = plot.render("best-steps", "When the best came", words)
    return Pictures([Figure(head, words, svg)])


def _bars(plot: Plot, bins: Sequence[int]) -> None:
    floor: Any = plot.up(0)
    width = plot.across(0.1) - plot.across(0) - 3
    for number, count in enumerate(bins):
        if count:
            top = plot.up(plot.y.position(count))
            plot.bar(plot.across(number / 10) + 1.5, top, width, floor - top, "bar")
