"""After the search: the best against the default over fresh seeds, and the winner's model."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tunesmith import rundir
from tunesmith.seeds import derive
from tunesmith.sweep.confirmation import Confirmation, confirm
from tunesmith.sweep.record import Record
from tunesmith.sweep.study import Study
from tunesmith.sweep.trial import Result, Segment

log = logging.getLogger(__name__)

DEFAULT = -1  # number of the default config where it is no trial: in an explicit grid
WINNER = "winner"  # folder of the winner's run where it is no trial of the search


def ranked(study: Study) -> list[Record]:
    """Return the trials that can win: those that reached the highest rung, the best first."""
    return best_first(study.records, study.mode)


def best_first(records: Sequence[Record], mode: str) -> list[Record]:
    """Return the trials that did not fail and have a score: highest rung, then score."""
    sign = 1 if mode == "max" else -1
    alive = [r for r in records if r.failure is None and r.score is not None]
    return sorted(alive, key=lambda r: (-r.rungs[-1], -sign * (r.score or 0.0), r.number))


def confirm_best(study: Study) -> Confirmation | None:
    """Train the best and the default anew over fresh seeds, paired; say who wins, and why."""
    top = study.settings.confirm_top
    finished = [r for r in ranked(study) if r.rungs[-1] == study.last_rung]
    if not top or not finished:
        return None
    candidates = [record for record in finished if not record.is_default][:top]
    seeds = fresh_seeds(study.settings.seed, study.settings.confirm_seeds, study.seeds)
    overrides = {record.number: record.overrides for record in candidates}
    default = 0 if study.default is not None else DEFAULT
    overrides[default] = default_overrides(study)
    scores = _scores(study, overrides, seeds)
    if scores is None:
        return None
    found = confirm(scores, default, seeds, mode="max" if study.mode == "max" else "min")
    study.store.set("confirmation", found.as_dict())
    return found


def default_overrides(study: Study) -> list[str]:
    """Return the config that the search started from."""
    return study.records[0].overrides if study.default is not None else list(study.space.fixed)


def fresh_seeds(seed: int, count: int, used: Sequence[int]) -> list[int]:
    """Return seeds that no trial has trained with."""
    found: list[int] = []
    number = 0
    while len(found) < count:
        new = derive(seed, "confirm", number) % 1_000_000
        if new not in used and new not in found:
            found.append(new)
        number += 1
    return found


def _scores(
    study: Study, overrides: dict[int, list[str]], seeds: Sequence[int]
) -> dict[int, list[float | None]] | None:
    """Train each arm on each seed, or read what an earlier start has trained."""
    wanted = [(trial, seed) for seed in seeds for trial in overrides]
    missing = [pair for pair in wanted if _key(*pair) not in study.store.attributes]
    segments = [_arm(study, trial, seed, overrides[trial]) for trial, seed in missing]
    for pair, result in zip(missing, study.train(segments), strict=True):
        if result.state == "interrupted":
            log.warning("the budget ended before the confirmation did: nothing is confirmed")
            return None
        study.store.set(_key(*pair), result.plain())
    known = study.store.attributes
    return {t: [_score(known[_key(t, seed)]) for seed in seeds] for t in overrides}


def _key(trial: int, seed: int) -> str:
    return f"confirm {trial} {seed}"


def _score(result: dict[str, Any]) -> float | None:
    return result["score"] if result["state"] == "done" else None


def _arm(study: Study, trial: int, seed: int, overrides: Sequence[str]) -> Segment:
    name = "default" if trial == DEFAULT else f"{trial:04d}"
    return _whole(study, trial, seed, overrides, study.folder / "confirm" / f"{name}-seed-{seed}")


def _whole(study: Study, trial: int, seed: int, overrides: Sequence[str], folder: Path) -> Segment:
    """Return a whole training that is no trial of the search: it has no row."""
    typed = study.overrides_of(overrides, seed)
    config = study.config_of(typed)
    return Segment(
        trial=trial,
        seed=seed,
        rung=study.last_rung,
        until=1.0,
        attempt=0,
        directory=str(folder),
        config=config,
        overrides=typed,
        hparams={},
    )


def winner_of(study: Study, confirmation: Confirmation | None) -> int | None:
    """Return the trial that won: the confirmed one, else the best so far, else none."""
    if confirmation is not None:
        return confirmation.winner
    best = ranked(study)
    return best[0].number if best else None


def keep_winner(study: Study, winner: int, is_confirmed: bool) -> Result | None:
    """Save the winner's weights as a model; open the test split if it has been confirmed, once."""
    key = f"test {winner}" if is_confirmed else f"model {winner}"
    if key in study.store.attributes:
        return Result(**study.store.attributes[key])
    segment = winner_segment(study, winner)
    if not _has_weights(study, segment):
        trained = study.train([segment])[0]
        if trained.state != "done":
            return None
    kind: Any = "test" if is_confirmed else "save"
    result = study.train([_of_kind(segment, kind)])[0]
    if result.state == "done":
        study.store.set(key, result.plain())
    else:
        log.warning("the winner's model could not be saved: %s", result.error)
    return result


def winner_segment(study: Study, winner: int) -> Segment:
    """Return the run of the winner that is used: the first that still has its weights."""
    runs = list(_runs_of(study, winner))
    return next((run for run in runs if _has_weights(study, run)), runs[0])


def _runs_of(study: Study, winner: int) -> Iterator[Segment]:
    """Yield the runs of the winner: its own in the search, then those of its confirmation."""
    if winner != DEFAULT:
        record = study.records[winner]
        yield study.segment(record, record.seeds[0], study.last_rung, attempt=0)
    overrides = study.space.fixed if winner == DEFAULT else study.records[winner].overrides
    confirmed = study.store.attributes.get("confirmation") or {"seeds": []}
    for seed in confirmed["seeds"]:
        yield _arm(study, winner, seed, overrides)
    if winner == DEFAULT:
        yield _whole(study, DEFAULT, study.seeds[0], overrides, study.folder / WINNER)


def _has_weights(study: Study, segment: Segment) -> bool:
    """Say whether a run's best weights are there; if confirmed, those of a whole training.

    The default may win while it waits at a low rung: its whole training is what was confirmed.
    """
    run = Path(segment.directory)
    is_trained = study.store.attributes.get("confirmation") is None or rundir.is_finished(run)
    return is_trained and (run / "checkpoints" / "best.ckpt").exists()


def _of_kind(segment: Segment, kind: Any) -> Segment:
    from dataclasses import replace

    return replace(segment, kind=kind)
