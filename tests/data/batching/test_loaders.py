"""The order of batches: every row once, short padding, a function of seed and epoch alone."""

import logging
import threading
from itertools import chain

import numpy as np
import pytest
import torch

from tunesmith.data.batching import loaders
from tunesmith.data.batching.feature_cache import Encoded, report_truncation
from tunesmith.data.batching.loaders import (
    TrainLoader,
    evaluation_loader,
    micro_batches_of,
    plan_epoch,
    sample_of_rows,
)
from tunesmith.errors import ModelError

LENGTHS = np.random.default_rng(0).integers(3, 60, size=1000)


class Rows(torch.utils.data.Dataset):
    def __len__(self):
        return len(LENGTHS)

    def __getitems__(self, indices):
        return [{"row": i} for i in indices]


def as_it_is(features, rng, others):
    return features


def drawn(features, rng, others):
    """Put a draw beside the row; `others` is the whole split."""
    assert len(others) == len(LENGTHS)
    return {"row": features["row"] + 10_000 * int(rng.integers(1, 1000))}


def collate(features):
    return {"rows": torch.tensor([f["row"] for f in features])}


def loader(vary=as_it_is, **options):
    defaults = {"batch_size": 8, "window": 4, "seed": 1, "workers": 0, "identity": "x"}
    return TrainLoader(Rows(), LENGTHS, vary, collate, **{**defaults, **options})


def rows_of(batches):
    return [batch["rows"].tolist() for batch in batches]


@pytest.mark.parametrize("window", [0, 1, 32])
def test_every_row_comes_once_an_epoch(window):
    batches = plan_epoch(LENGTHS, 32, window, seed=0, epoch=0)
    assert sorted(np.concatenate(batches)) == list(range(1000))
    assert sorted({len(b) for b in batches}) == [8, 32]


def test_planned_batches_stand_for_those_of_every_epoch():
    plan = loader(planned=[np.array([3, 1]), np.array([2])], micro_batches=2)
    assert (plan.steps, len(plan)) == (2, 4)
    assert rows_of(plan) == [[3], [1], [2], [2]]  # the last piece is blank


def test_order_is_a_function_of_seed_and_epoch():
    def order(seed, epoch):
        return np.concatenate(plan_epoch(LENGTHS, 32, 8, seed, epoch)).tolist()

    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(0, 1)
    assert order(0, 0) != order(1, 0)


def test_padding_is_under_five_percent_on_short_texts():
    batches = plan_epoch(LENGTHS, 32, 32, seed=0, epoch=0)
    padded = sum(len(b) * LENGTHS[b].max() for b in batches)
    assert 1 - LENGTHS.sum() / padded < 0.05


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("micro_batches", [1, 2])
def test_ranks_and_pieces_make_up_the_same_batches(ranks, micro_batches):
    whole = [set(rows) for rows in rows_of(loader())]
    parts = [
        [
            [] if b["blank"] else b["rows"].tolist()
            for b in loader(ranks=ranks, rank=r, micro_batches=micro_batches)
        ]
        for r in range(ranks)
    ]
    pieces = [list(chain.from_iterable(part[i] for part in parts)) for i in range(len(parts[0]))]
    joined = [
        set(chain.from_iterable(pieces[i : i + micro_batches]))
        for i in range(0, len(pieces), micro_batches)
    ]
    assert joined == whole


def test_an_empty_part_is_a_blank_row():
    assert [len(p) for p in micro_batches_of(np.arange(3), 2, 2, 1)] == [1, 0]
    tail = loader(batch_size=999, window=0, ranks=2, rank=1)
    assert [bool(b["blank"]) for b in tail] == [False, True]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_goes_on_where_its_state_says(workers):
    whole = rows_of(loader(batch_size=100, workers=workers))
    first = loader(batch_size=100, workers=workers)
    batches = iter(first)
    seen = rows_of([next(batches) for _ in range(3)])
    second = loader(batch_size=100, workers=workers)
    second.load_state_dict(first.state_dict())
    assert seen + rows_of(second) == whole


def test_a_state_at_the_epochs_end_is_the_next_epochs_start():
    first = loader(batch_size=100)
    rows_of(first)
    second = loader(batch_size=100)
    second.load_state_dict(first.state_dict())
    assert second.epoch == 1
    third = loader(batch_size=100)
    third.set_epoch(1)
    assert rows_of(second) == rows_of(third)


