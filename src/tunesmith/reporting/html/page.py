"""report.html: one file that needs no network, runs no script, and is readable on a phone.

Its layout is page.html.j2; what stands there comes from the results of the study alone.
"""

import functools
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from tunesmith.reporting import formatting, next_steps, verdict
from tunesmith.reporting.advice import advise
from tunesmith.reporting.html import (
    best_so_far,
    curves,
    headline,
    importance,
    seed_spread,
    slices,
    table_rows,
)
from tunesmith.reporting.html.svg import slug, visible
from tunesmith.reporting.results import StudyResults, TrialResult

HERE = Path(__file__).parent
CONTENTS = (
    "Advice",
    "Confirmation",
    "Seed spread of the finalists",
    "Best so far",
    "Slices",
    "Importance",
    "Expected best by budget",
    "Learning curves",
    "When the best came",
    "Failures",
    "All trials",
    "How to go on",
    "Provenance",
)
LONGEST = 80  # characters of a setting in a table


def page(study: StudyResults) -> str:
    """Return report.html of a study."""
    kinds = table_rows.failures(study)
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            study=study,
            style=Markup((HERE / "style.css").read_text(encoding="utf-8")),
            contents=CONTENTS,
            interval=verdict.INTERVAL,
            facts=headline.facts(study),
            verdict=verdict.verdict(study),
            stop=verdict.stop(study),
            numbers=headline.numbers(study),
            luck=verdict.luck(study),
            settings=headline.settings(study),
            command=headline.command(study),
            advice=advise(study),
            silence=headline.silence(study),
            arms=table_rows.confirmation(study),
            unconfirmed=headline.why_unconfirmed(study),
            seed_spread=seed_spread.seeds(study),
            best_so_far=best_so_far.best_so_far(study),
            slices=slices.slices(study),
            importance=importance.importance(study),
            expected=best_so_far.expected(study),
            curves=curves.curves(study),
            best_steps=curves.best_steps(study),
            failures=kinds,
            failed=sum(kind[1] for kind in kinds),
            names=formatting.short_names(study.keys),
            next_steps=next_steps.next_ones(study),
            provenance=table_rows.provenance(study),
        )
    )


@functools.cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=visible,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {
        "count": formatting.count,
        "duration": formatting.duration,
        "listed": formatting.listed,
        "sentence": _sentence,
        "setting": _setting,
        "shorten": formatting.shorten,
        "slug": slug,
    }
    return made


def _setting(trial: TrialResult, key: str) -> str:
    """Return what a trial has on a dimension."""
    if key not in trial.params:
        return formatting.INACTIVE
    return formatting.shorten(formatting.setting(trial.params[key]), LONGEST)


def _sentence(words: Any) -> str:
    """Return words with a capital letter and a full stop."""
    return f"{words[0].upper()}{words[1:]}{'' if words.endswith('.') else '.'}"
