"""The end of the report: how to go on, and where all of it came from."""

from collections.abc import Iterable
from typing import Any

from tunesmith.reporting import formatting, next_steps
from tunesmith.reporting.html.markup import Markup, Section, element, joined, nothing
from tunesmith.reporting.results import Summary


def next_command(summary: Summary) -> Section:
    """Return the commands worth typing next."""
    found = next_steps.next_ones(summary)
    if not found:
        return Section(
            "How to go on", nothing("Nothing to go on from: no trial has a score that counts.")
        )
    lines = [[element("p", f"To {c.purpose}:"), element("pre", c.line)] for c in found]
    return Section("How to go on", joined(lines))


def provenance(summary: Summary) -> Section:
    """Return the command, the search, the versions, threads and precision it ran with."""
    facts = [
        ("command", " ".join(next_steps.quoted(summary["command"]))),
        ("directory", summary["directory"]),
        ("search", _search(summary)),
        ("rungs", _rungs(summary)),
        ("seed", summary["seed"]),
        ("threads", _each(summary, "threads")),
        ("precision", _each(summary, "precision")),
        ("time", f"{formatting.duration(summary['seconds'])}, {summary['steps']} optimizer steps"),
        ("versions", _versions(summary)),
    ]
    rows = [element("div", element("dt", name), element("dd", words)) for name, words in facts]
    return Section("Provenance", element("dl", rows, class_="facts"))


def _search(summary: Summary) -> str:
    words = f"sampler {summary['sampler']}, policy {summary['policy']}, {summary['mode']}imized "
    return f"{words}{summary['metric']} on the validation split"


def _rungs(summary: Summary) -> str:
    names = ", ".join(formatting.rung(fraction) for fraction in summary["rungs"])
    if len(summary["rungs"]) < 2:
        return f"{names}: every trial is trained in full"
    steps = formatting.count(summary["full_steps"], "step")
    return f"{names} of {steps}, reduction factor {summary['reduction_factor']}"


def _each(summary: Summary, name: str) -> str:
    """Return what the trials ran with, and in how many where it differs."""
    return _counts(str(trial[name]) for trial in summary["trials"])


def _counts(values: Iterable[str]) -> str:
    found: dict[str, int] = {}
    for value in values:
        found[value] = found.get(value, 0) + 1
    if len(found) == 1:
        return next(iter(found))
    counts = [f"{value} ({formatting.count(n, 'trial')})" for value, n in found.items()]
    return ", ".join(counts) or formatting.INACTIVE


def _versions(summary: Summary) -> Any:
    """Return the versions that the summary names; each trial's directory holds its own."""
    versions = summary.get("versions") or {}
    if not versions:
        return joined("in ", element("code", "environment.json"), " of each trial's directory")
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def footer(summary: Summary) -> Markup:
    words = "Made by Tunesmith from summary.json; the file needs no network and runs no script."
    return element("footer", element("p", words))
