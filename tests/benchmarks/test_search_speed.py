"""What a search costs beside its training: the controller, a trial of no work, a second worker.

python -m pytest -s -m benchmark tests/benchmarks/test_search_speed.py
"""

import time
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from support.benchmark_report import report, spread
from support.commands import make_inputs, use_inputs
from support.synthetic_studies import Scripted, search, settings, study
from tunesmith.config import CONF
from tunesmith.search.executors.local import LocalExecutor
from tunesmith.search.trial import Segment


def seconds_a_trial(folder: Path, sampler: str, policy: str, known: int, more: int) -> float:
    """Return what the controller spends on a trial once so many are known."""
    search(folder, Scripted(), settings(sampler, policy, trials=known))
    made = study(folder, Scripted(), settings(sampler, policy, trials=known + more))
    began = time.perf_counter()
    made.search()
    spent = time.perf_counter() - began
    made.store.close()
    assert len(made.records) == known + more
    return spent / more


def segments(folder: Path, arguments: list[str], count: int) -> list[Segment]:
    """Return trials of these overrides, each with a directory of its own."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", [*arguments, "test=false", "callbacks.progress=false"])
    config = OmegaConf.to_container(cfg, resolve=True)
    return [
        Segment(i, 0, 0, 1.0, 0, str(folder / f"{i:04d}"), config, arguments, None)
        for i in range(count)
    ]


def ended(executor: LocalExecutor, trials: list[Segment]) -> float:
    """Run trials, all submitted at once; return the seconds until the last one ended."""
    began = time.perf_counter()
    for future in [executor.submit(segment) for segment in trials]:
        result = future.result()
        assert result.state == "done", result.error
    return time.perf_counter() - began


def no_op(folder: Path) -> list[str]:
    make_inputs(folder, train=8, validation=4)
    arguments = [*use_inputs(folder), "data.batch_size=8", "trainer.max_epochs=1", "logger=none"]
    return [*arguments, "callbacks.figures=false"]


def test_the_controller_can_be_timed(tmp_path):
    assert seconds_a_trial(tmp_path / "study", "random", "asha", known=40, more=10) < 0.5


@pytest.mark.benchmark
@pytest.mark.parametrize(
    ("sampler", "policy"), [("random", "full"), ("random", "asha"), ("tpe", "asha")]
)
def test_at_ten_thousand_trials_the_controller_spends_at_most_50_ms(tmp_path, sampler, policy):
    spent = seconds_a_trial(tmp_path / "study", sampler, policy, known=10_000, more=100)
    report("controller", seconds=round(spent, 4), trials=10_000, sampler=sampler, policy=policy)
    assert spent <= 0.050


@pytest.mark.benchmark
def test_a_trial_of_no_work_costs_at_most_150_ms(tmp_path):
    trials = segments(tmp_path, no_op(tmp_path), 13)
    with LocalExecutor(workers=1) as executor:
        times = [ended(executor, [trial]) for trial in trials]
    report("no-op trial", seconds=spread(times[3:]), first=round(times[0], 2))
    assert spread(times[3:])["median"] <= 0.150


@pytest.mark.benchmark
def test_two_workers_end_more_trials_than_one_with_all_threads(tmp_path):
    arguments = ["debug=limit", "data.limit=200", "trainer.max_epochs=1", "logger=none"]
    times: dict[int, list[float]] = {1: [], 2: []}
    for repeat in range(3):
        for workers in (1, 2):
            threads = [f"trainer.num_threads={2 // workers}"]
            folder = tmp_path / f"{repeat}-{workers}"
            trials = segments(folder, [*arguments, *threads], 6)
            with LocalExecutor(workers=workers) as executor:
                ended(executor, trials[:workers])  # imports, rows and weights
                times[workers].append(ended(executor, trials[2:]))
    ratio = spread([one / two for one, two in zip(times[1], times[2], strict=True)])
    report("two workers", seconds={k: spread(v) for k, v in times.items()}, ratio=ratio)
    assert ratio["median"] >= 1.1
