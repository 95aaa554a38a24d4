"""Which rows meet in a batch, in which order: a function of seed and epoch, resumable anywhere."""

import contextlib
import queue
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from tunesmith.errors import ModelError, TunesmithError
from tunesmith.runtime.processes import die_with_parent

Batch = dict[str, Any]
Features = dict[str, Any]
Collate = Callable[[list[Features]], Batch]
Order = Callable[[int, np.random.Generator], np.ndarray]  # how many features -> which, in order
Augment = Callable[[Features, np.random.Generator, Sequence[Features]], Features]


def no_augmentation(
    features: Features, rng: np.random.Generator, others: Sequence[Features]
) -> Features:
    """Draw nothing."""
    return features


class AugmentedDataset(Dataset):
    """The features of a split as one epoch sees them: what varies is drawn by their index."""

    def __init__(self, features: Any, augment: Augment, seed: Sequence[int]) -> None:
        self.features, self.augment, self.seed = features, augment, list(seed)

    def __len__(self) -> int:
        return len(self.features)

    def __getitems__(self, indices: Sequence[int]) -> list[Features]:
        found = self.features.__getitems__(indices)
        if self.augment is no_augmentation:
            return found
        return [
            self.augment(features, np.random.default_rng([*self.seed, i]), self.features)
            for i, features in zip(indices, found, strict=True)
        ]


