"""What a search is to cost: played through exactly, measured for real, printed by a dry run."""

import random
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from support.commands import small, train
from support.plugins import make_policy
from support.searches import summary
from support.synthetic_studies import Scripted, decisions, search, settings, study
from tunesmith.config import typed
from tunesmith.config.composer import Composer
from tunesmith.search.cost.cost_model import CostModel, Point, kinds_of, points_of
from tunesmith.search.cost.estimate import estimate, words
from tunesmith.search.cost.measuring import measured_costs
from tunesmith.search.cost.play_through import Running, SearchShape, Task, play
from tunesmith.search.cost.workload import Workload, unit_workload, workload_of
from tunesmith.search.policies.base import TrialState
from tunesmith.search.space.dimension import Dimension
from tunesmith.search.space.space import Space
from tunesmith.search.study.open_study import CheckError
from tunesmith.search.trial import MeasuredCost
from tunesmith.search.worker.measure_cost import line_through, measured_shapes

RUNGS = (1 / 9, 1 / 3, 1.0)
COST = MeasuredCost(
    features=100,
    lengths=[10, 20, 30],
    batch_size=10,
    tokens=250.0,
    step_seconds=0.5,
    token_seconds=0.01,
    validation_seconds=6.0,
    checkpoint_seconds=2.0,
    start_seconds=3.0,
    restore_seconds=1.0,
    worker_seconds=9.0,
    checkpoint_bytes=50_000_000,
    run_bytes=100_000,
    memory=1_600_000_000,
)


def played(name: str, trials: int, seconds: float = 10.0, workers: int = 1, **more):
    policy = make_policy(name, RUNGS, 3)
    unit = unit_workload(policy.rungs)
    shape = SearchShape(policy, trials, workers=workers, **more)
    return play(shape, lambda trial, dice: unit, lambda part: seconds * part, random.Random(0))


@pytest.mark.parametrize(
    ("name", "trials", "segments"),
    [
        ("full", 16, {0: 16}),
        ("asha", 27, {0: 27, 1: 11, 2: 6}),
        ("asha", 2, {0: 2, 1: 1, 2: 1}),  # the best one is finished, as in a search
        ("hyperband", 17, {0: 9, 1: 9, 2: 6}),  # dealt 9 : 5 : 3
        ("median", 20, {0: 20, 1: 12, 2: 10}),
    ],
)
def test_a_policy_is_played_through_to_its_segments(name: str, trials: int, segments: dict) -> None:
    assert played(name, trials).segments == segments


def test_a_play_counts_seconds_steps_seeds_and_late_workers() -> None:
    alone = played("full", 6)
    assert (alone.seconds, alone.steps, alone.validations) == (pytest.approx(60.0), 6000, 6)
    assert played("full", 6, workers=4).seconds == pytest.approx(20.0)
    assert played("full", 6, replicates=2).segments == {0: 12}
    confirmed = played("full", 6, confirm_top=3, confirm_seeds=5)
    assert len(confirmed.arm_seconds) == 4  # three, and the default
    assert confirmed.checkpoints == 3 * 2
    policy, unit = make_policy("full", [1.0], 3), unit_workload([1.0])
    shape = SearchShape(policy, 2, workers=2)
    late = play(shape, lambda *_: unit, lambda s: 10 * s, random.Random(0), cold=4.0)
    assert late.seconds == pytest.approx(14.0)


def test_a_play_goes_on_from_where_a_search_stands() -> None:
    """One of three has ended, one has run for 4 of its 10 seconds, one waits for a worker."""
    policy, unit = make_policy("full", [1.0], 3), unit_workload([1.0])
    standings = [TrialState(0, 0, {0: 0.5}, False, False)]
    standings += [TrialState(n, 0, {}, True, False) for n in (1, 2)]
    running = [Running(Task(1, 0, None), 4.0), Running(Task(2, 0, None), None)]
    shape = SearchShape(policy, 4)
    found = play(shape, lambda *_: unit, lambda s: 10 * s, random.Random(0), standings, running)
    assert (found.seconds, found.segments) == (pytest.approx(6.0 + 10.0 + 10.0), Counter({0: 3}))


@pytest.mark.parametrize(
    ("overrides", "steps", "step", "validations"),
    [
        ([], (3, 7, 20), 3.0, (1, 2, 4)),  # ends of epochs, and the rungs
        (["data.batch_size=20"], (2, 4, 10), 5.5, (1, 2, 4)),
        (["trainer.max_steps=9"], (1, 3, 9), 3.0, (1, 2, 3)),
        (["trainer.val_check_interval=2"], (3, 7, 20), 3.0, (2, 5, 12)),
        (["data.max_length=15"], (3, 7, 20), 0.5 + 2.5 * 40 / 60, (1, 2, 4)),
    ],
)
def test_a_workload_follows_steps_and_tokens(overrides, steps, step, validations) -> None:
    rungs = f"trainer.validate_at={list(RUNGS)}"
    words = ["data.batch_size=10", "trainer.max_epochs=2", rungs, *overrides]
    config = typed(OmegaConf.to_container(Composer()(words), resolve=True))
    made = workload_of(config, RUNGS, COST)
    assert (made.steps, made.validations) == (steps, validations)
    assert made.step == pytest.approx(step)
    start = made.start + made.restore
    middle = (steps[1] - steps[0]) * step + (validations[1] - validations[0]) * (
        made.validation + made.checkpoint
    )
    assert made.seconds(1, after=0) == pytest.approx(start + middle)


