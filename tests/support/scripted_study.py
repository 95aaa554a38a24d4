"""A search without training: scripted scores, a log that is the only memory, any worker first."""

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tunesmith.reporting.trial_results import Parent
from tunesmith.search.policies.base import Branch, Policy, Promote, TrialState

Score = Callable[[int, int], float | None]  # (number, rung) -> score, None if the trial fails


class Began(NamedTuple):
    number: int
    bracket: int
    rung: int
    parent: int | None = None  # whose checkpoint of the rung before it begins from


class Ended(NamedTuple):
    number: int
    rung: int
    score: float | None


Log = list[Began | Ended]


def scores(seed: int, failing: float = 0.0, levels: int = 1000) -> Score:
    """Return best-so-far scores that rise with the rung; few levels make many ties."""

    def score(number: int, rung: int) -> float | None:
        draws = [random.Random(f"{seed}/{number}/{r}") for r in range(rung + 1)]
        if draws[-1].random() < failing:
            return None
        return sum(draw.randrange(levels) / levels * 0.5**r for r, draw in enumerate(draws))

    return score


def search(
    policy: Policy,
    score: Score,
    target: int,
    workers: int = 1,
    seed: int = 0,
    log: Sequence[Began | Ended] = (),
) -> Log:
    """Run a search to its end, or go on with one that its log remembers.

    Segments take a random time that the seed fixes, so that any worker may end first.
    """
    log = list(log)
    while True:
        assert len(log) <= 2 * target * len(policy.rungs), "this search does not end"
        running = under_way(log)
        may_start = len(roots(log)) < target
        action = policy.next(standings(log), may_start) if len(running) < workers else None
        if isinstance(action, Promote):
            last = [entry for entry in log if entry.number == action.number][-1]
            log.append(Began(action.number, bracket_of(log, action.number), last.rung + 1))
        elif isinstance(action, Branch):
            log.append(Began(len(firsts(log)), 0, action.rung + 1, action.parent))
        elif action is not None:
            rung = policy.first_rung(action.bracket)
            log.append(Began(len(firsts(log)), action.bracket, rung))
        elif running:
            number, _, rung, _ = min(running, key=lambda s: random.Random(f"{seed}/{s}").random())
            log.append(Ended(number, rung, score(number, rung)))
        else:
            return log


def firsts(log: Sequence[Began | Ended]) -> list[Began]:
    """Return the first segment of every trial."""
    found: dict[int, Began] = {}
    for entry in log:
        if isinstance(entry, Began):
            found.setdefault(entry.number, entry)
    return list(found.values())


def roots(log: Sequence[Began | Ended]) -> list[Began]:
    """Return the first segment of every trial that began from the model."""
    return [first for first in firsts(log) if first.parent is None]


def bracket_of(log: Sequence[Began | Ended], number: int) -> int:
    return next(first.bracket for first in firsts(log) if first.number == number)


def under_way(log: Sequence[Began | Ended]) -> list[Began]:
    ended = {(entry.number, entry.rung) for entry in log if isinstance(entry, Ended)}
    began = [entry for entry in log if isinstance(entry, Began)]
    return [entry for entry in began if (entry.number, entry.rung) not in ended]


def standings(log: Sequence[Began | Ended]) -> list[TrialState]:
    """Rebuild what a policy sees from the log alone."""
    running = {entry.number for entry in under_way(log)}
    ended = [entry for entry in log if isinstance(entry, Ended)]
    reached: dict[int, dict[int, float]] = {first.number: {} for first in firsts(log)}
    for number, rung, score in ended:
        if score is not None:
            reached[number][rung] = score
    failed = {entry.number for entry in ended if entry.score is None}
    return [
        TrialState(
            number,
            bracket,
            reached[number],
            number in running,
            number in failed,
            None if parent is None else Parent(trial=parent, rung=rung - 1),
        )
        for number, bracket, rung, parent in firsts(log)
    ]


def segments(log: Sequence[Began | Ended]) -> list[tuple[int, int]]:
    """Return (number, rung) of each segment in the order they began."""
    return [(entry.number, entry.rung) for entry in log if isinstance(entry, Began)]


def share_of_full(log: Sequence[Began | Ended], policy: Policy) -> float:
    """Return what was trained, in full trainings; a first segment begins at zero."""
    starts = {(first.number, first.rung) for first in roots(log)}
    return sum(
        policy.rungs[rung] - (0 if (number, rung) in starts else policy.rungs[rung - 1])
        for number, rung in segments(log)
    )
