"""The tree-structured Parzen estimator: where good trials are dense, and bad ones are not."""

from collections.abc import Sequence
from typing import Any

from tunesmith.search.samplers.base import Observation
from tunesmith.search.samplers.model_based import Block, ModelledSampler
from tunesmith.search.samplers.optuna_adapter import View


class TpeSampler(ModelledSampler):
    """Optuna's multivariate TPE (Bergstra et al., 2011; Falkner et al., 2018).

    A trial that runs counts as a bad one, so that two workers do not try the same.
    """

    def suggest(
        self, block: Block, seen: Sequence[Observation], running: Sequence[Observation], seed: int
    ) -> dict[str, Any]:
        from optuna.samplers import TPESampler

        sampler = TPESampler(seed=seed, n_startup_trials=0, multivariate=True, constant_liar=True)
        return View(block, seen, running).ask(sampler)