def test_a_step_is_a_fixed_time_and_one_for_each_token() -> None:
    assert line_through([(10, 2.0), (20, 3.0), (30, 4.0)]) == pytest.approx((1.0, 0.1))
    assert line_through([(10, 2.0), (10, 4.0)]) == pytest.approx((0.0, 0.3))  # one size only
    assert line_through([(10, 4.0), (20, 2.0)]) == pytest.approx((3.0, 0.0))  # noise alone
    assert line_through([(10, 0.5), (20, 2.0)])[0] == 0.0


@pytest.mark.parametrize(
    ("has_part", "shapes"),
    [(True, [[2], [4, 5, 8, 9], [2, 3, 6, 7], [0, 1, 10, 11]]), (False, None)],
)
def test_three_lengths_and_a_part_of_a_batch_are_measured(has_part, shapes) -> None:
    lengths = np.array([5, 30, 9, 2, 7, 7, 9, 9, 7, 7, 1, 1, 99])
    rows = [[0, 1, 10, 11], [2, 3, 6, 7], [4, 5, 8, 9], [12]]  # the last is smaller
    found = measured_shapes([np.array(some) for some in rows], lengths, has_part)
    whole = [[4, 5, 8, 9], [2, 3, 6, 7], [0, 1, 10, 11]]
    assert [some.tolist() for some in found] == (shapes or whole)


def test_what_a_search_varies_is_scaled_or_measured() -> None:
    """Rates cost nothing, batch sizes are scaled, models are measured, four of them at most."""
    points = [
        Point({"optimizer.lr": 1e-4, "data.batch_size": size, "model": model})
        for size, model in ((8, "a"), (16, "b"), (32, "b"), (8, "c"), (8, "d"), (8, "e"))
    ]
    assert points[1].key == '{"data.batch_size": 16, "model": "b"}'
    kinds = kinds_of(points)
    assert list(kinds) == [f'{{"model": "{name}"}}' for name in "abcd"]
    assert kinds['{"model": "b"}'].measured_params == {"model": "b"}


def test_an_estimate_counts_all_of_a_search_and_says_it_in_a_line(tmp_path: Path) -> None:
    how = settings("random", "full", trials=4, confirm_top=1, confirm_seeds=2, max_disk=120e6)
    made = study(tmp_path / "study", Scripted(workers=2), how)
    made.store.close()
    model = CostModel(made, {"{}": COST})
    model._of_point = lambda point, dice: Workload((20,), (4,), *seconds)  # type: ignore[method-assign]
    seconds = (2.0, 6.0, 2.0, 3.0, 1.0)  # a step, a validation, a checkpoint, a start, a restore
    whole, winner = 3.0 + 20 * 2.0 + 4 * (6.0 + 2.0), 3.0 + 1.0 + 6.0 + 2.0
    told = estimate(model, before=10.0)
    assert told.seconds == told.unlimited_seconds
    assert told.model_dump(exclude={"unlimited_seconds"}) == {
        "trials": 4,
        "segments": [4],
        "steps": 80,
        "validations": 16,
        "confirmation_runs": 4,
        "workers": 2,
        "seconds": pytest.approx(10 + 9 + 4 * whole + winner),
        "trial_seconds": pytest.approx(9 + 2 * whole),
        "confirmation_seconds": pytest.approx(2 * whole),
        "winner_seconds": winner,
        "disk": 120_000_000 + 8 * 100_000,
        "memory": 1_600_000_000,
        "gpu_memory": 0,
    }
    assert words(estimate(model)) == (
        "4 trials, then at most 4 confirmation runs: about 5 min on 2 workers (trials 3 min, "
        "confirmation 2 min, winner 12 s), 121 MB of disk, 1.6 GB of memory per worker"
    )
    unknown = CostModel(made, {})
    assert words(estimate(unknown)) == (
        "4 trials, then at most 4 confirmation runs on 2 workers; "
        "the time is known once segments have ended (not measured: a queue, or several devices)"
    )


def test_a_search_that_goes_on_is_told_what_is_left_of_it(tmp_path: Path) -> None:
    search(tmp_path / "study", Scripted(), settings("random", "full", trials=4))
    made = study(tmp_path / "study", Scripted(), settings("random", "full", trials=10))
    made.store.close()
    model = CostModel(made, {"{}": COST})
    model._of_point = lambda point, dice: Workload((20,), (4,), 2.0)  # type: ignore[method-assign]
    found = estimate(model)
    assert (found.trials, found.segments) == (10, [6])
    assert found.trial_seconds == pytest.approx(6 * 40.0)