def test_a_state_of_other_rows_is_refused():
    state = loader().state_dict() | {"identity": "y"}
    with pytest.raises(ModelError, match="RESUME-DATA"):
        loader().load_state_dict(state)


def test_evaluation_sees_every_row_once_over_all_ranks():
    batches = [
        batch
        for rank in range(2)
        for batch in rows_of(
            evaluation_loader(
                Rows(), LENGTHS, as_it_is, collate, batch_size=64, workers=0, ranks=2, rank=rank
            )
        )
    ]
    assert sorted(chain.from_iterable(batches)) == list(range(1000))


def test_a_limited_validation_scores_rows_drawn_evenly_not_the_longest():
    lengths = np.repeat([3, 12], 500)
    rows = np.arange(1000)
    chosen = sample_of_rows(rows, 8 * 16)
    assert len(chosen) == 128
    assert 40 < int((lengths[chosen] == 12).sum()) < 88  # half of them, not all
    options = {"batch_size": 16, "workers": 0, "chosen": chosen}
    batches = rows_of(evaluation_loader(Rows(), lengths, as_it_is, collate, **options))
    assert sorted(chain.from_iterable(batches)) == chosen.tolist()
    # Windows of a row stay together, and at least one row is scored.
    windows = np.repeat(np.arange(100), 5)
    kept = sample_of_rows(windows, 23)
    assert len(kept) == 20
    assert np.unique(windows[kept], return_counts=True)[1].tolist() == [5] * 4
    assert len(sample_of_rows(windows, 2)) == 5


def draws(loader):
    return dict(sorted((n % 10_000, n // 10_000) for rows in rows_of(loader) for n in rows))


def test_what_varies_is_a_function_of_seed_epoch_and_row_alone():
    first = loader(drawn)
    assert draws(first) == draws(loader(drawn, batch_size=5, workers=2, micro_batches=2))
    assert draws(first) != draws(loader(drawn, seed=2))
    resumed = loader(drawn)
    resumed.load_state_dict(first.state_dict())  # at the end of epoch 0
    first.set_epoch(1)
    second = draws(first)
    assert draws(resumed) == second != draws(loader(drawn))


def test_an_evaluation_draws_the_same_each_time():
    once, again = (
        draws(evaluation_loader(Rows(), LENGTHS, drawn, collate, batch_size=size, workers=0))
        for size in (16, 64)
    )
    assert once == again


@pytest.mark.parametrize(
    ("cut", "level", "part"),
    [(1, logging.INFO, "under 1%"), (8, logging.INFO, "4%"), (126, logging.WARNING, "63%")],
)
def test_much_that_is_truncated_is_seen_on_the_screen(caplog, cut, level, part):
    full = np.array([90] * cut + [8] * (200 - cut))
    encoded = Encoded(None, np.minimum(full, 64), full)
    with caplog.at_level(logging.INFO):
        report_truncation(encoded, "train", "texts truncated at 64 tokens", "warn")
    [record] = caplog.records
    assert record.levelno == level
    assert record.getMessage() == f"train: {part} of texts truncated at 64 tokens (longest 90)"


def test_batches_that_a_thread_makes_are_the_same_and_the_state_counts_those_handed_out(
    monkeypatch,
):
    pinned = []
    monkeypatch.setattr(loaders, "pin", lambda batch: pinned.append(batch) or batch)
    whole = rows_of(loader(batch_size=100))
    first = loader(batch_size=100, pinned=True)
    batches = iter(first)
    seen = rows_of([next(batches) for _ in range(3)])
    assert first.state_dict()["position"] == 3
    batches.close()
    assert 3 <= len(pinned) <= 3 + 1 + 4  # one under way, four ahead
    assert not [t for t in threading.enumerate() if t.name == "batches"]
    second = loader(batch_size=100, pinned=True)
    second.load_state_dict(first.state_dict())
    assert seen + rows_of(second) == whole


def test_an_error_of_the_thread_comes_where_its_batch_would():
    def make():
        yield {"number": 1}
        raise ModelError("INTERNAL", "row 2", "is broken")

    batches = loaders.prefetched(make())
    assert next(batches) == {"number": 1}
    with pytest.raises(ModelError, match="row 2: is broken"):
        next(batches)
    assert not [t for t in threading.enumerate() if t.name == "batches"]
