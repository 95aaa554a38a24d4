"""The ranked trials of a study: highest rung first, then score; what came to nothing last."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tunesmith.reporting import formatting

COMPLETE, PAUSED, FAILED, RUNNING = "complete", "paused", "failed", "running"

# What a worker can say of a failure; others are "error:CODE", the code of the one-line error.
NAN, DIVERGED, COLLAPSE = "nan", "diverged", "collapse"
OUT_OF_MEMORY, CRASH, TIMEOUT = "out of memory", "crash", "timeout"
DEGENERATE = (COLLAPSE, DIVERGED)  # trained to the end, with a score, and never the best

Summary = Mapping[str, Any]  # what summary.json holds
Trial = Mapping[str, Any]  # one of its trials


class Ranked(NamedTuple):
    """A trial and its place, from 1; None for one that has no score to be ranked by."""

    place: int | None
    trial: Trial


def ranked(summary: Summary) -> list[Ranked]:
    """Return all trials in order: by highest rung, then score; then those without a place.

    These are the collapsed and diverged ones, which have a score that says nothing, the unscored,
    and the failed. A higher rung goes first because its score is of a longer training; none is
    ever left out.
    """
    sign = orientation(summary)
    trials = sorted(summary["trials"], key=lambda trial: _order(trial, sign))
    with_score = sum(has_score(trial) for trial in trials)
    return [Ranked(n if n <= with_score else None, t) for n, t in enumerate(trials, start=1)]


def _order(trial: Trial, sign: int) -> tuple[int, int, float, int]:
    if trial["state"] == "failed":
        return 3, 0, 0.0, trial["number"]
    if not is_number(trial["score"]):
        return 2, 0, 0.0, trial["number"]
    return (
        int(is_degenerate(trial)),
        -(trial["rung"] or 0),
        -sign * trial["score"],
        trial["number"],
    )


def has_score(trial: Trial) -> bool:
    """Tell whether a trial can be ranked: what came to nothing has no score that counts."""
    return not is_degenerate(trial) and is_number(trial["score"])


def is_degenerate(trial: Trial) -> bool:
    """Tell whether a trial failed, or came to its end without having learnt anything."""
    return trial["state"] == "failed" or trial["failure"] is not None


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def orientation(summary: Summary) -> int:
    """Return 1 where more is better, else -1."""
    return 1 if summary["mode"] == "max" else -1


def scored(summary: Summary) -> list[Trial]:
    """Return the trials that have a place, the best first."""
    return [trial for place, trial in ranked(summary) if place is not None]


def finalists(summary: Summary) -> list[Trial]:
    """Return the trials at the highest rung that any reached, the best first."""
    trials = scored(summary)
    return [trial for trial in trials if trial["rung"] == trials[0]["rung"]] if trials else []


def over_seeds(summary: Summary) -> str:
    """Return what a column of scores adds to its metric: over how many seeds each is the mean."""
    seeds = max((len(trial["replicates"]) for trial in summary["trials"]), default=0)
    return f" mean ± deviation of {seeds} seeds" if seeds > 1 else ""


def shown_score(trial: Trial) -> str:
    """Return a trial's score; over several seeds with its standard deviation."""
    return formatting.mean(trial["score"], trial.get("deviation"))


def horizon(trial: Trial) -> int:
    """Return the steps of one seed's full training, as `best_step` and `history` are of one.

    A summary of an earlier version has no more than the sum over the seeds.
    """
    return trial.get("horizon") or trial["total_steps"] // max(len(trial["replicates"]), 1)


def by_number(summary: Summary, number: int | None) -> Trial | None:
    """Return the trial of this number, None where there is none."""
    return next((trial for trial in summary["trials"] if trial["number"] == number), None)


def trial_name(summary: Summary, number: int) -> str:
    """Return `trial 7`, or `the default` for the config that a grid started from, no trial."""
    return "the default" if by_number(summary, number) is None else f"trial {number}"


UNSEARCHED: Mapping[str, Any] = {"kind": "categorical", "choices": (), "log": False, "when": {}}


def dimension(summary: Summary, key: str) -> Mapping[str, Any]:
    """Return a dimension of the space; one that only trials know is a list of choices."""
    return next((d for d in summary["space"] if d["key"] == key), {**UNSEARCHED, "key": key})


def is_set(trial: Trial, dimension: Mapping[str, Any]) -> bool:
    """Tell whether a trial has a value on a dimension: active, and no null among numbers."""
    key = dimension["key"]
    if dimension["kind"] == "categorical":
        return key in trial["params"]
    value = trial["params"].get(key)
    return is_number(value) and not isinstance(value, bool) and (value > 0 or not dimension["log"])


def dimensions(summary: Summary) -> list[str]:
    """Return the keys that were searched: those of the space, then any other a trial has."""
    keys = [dimension["key"] for dimension in summary["space"]]
    others = (key for trial in summary["trials"] for key in trial["params"])
    return list(dict.fromkeys([*keys, *others]))


def rung_name(summary: Summary, index: int | None) -> str:
    """Return `1/9`, `full`, or - for a trial that reached no rung."""
    rungs: Sequence[float] = summary["rungs"]
    if index is None:
        return "-"
    return formatting.rung(rungs[index]) if index < len(rungs) else str(index)


def at_rung(summary: Summary, index: int | None) -> str:
    """Return ` at rung 1/9` or ` in full training`; nothing where there is one rung only."""
    last = len(summary["rungs"]) - 1
    if not last:
        return ""
    return " in full training" if index == last else f" at rung {rung_name(summary, index)}"


def state_name(summary: Summary, trial: Trial) -> str:
    """Return what became of a trial: complete, paused at 1/9, failed: nan."""
    if trial["state"] == "failed":
        return f"failed: {trial['failure'] or 'unknown'}"
    if trial["failure"]:
        return f"{trial['state']}, {trial['failure']}"
    if trial["state"] == "paused":
        return f"paused at {rung_name(summary, trial['rung'])}"
    return str(trial["state"])


def counted(summary: Summary) -> str:
    """Return `27 trials: 9 complete, 15 paused, 3 failed`, every one of them counted."""
    total = len(summary["trials"])
    parts = [f"{n} {state}" for state, n in summary["counts"].items() if n]
    return f"{formatting.count(total, 'trial')}: {', '.join(parts)}" if parts else "no trials"


def split_words(summary: Summary) -> str:
    """Return what every best score of a search must be labelled with."""
    trials = formatting.count(len(summary["trials"]), "trial")
    return f"validation, selected from {trials} (optimistic)"
