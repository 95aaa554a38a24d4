"""What summary.json must look like before anything is made of it: it may be a stranger's."""

from collections.abc import Mapping
from typing import Any

from tunesmith.errors import ModelError
from tunesmith.reporting.results import COMPLETE, FAILED, PAUSED, RUNNING

MAYBE_TEXT, NUMBER, MAYBE_NUMBER = (str, type(None)), (int, float), (int, float, type(None))
MAYBE_INT, MAYBE_OBJECT = (int, type(None)), (dict, type(None))
STATES = (COMPLETE, PAUSED, FAILED, RUNNING)
NEWER = ("horizon", "versions")  # what a summary of an earlier version has not
STUDY: Mapping[str, Any] = {
    "study": str,
    "directory": str,
    "command": [str],
    "metric": str,
    "mode": str,
    "sampler": str,
    "policy": str,
    "rungs": [NUMBER],
    "reduction_factor": int,
    "seed": int,
    "explicit_grid": bool,
    "space": [{"key": str, "kind": str, "log": bool, "choices": list, "when": dict}],
    "trials": [
        {
            "number": int,
            "state": str,
            "failure": MAYBE_TEXT,
            "error": MAYBE_TEXT,
            "params": dict,
            "overrides": [str],
            "is_default": bool,
            "bracket": int,
            "score": MAYBE_NUMBER,
            "rung": MAYBE_INT,
            "scores": dict,
            "replicates": [{"seed": int, "score": MAYBE_NUMBER, "best_step": MAYBE_INT}],
            "steps": int,
            "total_steps": int,
            "horizon": int,
            "seconds": NUMBER,
            "best_step": MAYBE_INT,
            "history": [{"step": int, "score": MAYBE_NUMBER}],
            "threads": int,
            "precision": str,
            "directory": str,
        }
    ],
    "best": MAYBE_INT,
    "default": MAYBE_INT,
    "confirmation": MAYBE_OBJECT,
    "winner": MAYBE_INT,
    "test": MAYBE_OBJECT,
    "counts": dict,
    "stopped_by": MAYBE_TEXT,
    "seconds": NUMBER,
    "steps": int,
    "full_steps": int,
    "versions": dict,
}
CONFIRMATION: Mapping[str, Any] = {
    "seeds": [int],
    "arms": [{"trial": int, "is_default": bool, "scores": [MAYBE_NUMBER]}],
    "winner": int,
    "clearly_better": bool,
    "reason": str,
}


def check_summary(summary: Mapping[str, Any], location: str) -> None:
    """Raise ModelError where this is not the summary of a study."""
    wrong = _wrong(summary, STUDY, "") or _wrong_values(summary)
    if not wrong and summary["confirmation"] is not None:
        wrong = _wrong(summary["confirmation"], CONFIRMATION, "confirmation")
    if wrong:
        raise ModelError("STUDY", location, f"its summary is not one of a study: {wrong}")


def _wrong(value: Any, shape: Any, location: str) -> str:
    """Return where a value departs from a shape: a type, several, [shape of all], {key: shape}."""
    if isinstance(shape, Mapping):
        if not isinstance(value, dict):
            return f"{location or 'all of it'} is no object"
        missing = [key for key in shape if key not in value and key not in NEWER]
        if missing:
            return f"{location}.{missing[0]} is missing".lstrip(".")
        known = [(key, inner) for key, inner in shape.items() if key in value]
        parts = (_wrong(value[k], s, f"{location}.{k}".lstrip(".")) for k, s in known)
        return next(filter(None, parts), "")
    if isinstance(shape, list):
        if not isinstance(value, list):
            return f"{location} is no list"
        parts = (_wrong(item, shape[0], f"{location}.{i}") for i, item in enumerate(value))
        return next(filter(None, parts), "")
    kinds = shape if isinstance(shape, tuple) else (shape,)
    is_right = isinstance(value, kinds) and (not isinstance(value, bool) or bool in kinds)
    return "" if is_right else f"{location} is a {type(value).__name__}"


def _wrong_values(summary: Mapping[str, Any]) -> str:
    """Return what is of the right type and still means nothing."""
    rungs, numbers = range(len(summary["rungs"])), [t["number"] for t in summary["trials"]]
    if summary["mode"] not in ("max", "min"):
        return f"mode is {summary['mode']!r}"
    if len(set(numbers)) < len(numbers):
        return "a trial stands twice"
    for trial in summary["trials"]:
        if trial["state"] not in STATES:
            return f"trial {trial['number']} is {trial['state']!r}"
        reached = [trial["rung"]] if trial["rung"] is not None else []
        if any(str(k) not in map(str, rungs) for k in [*reached, *trial["scores"]]):
            return f"trial {trial['number']} has a rung that the study has not"
    return ""
