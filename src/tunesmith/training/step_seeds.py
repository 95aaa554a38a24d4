"""Randomness without state: every step's seed is a function of the run's seed and its place."""

import random
from typing import Any

import lightning as L
import numpy as np
import torch

from tunesmith.runtime.seeds import derive_seed


def set_seed(seed: int) -> None:
    """Seed torch (all devices), numpy and random."""
    torch.manual_seed(seed)
    np.random.seed(seed)  # libraries may still draw from it
    random.seed(seed)


class SeedEachStep(L.Callback):
    """Seeds before each batch, so that a resumed run draws the dropout of an undisturbed one."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: L.Trainer, module: L.LightningModule, batch: Any, index: int
    ) -> None:
        set_seed(derive_seed(self.seed, "step", trainer.global_rank, trainer.current_epoch, index))
