"""Rows in, batches out. Of a task it knows how rows are encoded and collated."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from datasets import Dataset
from lightning import LightningDataModule
from torch.utils.data import DataLoader

from tunesmith.data.batching.feature_cache import Encoded, encode, report_truncation
from tunesmith.data.batching.loaders import (
    Augment,
    Batch,
    Features,
    Order,
    TrainLoader,
    evaluation_loader,
    no_augmentation,
    sample_of_rows,
    shuffled,
)
from tunesmith.data.batching.state_cache import FeaturesWithStates, States, collated
from tunesmith.data.prepare.languages import balanced, groups_of


class Encoder(Protocol):
    """What the module needs of a task: from a row to features, from features to a batch."""

    def encode_batch(self, rows: Sequence[Mapping[str, Any]]) -> list[list[Features]]: ...

    def collate(self, features: list[Features]) -> Batch: ...


class DataModule(LightningDataModule):
    """The encoded splits of a run and their loaders.

    `identity` names all that encoding depends on (rows, tokenizer, task, lengths): it keys
    the cache and is checked when a checkpoint is loaded. `train_rows` names the train split alone.
    Rows are encoded in at most `processes` processes. `widen` pads batches of training further.
    """

    def __init__(
        self,
        rows: Mapping[str, Dataset],
        task: Encoder,
        *,
        augment: Augment,
        widen: Callable[[Batch], Batch] | None = None,
        truncation_note: str,
        identity: Mapping[str, Any],
        train_rows: str,
        cache: Path,
        processes: int,
        seed: int,
        on_truncation: str,
        batch_size: int,
        eval_batch_size: int,
        bucket_window: int,
        language_temperature: float,
        workers: int,
        micro_batches: int = 1,
        limit_train_batches: int | None = None,
        limit_val_batches: int | None = None,
    ) -> None:
        super().__init__()
        self.rows, self.train_rows = dict(rows), train_rows
        self.task, self.augment, self.widen = task, augment, widen
        self.seed, self.workers = seed, workers
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.bucket_window, self.micro_batches = bucket_window, micro_batches
        self.language_temperature = language_temperature
        self.limit_train_batches = limit_train_batches
        self.limit_val_batches = limit_val_batches
        self.planned: list[np.ndarray] | None = None  # batches of training that are to be measured
        self.key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        self.states: dict[str, States] = {}  # of splits whose batches have those as well
        self.encoded: dict[str, Encoded] = {}
        for split, dataset in self.rows.items():
            key = f"{self.key[:40]}-{split}"
            self.encoded[split] = encode(dataset, task.encode_batch, key, cache, processes)
            report_truncation(self.encoded[split], split, truncation_note, on_truncation)

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of one pass over the train split."""
        return self._train_loader(1, 0).steps

    def train_dataloader(self) -> TrainLoader:
        return self._train_loader(*self._world())

    def val_dataloader(self) -> DataLoader:
        return self.evaluation_loader("validation", *self._world())

    def evaluation_loader(self, split: str, ranks: int = 1, rank: int = 0) -> DataLoader:
        """Return the batches of a split, the same ones whoever asks: scores repeat to the bit."""
        features, lengths, _ = self.encoded[split]
        limit = self.limit_val_batches if split == "validation" else None
        chosen = None
        if limit is not None:  # the first batches would be the longest rows alone
            chosen = sample_of_rows(features.rows, limit * self.eval_batch_size)
        return evaluation_loader(
            self._features(split),
            lengths,
            self.augment,
            self._collate,
            batch_size=self.eval_batch_size,
            workers=self.workers,
            ranks=ranks,
            rank=rank,
            chosen=chosen,
        )

    def whole(self, split: str) -> DataLoader:
        """Return every row of a split once, as it was encoded, on every rank alike."""
        return evaluation_loader(
            self._features(split),
            self.encoded[split].lengths,
            no_augmentation,
            self._collate,
            batch_size=self.eval_batch_size,
            workers=self.workers,
        )

    def _train_loader(self, ranks: int, rank: int) -> TrainLoader:
        return TrainLoader(
            self._features("train"),
            self.encoded["train"].lengths,
            self.augment,
            self._collate_training,
            batch_size=self.batch_size,
            window=self.bucket_window,
            order=self._order(),
            seed=self.seed,
            workers=self.workers,
            identity=self.key,
            micro_batches=self.micro_batches,
            ranks=ranks,
            rank=rank,
            limit=self.limit_train_batches,
            pinned=self.trainer is not None and self.trainer.strategy.root_device.type == "cuda",
            planned=self.planned,
        )

    def _collate_training(self, features: list[Features]) -> Batch:
        batch = self._collate(features)
        return batch if self.widen is None else self.widen(batch)

    def _collate(self, features: list[Features]) -> Batch:
        return collated(self.task.collate, features)

    def _features(self, split: str) -> Any:
        features = self.encoded[split].features
        return (
            FeaturesWithStates(features, self.states[split]) if split in self.states else features
        )

    def _order(self) -> Order:
        """Return how an epoch's features are drawn."""
        features = self.encoded["train"].features
        groups = None
        if self.language_temperature != 1:
            groups = groups_of(self.rows["train"], features.rows)
        if groups is None:
            return shuffled
        return partial(balanced, groups, self.language_temperature)

    def _world(self) -> tuple[int, int]:
        return (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)
