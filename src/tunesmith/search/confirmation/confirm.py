"""After the search: the best against the default over fresh seeds, and the winner's model."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tunesmith import config, runs
from tunesmith.reporting.results import Confirmation
from tunesmith.runtime.seeds import derive_seed
from tunesmith.search.confirmation import confirmation_runs
from tunesmith.search.confirmation.comparison import confirm, why_nobody_wins
from tunesmith.search.confirmation.confirmation_runs import DEFAULT
from tunesmith.search.confirmation.sequential import Mode, Plan
from tunesmith.search.storage.trial_record import Record, best_first, lineage
from tunesmith.search.study.search_loop import SearchLoop
from tunesmith.search.trial import Result, Segment

log = logging.getLogger(__name__)

WINNER = "winner"  # folder of the winner's run where it is no trial of the search


def ranked(loop: SearchLoop) -> list[Record]:
    """Return the trials that can win: those that reached the highest rung, the best first."""
    return best_first(loop.records, loop.mode)


def confirm_best(loop: SearchLoop) -> Confirmation | None:
    """Train the best and the default again over fresh seeds, paired; return who wins, and why.

    Raises NoScoreError where none of them came to its end, and where nobody can win.
    """
    top = loop.settings.confirm_top
    finished = [r for r in ranked(loop) if r.rungs[-1] == loop.last_rung]
    if not top or not finished:
        return None
    seeds = fresh_seeds(loop.settings.seed, loop.settings.confirm_seeds, loop.seeds)
    overrides = {record.number: record.overrides for record in candidates(loop, finished, top)}
    default = 0 if loop.default is not None else DEFAULT
    overrides[default] = default_overrides(loop)
    plan = plan_of(loop)
    scores = confirmation_runs.train(loop, overrides, default, seeds, plan)
    if scores is None:
        return None
    nobody = why_nobody_wins(scores, default)
    if nobody is not None:
        raise confirmation_runs.NoScoreError(loop.folder, nobody)
    objective = loop.store.facts.objective
    metric = objective.metric if objective is not None else ""
    found = confirm(scores, default, seeds, plan.mode, metric=metric, stop_early=plan.stop_early)
    loop.store.set("confirmation", found)
    losers = [trial for trial in overrides if trial != found.winner]
    confirmation_runs.tidy(loop, losers, seeds, winner=False)
    return found


def plan_of(loop: SearchLoop) -> Plan:
    """Return how many seeds a confirmation takes at most, and whether it may stop before."""
    mode: Mode = "max" if loop.mode == "max" else "min"
    return Plan(loop.settings.confirm_seeds, loop.settings.confirm_stop_early, mode)


def candidates(loop: SearchLoop, finished: Sequence[Record], top: int) -> list[Record]:
    """Return the first records that differ from each other and from the default config.

    A copy would only take the place of another setting, and raise the bar for all of them.
    """

    def describe(overrides: Sequence[str]) -> str:
        segments = loop.segments
        return config.config_hash(segments.config_of(segments.overrides(overrides, seed=0)))

    def describe_trial(record: Record) -> tuple[tuple[float, str], ...]:
        stages = lineage(record, loop.records, loop.policy.rungs)
        return tuple((until, describe(one.overrides)) for until, one in stages)

    default: tuple[tuple[float, str], ...] = ((1.0, describe(default_overrides(loop))),)
    seen = {default}
    found: list[Record] = []
    for record in finished:
        if len(found) == top:
            break
        identity = describe_trial(record)
        if not record.is_default and identity not in seen:
            found.append(record)
            seen.add(identity)
    return found


def default_overrides(loop: SearchLoop) -> list[str]:
    """Return the config that the search started from."""
    return loop.records[0].overrides if loop.default is not None else list(loop.space.fixed)


def fresh_seeds(seed: int, count: int, used: Sequence[int]) -> list[int]:
    """Return seeds that no trial has trained with."""
    found: list[int] = []
    number = 0
    while len(found) < count:
        new = derive_seed(seed, "confirm", number) % 1_000_000
        if new not in used and new not in found:
            found.append(new)
        number += 1
    return found


def winner_of(loop: SearchLoop, confirmation: Confirmation | None) -> int | None:
    """Return the trial that won: the confirmed one, else the best so far, else none."""
    if confirmation is not None:
        return confirmation.winner
    best = ranked(loop)
    return best[0].number if best else None


def keep_winner(loop: SearchLoop, winner: int, is_confirmed: bool) -> Result | None:
    """Save the winner's weights as a model; open the test split if it has been confirmed, once."""
    key = f"test {winner}" if is_confirmed else f"model {winner}"
    if (known := loop.store.facts.results.get(key)) is not None:
        return known
    segment = winner_segment(loop, winner)
    if not _has_weights(loop, segment):
        trained = loop.train([segment])[0]
        if trained.state != "done":
            return None
    kind: Any = "test" if is_confirmed else "save"
    result = loop.train([_of_kind(segment, kind)])[0]
    if result.state == "done":
        loop.store.add_result(key, result)
    else:
        log.warning("the winner's model could not be saved: %s", result.error)
    return result


def winner_segment(loop: SearchLoop, winner: int) -> Segment:
    """Return the run of the winner that is used: the first that still has its weights."""
    segments = list(_runs_of(loop, winner))
    return next((run for run in segments if _has_weights(loop, run)), segments[0])


def _runs_of(loop: SearchLoop, winner: int) -> Iterator[Segment]:
    """Yield the runs of the winner: its own in the search, then those of its confirmation."""
    if winner != DEFAULT:
        record = loop.records[winner]
        yield loop.segments.of_trial(record, record.seeds[0], loop.last_rung, attempt=0)
    overrides = loop.space.fixed if winner == DEFAULT else loop.records[winner].overrides
    confirmed = loop.store.facts.confirmation
    for seed in confirmed.seeds if confirmed is not None else []:
        yield confirmation_runs.arm(loop, winner, seed, overrides)
    if winner == DEFAULT:
        yield loop.segments.whole(DEFAULT, loop.seeds[0], overrides, loop.folder / WINNER)


def _has_weights(loop: SearchLoop, segment: Segment) -> bool:
    """Say whether a run's best weights are there; if confirmed, those of a whole training.

    The default may win while it waits at a low rung: its whole training is what was confirmed.
    """
    run = Path(segment.directory)
    is_trained = loop.store.facts.confirmation is None or runs.is_finished(run)
    return is_trained and (run / "checkpoints" / "best.ckpt").exists()


def _of_kind(segment: Segment, kind: Any) -> Segment:
    return replace(segment, kind=kind)
