"""Patience: no more trials are started once they would bring less than noise."""

from collections.abc import Sequence

from tunesmith.errors import ConfigError
from tunesmith.reporting import plateau, statistics
from tunesmith.reporting.results import Plateau
from tunesmith.search.policies.base import TrialState
from tunesmith.search.storage.study_db import StudyDatabase


class Patience:
    """Looks for the plateau of a study; the first that it finds is a fact of the study.

    So a later start with the same `patience` and `target` starts no trial either. A larger
    target voids it, and is judged after `patience` more trials; so does another patience.
    """

    def __init__(self, patience: int | None, target: int, database: StudyDatabase) -> None:
        self.patience, self.target, self.database = patience, target, database

    @property
    def plateau(self) -> Plateau | None:
        """Why no more trials are started; None where they are."""
        known = self._known
        return known if known is not None and self.target <= known.target else None

    @property
    def _known(self) -> Plateau | None:
        known = self.database.facts.plateau
        return known if known is not None and known.patience == self.patience else None

    def judge(self, standings: Sequence[TrialState], last: int, mode: str) -> None:
        """Look whether the next trials would bring less than noise; write it down if so."""
        if self.patience is None or self.plateau is not None:
            return
        pairs = list(zip(self.database.records, standings, strict=True))
        if any(record.parent is not None for record, _ in pairs):
            return  # copies of the best are no further draws, and no trial is started after them
        ended = [(record, s) for record, s in pairs if s.scores or s.failed]
        if self._known is not None and len(ended) < self._known.trials + self.patience:
            return
        curves = [s.scores if record.failure is None else {} for record, s in ended]
        gain, best = plateau.expected_gain(curves, self.patience, last), plateau.best_of(curves)
        objective = self.database.facts.objective
        if gain is None or best is None or objective is None:
            return
        alive = [record for record, _ in ended if record.failure is None]
        replicates = [one.seed_scores for one in alive]  # of one rung, also amid a promotion
        rows = next((r.rows.get("validation", 0) for one in alive for r in one.lasts), 0)
        best = best if mode == "max" else -best
        noise = plateau.noise_of(objective.metric, best, rows, replicates)
        if noise is not None and gain < noise.sigma:
            found = Plateau(
                patience=self.patience,
                trials=len(ended),
                target=self.target,
                gain=gain,
                noise=noise.sigma,
                source=noise.source,
            )
            self.database.set("plateau", found)


def check_noise_is_known(patience: int | None, metric: str, seeds: int) -> None:
    """Raise ConfigError where nothing will tell the noise of a score over so many seeds."""
    if patience is None or seeds > 1:
        return
    if statistics.error_of_score(metric, 0.5, rows=100) is None:
        what = f"nothing says how noisy {metric} is, which a gain is compared with"
        fix = "search.replicates=2"
        raise ConfigError("CONF-PATIENCE", f"search.patience={patience}", what, fix)
