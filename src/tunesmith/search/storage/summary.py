"""summary.json: all that can be said of a study, from its store; everything shown comes from it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tunesmith import config, runs
from tunesmith.reporting.results import COMPLETE, FAILED, PAUSED, RUNNING
from tunesmith.search.storage.trial_record import Record, best_first, steps_spent
from tunesmith.search.trial import Result

UNENDED = {"winner": None, "winner_directory": None, "winner_overrides": None, "test": None}
VERSIONS = ("tunesmith", "torch", "lightning", "transformers", "optuna")


def build_summary(
    folder: Path,
    records: Sequence[Record],
    attributes: Mapping[str, Any],
    spec: Mapping[str, Any],
    ended: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the summary of what a store holds.

    `spec` is what the study was asked (names, settings, space), `ended` how it ended (winner,
    test, why, how long).
    """
    last_rung = len(spec["rungs"]) - 1
    has_ended = ended.get("stopped_by") not in (None, "signal")
    best = best_first(records, spec["mode"])
    states = Counter(_state(record, last_rung, has_ended) for record in records)
    lasts = [r.last for record in records for r in record.replicates.values() if r.last]
    return {
        **spec,
        "space": [_shown(dimension) for dimension in spec["space"]],
        "directory": str(folder),
        "trials": [_trial(record, last_rung, has_ended) for record in records],
        "best": best[0].number if best else None,
        "default": 0 if records and not spec["explicit_grid"] else None,
        "confirmation": attributes.get("confirmation"),
        "counts": {state: states[state] for state in (COMPLETE, PAUSED, FAILED, RUNNING)},
        "rows": dict(lasts[0].rows) if lasts else {},
        "steps": steps_spent(records),
        "full_steps": max((last.total_steps for last in lasts), default=0),
        "versions": _versions(folder, records),
        **ended,
    }


def _shown(dimension: Mapping[str, Any]) -> dict[str, Any]:
    choices = config.mask_value(dimension["key"], dimension["choices"])
    return {**dimension, "choices": choices}


def _versions(folder: Path, records: Sequence[Record]) -> dict[str, str]:
    """Return what the first trial ran on that has written it down."""
    folders = [
        f"trials/{record.number:04d}{seed}"
        for record in records
        for seed in ("", *(f"/seed-{seed}" for seed in record.seeds[:1]))
    ]
    known = (runs.read_json(runs.inside(folder, f"{run}/environment.json")) for run in folders)
    found = (environment.get("packages") for environment in known)
    packages: dict[str, Any] = next((p for p in found if isinstance(p, dict)), {})
    return {name: str(packages[name]) for name in VERSIONS if name in packages}


def _trial(record: Record, last_rung: int, has_ended: bool) -> dict[str, Any]:
    replicates = [record.replicates[s] for s in record.seeds if s in record.replicates]
    first = replicates[0].last if replicates else None
    lasts: list[Result] = [r.last for r in replicates if r.last is not None]
    rungs = record.rungs
    return {
        "number": record.number,
        "state": _state(record, last_rung, has_ended),
        "failure": record.failure,
        "error": record.error,
        "params": {k: config.mask_value(k, value) for k, value in record.params.items()},
        "overrides": [config.mask_override(text) for text in record.overrides],
        "is_default": record.is_default,
        "bracket": record.bracket,
        "score": record.score,
        "deviation": record.deviation,
        "rung": rungs[-1] if rungs else None,
        "scores": {str(rung): record.score_at(rung) for rung in rungs},
        "replicates": [
            {"seed": last.seed, "score": last.score, "best_step": last.best_step} for last in lasts
        ],
        "steps": sum(last.step for last in lasts),
        "total_steps": sum(last.total_steps for last in lasts),
        "horizon": max((last.total_steps for last in lasts), default=0),
        "seconds": sum(replicate.seconds for replicate in replicates),
        "best_step": first.best_step if first else None,
        "history": [dict(entry) for entry in first.history] if first else [],
        "threads": first.threads if first else 0,
        "precision": first.precision if first else "",
        "directory": f"trials/{record.number:04d}",
    }


def _state(record: Record, last_rung: int, has_ended: bool) -> str:
    """Where nothing runs any more, what the budget cut off waits to go on."""
    state = record.state(last_rung)
    return PAUSED if state == RUNNING and has_ended else state
