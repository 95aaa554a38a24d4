"""How many trials fit side by side: by cores, and by what one has taken."""

import pytest

from tunesmith.search.executors.packing import Packing, workers_that_fit

GB = 10**9


@pytest.mark.parametrize(
    ("cores", "threads", "memory", "peak", "count"),
    [
        (16, 1, 0, 0, 16),  # nothing is known of memory
        (16, 4, 0, 0, 4),
        (2, 4, 0, 0, 1),  # one trial runs in any case
        (16, 1, 100 * GB, 0, 16),
        (16, 1, 100 * GB, 9 * GB, 10),
        (16, 1, 100 * GB, 10 * GB, 9),  # a tenth stays free
        (16, 1, 100 * GB, 200 * GB, 1),
    ],
)
def test_cores_and_memory_limit_them(cores, threads, memory, peak, count):
    assert workers_that_fit(cores, threads, memory, peak) == count


def test_no_reserve_fills_the_memory():
    assert workers_that_fit(16, 1, 100, 10, reserve=0.0) == 10


def test_the_first_trial_on_a_gpu_runs_alone_and_shows_how_many_fit():
    packing = Packing(cores=16, threads=1, memory=0, is_gpu=True)
    assert packing.count == 1
    packing.take(10 * GB, memory=100 * GB)
    assert packing.count == 9
    packing.take(20 * GB, memory=50 * GB)  # less is free now, as others run
    assert packing.count == 4
    packing.take(1 * GB)
    assert packing.count == 4  # the largest counts
    packing.run_out()
    packing.run_out()  # of the same trials
    assert packing.count == 1
    packing.take(20 * GB, is_shared=True)
    assert packing.count == 1  # what ran beside others says nothing of one that runs alone
    packing.take(30 * GB)
    assert packing.count == 3
    packing.peak = GB
    assert packing.count == 3  # not four again
