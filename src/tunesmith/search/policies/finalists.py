"""Finalists: the best trials of a rung, trained to their end once no other trial is to come."""

from collections.abc import Sequence

from tunesmith.search.policies.base import Promote, TrialState


def next_finalist(
    standings: Sequence[TrialState], count: int, top: int, last: int
) -> Promote | None:
    """Return the next of the best `count` trials to be trained on towards the rung `last`.

    They are ranked by the highest rung up to `top` that they have reached, then by their score
    there. None while another trial is still on its way to `top`, or when all have come to the end.
    """
    if any(trial.running and max(trial.scores, default=-1) < top for trial in standings):
        return None
    ranked = sorted(
        ((_rank(trial, top), trial) for trial in standings if trial.scores and not trial.failed),
        reverse=True,
    )
    waiting = [t for _, t in ranked[:count] if not t.running and last not in t.scores]
    return Promote(waiting[0].number) if waiting else None


def _rank(trial: TrialState, top: int) -> tuple[int, float, int]:
    rung = max(rung for rung in trial.scores if rung <= top)
    return rung, trial.scores[rung], -trial.number
