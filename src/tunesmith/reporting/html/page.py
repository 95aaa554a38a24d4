"""report.html: one file that needs no network, runs no script, and is readable on a phone.

Its layout is page.html.j2, which calls the functions of this package on the results of a study.
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
from tunesmith.reporting.results import StudyResults
from tunesmith.reporting.trial_results import TrialResult

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
    return _environment().get_template("page.html.j2").render(study=study)


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
    made.globals |= {
        "advise": advise,
        "best_so_far": best_so_far,
        "contents": CONTENTS,
        "curves": curves,
        "headline": headline,
        "importance": importance,
        "next_steps": next_steps,
        "seed_spread": seed_spread,
        "short_names": formatting.short_names,
        "slices": slices,
        "style": Markup((HERE / "style.css").read_text(encoding="utf-8")),  # our own
        "table_rows": table_rows,
        "verdict": verdict,
    }
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