class Measuring(Scripted):
    """Says what a training costs where it is asked to measure, unless it fails."""

    fails = False

    def submit(self, segment):
        future = super().submit(segment)
        if segment.kind == "measure":
            done = future.result().changed(cost=COST, seconds=1.0)
            lost = done.changed(cost=None, state="failed", error="error[TRAIN-NAN] step 1: nan")
            future._result = lost if self.fails else done
        return future


def test_a_study_is_measured_once_and_decides_nothing_by_it(tmp_path: Path) -> None:
    how = settings("random", "asha", trials=9)
    plain = search(tmp_path / "plain", Scripted(), how)
    executor = Measuring()
    made = study(tmp_path / "study", executor, how)
    assert measured_costs(made) == {"{}": COST}
    made.search()
    made.store.close()
    assert decisions(made) == decisions(plain)
    assert [segment.kind for segment in executor.submitted].count("measure") == 1
    again = study(tmp_path / "study", after := Measuring(), how)
    assert measured_costs(again) == {"{}": COST}
    again.store.close()
    assert after.submitted == []


def test_a_search_goes_on_where_nothing_can_be_measured(tmp_path: Path, caplog) -> None:
    made = study(tmp_path / "study", executor := Measuring(), settings("random", "full", trials=3))
    executor.fails = True
    assert measured_costs(made) == {}
    assert "no time can be told beforehand" in caplog.text and "TRAIN-NAN" in caplog.text
    with pytest.raises(CheckError, match="TRAIN-NAN"):
        measured_costs(made, is_dry=True)
    executor.fails, executor.has_queue = False, True
    assert measured_costs(made) == {}
    made.store.close()
    assert len(executor.submitted) == 2


def test_a_point_that_no_trial_can_be_made_of_costs_nothing(tmp_path: Path) -> None:
    made = study(tmp_path / "study", Scripted(), settings("random", "asha", trials=3))
    made.store.close()  # its configs are none of a run
    assert CostModel(made, {"{}": COST}).mean(lambda workload: workload.whole) == 0.0


def test_points_stand_for_the_trials_the_default_first(tmp_path: Path) -> None:
    how = settings("random", "full", trials=5, initial_points=({"lr": 1e-3, "warmup": 0.0},))
    made = study(tmp_path / "study", Scripted(), how)
    made.store.close()
    points = points_of(made)
    assert points[0].is_default
    assert points[1].params == {"lr": 1e-3, "warmup": 0.0}
    assert len(points) == 5
    made.space = Space((Dimension("lr", "categorical", choices=(1e-4, 1e-3)),))
    listed = study(tmp_path / "grid", Scripted(), settings("grid", "full", trials=None))
    listed.store.close()
    assert [point.params["lr"] for point in points_of(listed)] == [1e-4, 1e-3, 1e-2]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory):
    """A dry run, then the search that it was of."""
    folder = tmp_path_factory.mktemp("told")
    words = [word for word in small(folder) if not word.startswith("optimizer.lr")]
    words += ["search=asha", "search/sampler=random", "search.trials=3", "study=told"]
    words += ["search.policy.rungs=[1/2,1]", "search.confirm.top=1", "search.confirm.seeds=2"]
    words += ["optimizer.lr=tag(log,interval(1e-3,1e-2))", "executor.workers=1"]
    words += [f"paths.cache={folder}/cache"]
    dry = train(["-m", *words, "search.dry_run=true"])
    left = sorted((folder / "runs").rglob("*")) if (folder / "runs").exists() else []
    return folder, dry, left, train(["-m", *words])


def test_a_dry_run_prints_what_a_search_would_cost_and_leaves_nothing(told) -> None:
    _, dry, left, _ = told
    assert dry.returncode == 0, dry.stderr[-3000:]
    assert left == []
    figures = re.compile(r"\d[\d,.]* (?:ms|s|min|kB|MB|GB|tokens)\b")
    assert figures.sub("#", dry.stdout).splitlines() == [
        "3 trials in 4 segments, then at most 4 confirmation runs: about # on 1 worker (trials #, "
        "confirmation #, winner #), # of disk, # of memory per worker",
        "segments: 3 to 1/2, 1 to full",
        "trials: 20 steps, 4 validations",
        "measured: a step # (batch 8, #), a validation #, a checkpoint of # #, the start "
        "of a segment #, of a worker #",
    ]


def test_a_search_is_told_beforehand_and_compared_afterwards(told) -> None:
    folder, dry, _, done = told
    assert done.returncode == 0, done.stderr[-3000:]
    line = next(line for line in done.stderr.splitlines() if "confirmation runs: about" in line)
    start = dry.stdout.partition(": about ")[0]
    assert line.startswith(start)
    assert re.search(r"full .* left$", done.stderr, re.MULTILINE)
    made = summary(folder, "told")
    estimated = made["estimate"]
    assert estimated["trials"] == len(made["trials"]) == 3
    assert estimated["confirmation_runs"] == 4
    assert made["seconds"] / 3 < estimated["seconds"] < made["seconds"] * 3
    words = (folder / "runs/told/report.html").read_text()
    assert re.search(r"; estimated [\d.]+ (s|min) before it ran", words)
    assert not list((folder / "runs/told").glob(".measure-*"))
