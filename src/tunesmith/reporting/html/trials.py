"""The trials themselves: what failed and how, and all of them in one ranked table."""

from typing import Any

from tunesmith.reporting import findings, formatting, results
from tunesmith.reporting.html.markup import Section, element, joined, nothing, table
from tunesmith.reporting.results import Summary, Trial

LONGEST = 80  # characters of a setting in a table
LONGEST_ERROR = 300


def failures(summary: Summary) -> Section:
    """Return the trials that came to nothing by kind, each with the first error that was seen."""
    kinds = findings.failures(summary)
    total = len(summary["trials"])
    if not kinds:
        return Section("Failures", nothing(f"None of {formatting.count(total, 'trial')} failed."))
    failed = sum(map(len, kinds.values()))
    words = f"{failed} of {formatting.count(total, 'trial')} failed or learnt nothing. They are "
    words += "counted among the trials, shown in every picture as a cross, ranked last, and never "
    words += "the best."
    rows = [_kind(kind, trials) for kind, trials in kinds.items()]
    header = ["kind", "trials", "which", "first error"]
    body = table(header, rows, frozenset({1}), "Failures by kind")
    return Section("Failures", joined(element("p", words), body))


def _kind(kind: str, trials: list[Trial]) -> list[Any]:
    error = next((str(t["error"]) for t in trials if t["error"]), "")
    numbers = formatting.listed((trial["number"] for trial in trials), 12)
    return [kind, len(trials), numbers, formatting.shorten(error, LONGEST_ERROR)]


def all_trials(summary: Summary) -> Section:
    """Return every trial in its rank, failed ones last."""
    if not summary["trials"]:
        return Section("All trials", nothing("No trial was started."))
    keys = results.dimensions(summary)
    names = formatting.short_names(keys)
    header = [
        "",
        "trial",
        joined(_heading(summary["metric"], summary["metric"]), results.over_seeds(summary)),
        "state",
        *(_heading(k, names[k]) for k in keys),
    ]
    header += ["best step", "steps", "time"]
    rows = [_row(summary, place, trial, keys) for place, trial in results.ranked(summary)]
    numeric = frozenset({0, 1, 2, *range(len(header) - 3, len(header))})
    words = "By the highest rung reached, then by score: a score after a third of the training "
    words += "does not compare with one after all of it. summary.csv has more columns."
    body = table(header, rows, numeric, "All trials")
    return Section("All trials", joined(element("p", words), body))


def _heading(key: str, name: str) -> Any:
    shown = formatting.shorten(name, 28)
    return element("span", shown, title=key if key != shown else None)


def _row(summary: Summary, rank: int | None, trial: Trial, keys: list[str]) -> list[Any]:
    params = trial["params"]
    settings = [_setting(params[key]) if key in params else formatting.INACTIVE for key in keys]
    number: Any = trial["number"]
    if trial["is_default"]:
        number = joined(number, " ", element("em", "default"))
    start = [rank, number, results.shown_score(trial), results.state_name(summary, trial)]
    steps = f"{trial['steps']} of {trial['total_steps']}"
    best = "" if trial["best_step"] is None else trial["best_step"]
    return [*start, *settings, best, steps, formatting.duration(trial["seconds"])]


def _setting(value: Any) -> str:
    return formatting.shorten(formatting.setting(value), LONGEST)
