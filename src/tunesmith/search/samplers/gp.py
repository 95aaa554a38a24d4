"""A Gaussian process: for few, dear trials in a space of few dimensions."""

from collections.abc import Sequence
from typing import Any

from tunesmith.search.samplers.base import Observation
from tunesmith.search.samplers.model_based import Block, ModelledSampler
from tunesmith.search.samplers.optuna_adapter import View


class GpSampler(ModelledSampler):
    """Optuna's GP with the logarithm of expected improvement (Ament et al., 2023).

    Trials that run are accounted for by their expected results. Its time grows with the cube of
    the trials, so it looks at fewer of them. It imports torch.
    """

    most = 200
    best = 50

    def suggest(
        self, block: Block, seen: Sequence[Observation], running: Sequence[Observation], seed: int
    ) -> dict[str, Any]:
        from optuna.samplers import GPSampler

        return View(block, seen, running).ask(GPSampler(seed=seed, n_startup_trials=0))
