"""What a sampler may learn from: scores of equal training, more is better."""

from collections import Counter
from collections.abc import Sequence
from itertools import chain

from tunesmith.search.policies.base import TrialState
from tunesmith.search.samplers.base import Observation
from tunesmith.search.storage.trial_record import Record


def observations(
    records: Sequence[Record], standings: Sequence[TrialState], enough: int
) -> list[Observation]:
    """Return the trials with their scores at the highest rung that `enough` have reached.

    That is where there is enough to learn from (Falkner et al., 2018, BOHB); a trial that waits
    there counts like one that went on. Failed ones are as bad as the worst.
    """
    rung = _rung(standings, enough)
    worst = min([s.scores[rung] for s in standings if rung in s.scores], default=None)
    return [
        Observation(number, record.params, value)
        for record, (number, _, scores, running, failed, _) in zip(records, standings, strict=True)
        if (value := worst if failed else scores.get(rung)) is not None or (running and not failed)
    ]


def _rung(standings: Sequence[TrialState], enough: int) -> int:
    """Return the highest rung that enough trials have reached, else the lowest that any has."""
    reached = Counter(chain.from_iterable([standing.scores for standing in standings]))
    lowest = min(reached, default=0)
    return max((rung for rung, count in reached.items() if count >= enough), default=lowest)
