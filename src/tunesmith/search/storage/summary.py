"""The results of a study, made of its store: what summary.json holds, and all that is shown."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tunesmith import config, runs
from tunesmith.reporting.results import (
    FORMAT,
    Confirmation,
    SearchedDimension,
    StudyEnd,
    StudyResults,
    StudySpec,
)
from tunesmith.reporting.trial_results import (
    COMPLETE,
    FAILED,
    PAUSED,
    RUNNING,
    SeedScore,
    State,
    TrialResult,
)
from tunesmith.search.storage.trial_record import Record, best_first, steps_spent

VERSIONS = ("tunesmith", "torch", "lightning", "transformers", "optuna")


def build_results(
    folder: Path,
    records: Sequence[Record],
    spec: StudySpec,
    end: StudyEnd,
    confirmation: Confirmation | None,
) -> StudyResults:
    """Return what a store's trials come to; values of secret settings are masked."""
    last_rung = len(spec.rungs) - 1
    has_ended = end.stopped_by not in (None, "signal")
    best = best_first(records, spec.mode)
    trials = [_trial(record, last_rung, has_ended) for record in records]
    states = Counter(trial.state for trial in trials)
    counted: list[State] = [COMPLETE, PAUSED, FAILED, RUNNING]
    lasts = [last for record in records for last in record.lasts]
    asked = dict(spec) | {"space": [_shown(dimension) for dimension in spec.space]}
    return StudyResults(
        **asked,
        **dict(end),
        format=FORMAT,
        directory=str(folder),
        trials=trials,
        best=best[0].number if best else None,
        default=0 if records and not spec.explicit_grid else None,
        confirmation=confirmation,
        counts={state: states[state] for state in counted},
        rows=dict(lasts[0].rows) if lasts else {},
        steps=steps_spent(records),
        full_steps=max((last.total_steps for last in lasts), default=0),
        versions=_versions(folder, records),
    )


def _shown(dimension: SearchedDimension) -> SearchedDimension:
    choices = config.mask_value(dimension.key, dimension.choices)
    return dimension.model_copy(update={"choices": choices})


def _versions(folder: Path, records: Sequence[Record]) -> dict[str, str]:
    """Return what the first trial ran on that has written it down."""
    folders = [
        f"trials/{record.number:04d}{seed}"
        for record in records
        for seed in ("", *(f"/seed-{seed}" for seed in record.seeds[:1]))
    ]
    known = (runs.read_json(runs.inside(folder, f"{run}/environment.json")) for run in folders)
    found = (environment.get("packages") for environment in known)
    packages = next((p for p in found if isinstance(p, dict)), {})
    return {name: str(packages[name]) for name in VERSIONS if name in packages}


def _trial(record: Record, last_rung: int, has_ended: bool) -> TrialResult:
    lasts, rungs = record.lasts, record.rungs
    first = record.ran[0].last if record.ran else None
    state = record.state(last_rung)
    return TrialResult(
        number=record.number,
        # Where nothing runs any more, what the budget cut off waits to go on.
        state=PAUSED if state == RUNNING and has_ended else state,
        failure=record.failure,
        error=record.error,
        params={k: config.mask_value(k, value) for k, value in record.params.items()},
        overrides=[config.mask_override(text) for text in record.overrides],
        is_default=record.is_default,
        bracket=record.bracket,
        score=record.score,
        deviation=record.deviation,
        rung=rungs[-1] if rungs else None,
        scores={rung: record.score_at(rung) for rung in rungs},
        replicates=[
            SeedScore(seed=last.seed, score=last.score, best_step=last.best_step) for last in lasts
        ],
        steps=record.steps,
        total_steps=sum(last.total_steps for last in lasts),
        horizon=max((last.total_steps for last in lasts), default=0),
        seconds=record.seconds,
        best_step=first.best_step if first else None,
        history=first.history if first else [],
        threads=first.threads if first else 0,
        precision=first.precision if first else "",
        directory=f"trials/{record.number:04d}",
        parent=record.parent,
    )
