"""summary.csv: the ranked trials, one row each, failed ones too."""

import csv
import io
import json
from collections.abc import Mapping
from typing import Any

from tunesmith.errors import printable
from tunesmith.reporting.results import StudyResults
from tunesmith.reporting.trial_results import TrialResult
from tunesmith.runtime.spreadsheet import quoted_formula

FIXED = (
    "place",
    "trial",
    "state",
    "failure",
    "score",
    "deviation",
    "rung",
    "is_default",
    "bracket",
)
MEASURED = ("steps", "total_steps", "best_step", "seconds", "replicates", "threads", "precision")


def csv_text(study: StudyResults, excel_safe: bool = False) -> str:
    """Return summary.csv: what every trial was, its dimensions as columns, what it cost.

    Numbers are exact; an inactive dimension is an empty cell, null is `null`. Control characters
    are escaped; with excel_safe also cells that a spreadsheet would run as formulas.
    """
    keys = study.keys
    taken = {*FIXED, *MEASURED, "directory", "error"}
    columns = [f"params.{key}" if key in taken else key for key in keys]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    header = [*FIXED, *columns, *MEASURED, "directory", "error"]
    writer.writerow([_cell(name, excel_safe) for name in header])
    for trial in study.ranked:
        writer.writerow([_cell(value, excel_safe) for value in _row(study, trial, keys)])
    return file.getvalue()


def _row(study: StudyResults, trial: TrialResult, keys: list[str]) -> list[Any]:
    known = dict(trial) | {
        "place": study.ranks.get(trial.number),
        "trial": trial.number,
        "rung": None if trial.rung is None else study.rungs[trial.rung],
        "replicates": len(trial.replicates),
    }
    params = [_plain(trial.params[key]) if key in trial.params else None for key in keys]
    start = [known[name] for name in FIXED]
    return [*start, *params, *(known[n] for n in MEASURED), trial.directory, trial.error]


def _plain(value: Any) -> Any:
    """None among the settings is a value; an empty cell says that there is none."""
    if isinstance(value, (list, tuple, Mapping)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return "null" if value is None else value


def _cell(value: Any, excel_safe: bool) -> str:
    if isinstance(value, bool) or value is None:
        return "" if value is None else str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)
    text = quoted_formula(str(value)) if excel_safe else str(value)
    return printable(text)