def shuffled(count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw every one of `count` features once."""
    return rng.permutation(count)


def plan_epoch(
    lengths: np.ndarray,
    batch_size: int,
    window: int,
    seed: int,
    epoch: int,
    order_of: Order = shuffled,
) -> list[np.ndarray]:
    """Deal all rows into batches for one epoch; the last one dealt may be smaller.

    They are drawn in an order, then sorted by length inside windows of `window` batches, so that
    rows of a batch have similar lengths and yet meet others in each epoch; 0 does not sort.
    """
    rng = np.random.default_rng([seed, epoch])
    order = order_of(len(lengths), rng)
    if window == 0:
        return np.split(order, range(batch_size, len(order), batch_size))
    batches: list[np.ndarray] = []
    for start in range(0, len(order), batch_size * window):
        rows = order[start : start + batch_size * window]
        rows = rows[np.argsort(lengths[rows], kind="stable")]
        cut = np.split(rows, range(batch_size, len(rows), batch_size))
        batches += [cut[i] for i in rng.permutation(len(cut))]
    return batches


def micro_batches_of(
    rows: np.ndarray, micro_batches: int, ranks: int, rank: int
) -> list[np.ndarray]:
    """Return this rank's part of each of the `accumulate` pieces of a batch; parts may be empty.

    Pieces are runs of similar length (little padding); ranks take turns in a piece (equal work).
    """
    return [piece[rank::ranks] for piece in np.array_split(rows, micro_batches)]


class TrainLoader:
    """The batches of the train split, one epoch after another.

    Not a DataLoader, so that Lightning leaves it alone: it makes one for each epoch, from
    the position on, and counts what it has handed out, not what a worker has fetched. Its
    state goes into the checkpoint. An empty part of a batch is one row with `blank` set:
    every rank takes every step, and blanks weigh nothing.
    """

    def __init__(
        self,
        features: Any,
        lengths: np.ndarray,
        augment: Augment,
        collate: Collate,
        *,
        batch_size: int,
        window: int,
        seed: int,
        workers: int,
        identity: str,
        micro_batches: int = 1,
        ranks: int = 1,
        rank: int = 0,
        limit: int | None = None,
        order: Order = shuffled,
        pinned: bool = False,
        planned: Sequence[np.ndarray] | None = None,
    ) -> None:
        self.order, self.pinned = order, pinned
        self.planned = planned  # batches in place of those of every epoch
        self.features, self.lengths, self.augment, self.collate = (
            features,
            lengths,
            augment,
            collate,
        )
        self.batch_size, self.window, self.seed = batch_size, window, seed
        self.workers, self.identity = workers, identity
        self.micro_batches, self.ranks, self.rank = micro_batches, ranks, rank
        self.limit = limit
        self.epoch = 0
        self.position = 0  # parts handed out in this epoch

    @property
    def steps(self) -> int:
        """Optimizer steps of an epoch."""
        if self.planned is not None:
            return len(self.planned)
        batches = -(-len(self.lengths) // self.batch_size)
        return batches if self.limit is None else min(batches, self.limit)

    def __len__(self) -> int:
        return self.steps * self.micro_batches

    @property
    def sampler(self) -> "TrainLoader":
        return self  # where Lightning looks for set_epoch

    def set_epoch(self, epoch: int) -> None:
        if epoch != self.epoch:
            self.epoch, self.position = epoch, 0

    def batches(self, epoch: int) -> list[np.ndarray]:
        """Return the rows of each batch of an epoch, over all ranks and pieces."""
        if self.planned is not None:
            return list(self.planned)
        how = self.batch_size, self.window, self.seed, epoch, self.order
        return plan_epoch(self.lengths, *how)[: self.steps]

    def __iter__(self) -> Iterator[Batch]:
        # All lazily: Lightning calls iter() before it restores the state.
        parts = [
            (part if len(part) else rows[:1], not len(part))
            for rows in self.batches(self.epoch)
            for part in micro_batches_of(rows, self.micro_batches, self.ranks, self.rank)
        ][self.position :]
        features = AugmentedDataset(self.features, self.augment, [self.seed, self.epoch])
        loader = _data_loader(features, [rows for rows, _ in parts], self.collate, self.workers)
        blanks = (torch.tensor(blank) for _, blank in parts)
        batches: Iterator[Batch] = (
            {**batch, "blank": blank} for batch, blank in zip(loader, blanks, strict=True)
        )
        if self.pinned:
            batches = map(pin, batches)
        if self.pinned and not self.workers:  # which make batches ahead themselves
            batches = prefetched(batches)
        for batch in batches:
            self.position += 1
            yield batch

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "position": self.position, "identity": self.identity}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state["identity"] != self.identity:
            raise ModelError("RESUME-DATA", "checkpoint", "the train rows are not those it saw")
        self.epoch, self.position = state["epoch"], state["position"]
        if self.position >= len(self):
            self.epoch, self.position = self.epoch + 1, 0


def pin(batch: Batch) -> Batch:
    """Move a batch into page-locked memory, which a GPU reads while the CPU goes on."""
    return {name: tensor.pin_memory() for name, tensor in batch.items()}


def prefetched(batches: Iterator[Batch], count: int = 4) -> Iterator[Batch]:
    """Yield the batches, of which a thread makes at most `count` before they are asked for.

    An error is raised where its batch would have been. The thread ends with the iterator.
    """
    done = object()
    ready: queue.Queue[Any] = queue.Queue(count)
    stopped = threading.Event()

    def put(item: Any) -> None:
        while not stopped.is_set():
            with contextlib.suppress(queue.Full):
                ready.put(item, timeout=0.1)
                return

    def make() -> None:
        try:
            for batch in batches:
                put(batch)
                if stopped.is_set():
                    return
            put(done)
        except BaseException as error:
            put(error)

    thread = threading.Thread(target=make, name="batches", daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not done:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()
        thread.join()


def sample_of_rows(rows: np.ndarray, limit: int) -> np.ndarray:
    """Return the features of rows drawn evenly, at most `limit` but of one row at least.

    `rows` (N,) says which row each feature is of; a row's features stay together.
    """
    drawn = np.random.default_rng(0).permutation(np.unique(rows))
    sizes = np.cumsum(np.bincount(rows, minlength=drawn.max() + 1)[drawn])
    kept = drawn[: max(int((sizes <= limit).sum()), 1)]
    return np.flatnonzero(np.isin(rows, kept))


def evaluation_loader(
    features: Any,
    lengths: np.ndarray,
    augment: Augment,
    collate: Collate,
    *,
    batch_size: int,
    workers: int,
    ranks: int = 1,
    rank: int = 0,
    chosen: np.ndarray | None = None,
) -> DataLoader:
    """Every row once, longest first (memory shows at once), ranks taking turns with batches.

    `chosen` are the features to take, by default all. A rank that would have none repeats the
    first: every rank takes part in the scoring.
    """
    order = np.argsort(-lengths, kind="stable")
    if chosen is not None:
        order = order[np.isin(order, chosen)]
    batches = np.split(order, range(batch_size, len(order), batch_size))
    mine = batches[rank::ranks] or batches[:1]
    return _data_loader(AugmentedDataset(features, augment, []), mine, collate, workers)


class _Loader(DataLoader):
    """Raises here what a worker found wrong with rows: torch would carry its text alone."""

    def __iter__(self) -> Any:
        for batch in super().__iter__():
            if isinstance(batch, TunesmithError):
                raise batch
            yield batch


def _data_loader(
    features: AugmentedDataset, batches: Sequence[np.ndarray], collate: Collate, workers: int
) -> DataLoader:
    return _Loader(
        range(len(features)),  # type: ignore[arg-type]
        batch_sampler=[batch.tolist() for batch in batches],  # type: ignore[arg-type]
        collate_fn=partial(_batch_of, features, collate),
        num_workers=min(workers, len(batches)),
        generator=torch.Generator().manual_seed(0),  # else it draws from the global one
        worker_init_fn=_begin_worker if workers else None,
    )


def _batch_of(
    features: AugmentedDataset, collate: Collate, indices: Sequence[int]
) -> Batch | TunesmithError:
    try:
        return collate(features.__getitems__(indices))
    except TunesmithError as error:
        return error


def _begin_worker(worker: int) -> None:
    die_with_parent()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
