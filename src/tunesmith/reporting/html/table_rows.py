"""Rows of the report's tables: confirmed settings, failures by kind, where all of it came from."""

from collections import Counter
from typing import Any

from tunesmith.reporting import findings, formatting, next_steps
from tunesmith.reporting.results import Arm, StudyResults
from tunesmith.reporting.trial_results import is_number

LONGEST_ERROR = 300  # characters


def confirmation(study: StudyResults) -> list[list[Any]]:
    """Return a row per confirmed setting: mean, interval, difference, P(better), seeds, its end."""
    return [_arm(arm) for arm in study.arms]


def _arm(arm: Arm) -> list[Any]:
    interval = f"{formatting.score(arm.low)} to {formatting.score(arm.high)}"
    difference = "" if arm.difference is None else f"{arm.difference:+z.4f}"
    chance = formatting.chance(arm.p_better).removeprefix("= ") if is_number(arm.p_better) else ""
    good, all_of_them = len(arm.seed_scores), len(arm.scores)
    seeds = str(good) if good == all_of_them else f"{good} of {all_of_them}"
    end = f"dropped: {arm.dropped}" if arm.dropped else ""
    return [arm.name, formatting.score(arm.mean), interval, difference, chance, seeds, end]


def failures(study: StudyResults) -> list[list[Any]]:
    """Return a row per kind of failure: how many, which trials, the first error that was seen."""
    rows: list[list[Any]] = []
    for kind, trials in findings.failures(study).items():
        error = next((trial.error for trial in trials if trial.error), "")
        numbers = formatting.listed((trial.number for trial in trials), 12)
        rows.append([kind, len(trials), numbers, formatting.shorten(error, LONGEST_ERROR)])
    return rows


def provenance(study: StudyResults) -> list[tuple[str, Any]]:
    """Return the command, the search, the versions, threads and precision it ran with."""
    time = f"{formatting.duration(study.seconds)}, {study.steps} optimizer steps"
    return [
        ("command", " ".join(next_steps.quoted(study.command))),
        ("directory", study.directory),
        ("search", _search(study)),
        ("rungs", _rungs(study)),
        ("seed", study.seed),
        ("threads", _counts(Counter(str(trial.threads) for trial in study.trials))),
        ("precision", _counts(Counter(trial.precision for trial in study.trials))),
        ("time", time),
        ("versions", _versions(study)),
    ]


def _search(study: StudyResults) -> str:
    words = f"sampler {study.sampler}, policy {study.policy}, {study.mode}imized "
    return f"{words}{study.metric} on the validation split"


def _rungs(study: StudyResults) -> str:
    names = ", ".join(formatting.rung(fraction) for fraction in study.rungs)
    if not study.last_rung:
        return f"{names}: every trial is trained in full"
    steps = formatting.count(study.full_steps, "step")
    factor = f", reduction factor {study.reduction_factor}" if study.reduction_factor else ""
    return f"{names} of {steps}{factor}"


def _counts(values: Counter[str]) -> str:
    """Return what the trials ran with, and in how many where it differs."""
    if len(values) == 1:
        return next(iter(values))
    counts = [f"{value} ({formatting.count(n, 'trial')})" for value, n in values.items()]
    return ", ".join(counts) or formatting.INACTIVE


def _versions(study: StudyResults) -> str:
    """Return the versions that the summary names; each trial's directory holds its own."""
    names = [f"{name} {version}" for name, version in study.versions.items()]
    return ", ".join(names) or "in environment.json of each trial's directory"
