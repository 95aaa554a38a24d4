"""A population over a real store and controller: copies, kills, workers; scores are made up."""

import json
import os
import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from support.synthetic_studies import (
    HORIZON,
    RUNGS,
    KilledError,
    Scripted,
    decisions,
    search,
    settings,
    study,
)
from tunesmith.reporting.trial_results import COMPLETE, PAUSED, Parent
from tunesmith.search import final_output
from tunesmith.search.confirmation import confirm
from tunesmith.search.storage.checkpoint_budget import delete_checkpoints
from tunesmith.search.storage.link_checkpoint import link_checkpoint
from tunesmith.search.storage.study_db import StudyDatabase
from tunesmith.search.storage.trial_record import lineage

HOW = settings("random", "pbt", trials=8)
COPIES = 4  # two of eight members are replaced at each of two rungs


def checkpoint(run: Path) -> str | None:
    file = run / "checkpoints/last.ckpt"
    return file.read_text() if file.exists() else None


def write_checkpoint(run: Path, text: str, step: int) -> None:
    """Leave a checkpoint as a run does: a new file under the name, and what the manifest says."""
    folder = run / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "fresh").write_text(text)
    (folder / "fresh").replace(folder / "last.ckpt")
    (folder / "manifest.json").write_text(json.dumps({"last.ckpt": {"step": step}}))


class Writing(Scripted):
    """Leaves a checkpoint that says whose it is; remembers the one that each segment found."""

    def __init__(self, fatal: int | None = None) -> None:
        super().__init__(fatal)
        self.began: dict[tuple[int, int], str | None] = {}

    def submit(self, segment):
        future = super().submit(segment)
        self.began[segment.trial, segment.rung] = checkpoint(Path(segment.directory))
        step = future.result().step
        write_checkpoint(Path(segment.directory), f"{segment.trial} at {step}", step)
        return future


def test_the_worst_are_replaced_by_copies_of_the_best_that_begin_from_their_checkpoints(tmp_path):
    made = search(tmp_path / "study", executor := Writing(), HOW)
    roots, copies = made.records[:8], made.records[8:]
    assert len(copies) == COPIES
    first = sorted(roots, key=lambda record: -record.score_at(0))
    assert [copy.parent for copy in copies[:2]] == [
        Parent(trial=best.number, rung=0, step=10) for best in first[:2]
    ]
    assert [r.state(made.last_rung) for r in first[-2:]] == [PAUSED] * 2
    assert [record.state(made.last_rung) for record in made.records].count(COMPLETE) == 8
    for copy in copies:
        source, rung = made.records[copy.parent.trial], copy.parent.rung
        assert executor.began[copy.number, rung + 1] == f"{source.number} at {copy.parent.step}"
        assert executor.began.get((source.number, rung + 1), f"{source.number} at") is not None
        factors = [copy.params[key] / source.params[key] for key in ("lr", "warmup")]
        assert any(factor == pytest.approx(f) for factor in factors for f in (0.8, 1.2))
        assert copy.steps == copy.lasts[0].step - copy.parent.step
        [(until, config)] = next(s for s in executor.submitted if s.trial == copy.number).stages[
            -1:
        ]
        assert until == RUNGS[rung]
        assert config["typed"][: len(source.overrides)] == source.overrides
    assert sum(record.steps for record in made.records) == 8 * HORIZON  # nothing is trained twice


def test_a_killed_population_decides_and_copies_as_an_undisturbed_one(tmp_path):
    whole = search(tmp_path / "whole", undisturbed := Writing(), HOW)
    segments = len(undisturbed.submitted)
    assert segments == 3 * 8
    for fatal in (3, 8, 9, 10, 17, segments - 1):  # before, amid and after the copies of a rung
        folder = tmp_path / f"killed at {fatal}"
        with pytest.raises(KilledError):
            search(folder, before := Writing(fatal), HOW)
        again = search(folder, after := Writing(), HOW)
        assert decisions(again) == decisions(whole)
        assert len(after.submitted) == segments - fatal
        assert before.began | after.began == undisturbed.began


def test_a_controller_killed_between_the_copy_and_its_record_copies_again(tmp_path, monkeypatch):
    whole = search(tmp_path / "whole", undisturbed := Writing(), HOW)
    add = StudyDatabase.add

    def killed(self, record):
        if record.parent is not None:
            raise KilledError
        add(self, record)

    with monkeypatch.context() as patch:
        patch.setattr(StudyDatabase, "add", killed)
        with pytest.raises(KilledError):
            search(tmp_path / "study", before := Writing(), HOW)
    assert checkpoint(tmp_path / "study/trials/0008") is not None
    made = search(tmp_path / "study", after := Writing(), HOW)
    assert decisions(made) == decisions(whole)
    assert before.began | after.began == undisturbed.began


class Racing(Writing):
    """Several workers, of which any may be the first."""

    def __init__(self, workers: int, seed: int) -> None:
        super().__init__()
        self.workers, self.dice = workers, random.Random(seed)
        self.pool = ThreadPoolExecutor(workers)

    def submit(self, segment):
        done, seconds = super().submit(segment).result(), self.dice.random() / 200
        return self.pool.submit(lambda: time.sleep(seconds) or done)


@pytest.mark.parametrize("workers", [2, 3, 8, 20])
def test_any_number_of_workers_makes_the_same_study(tmp_path, workers):
    alone = search(tmp_path / "alone", Writing(), HOW)
    racing = search(tmp_path / "racing", Racing(workers, workers), HOW)
    assert decisions(racing) == decisions(alone)


def test_a_copy_keeps_its_checkpoint_when_that_of_its_parent_is_deleted(tmp_path):
    source, target = tmp_path / "0001", tmp_path / "0009"
    write_checkpoint(source, "weights", step=10)
    os.link(source / "checkpoints/last.ckpt", source / "checkpoints/best.ckpt")
    parent = Parent(trial=1, rung=0, step=10)
    assert not link_checkpoint(source, target, parent.model_copy(update={"step": 30}))
    assert not target.exists()
    assert link_checkpoint(source, target, parent) and link_checkpoint(source, target, parent)
    assert sorted(p.name for p in (target / "checkpoints").iterdir()) == [
        "last.ckpt",
        "manifest.json",
    ]  # its manifest knows of no best one
    status = json.loads((target / "status.json").read_text())
    assert status["parent"] == {"trial": 1, "rung": 0, "step": 10}
    assert link_checkpoint(target, tmp_path / "0012", parent)  # the copy of a copy, not trained yet
    assert json.loads((tmp_path / "0012/status.json").read_text())["stage_ends"] == [10, 10]
    (source / "checkpoints/last.ckpt").unlink()  # a clean-up that was killed in the middle
    assert not link_checkpoint(source, tmp_path / "0013", parent)
    delete_checkpoints(source)
    assert checkpoint(target) == "weights"


def test_where_no_checkpoint_has_room_the_decisions_are_the_same(tmp_path):
    whole = search(tmp_path / "whole", Writing(), HOW)
    made = search(tmp_path / "study", executor := Writing(), replace(HOW, max_disk=1.0))
    assert decisions(made) == decisions(whole)
    assert {executor.began[r.number, r.parent.rung + 1] for r in made.records[8:]} == {None}


def test_a_schedule_is_confirmed_as_one_and_said_to_be_one(tmp_path):
    how = replace(HOW, confirm_top=2, confirm_seeds=2, seed=1)
    made = study(tmp_path / "study", executor := Writing(), how)
    made.search()
    finished = [r for r in confirm.ranked(made) if 2 in r.rungs]
    chosen = confirm.candidates(made, finished, 2)
    winner = next(record for record in chosen if record.parent is not None)
    executor.score = lambda params, until: 0.5
    confirm.confirm_best(made)
    made.store.close()
    stages = lineage(winner, made.records, RUNGS)
    runs = [s for s in executor.submitted if f"confirm/{winner.number:04d}-" in s.directory]
    assert len(runs) == 2
    for run in runs:
        assert [until for until, _ in run.stages] == [until for until, _ in stages[:-1]]
        expected = [made.segments.overrides(one.overrides, run.seed) for _, one in stages]
        assert [config["typed"] for _, config in run.stages] == expected[:-1]
        assert run.overrides == expected[-1]
    note = final_output._stages(made, winner).splitlines()
    assert "It is a schedule" in note[0] and f"replay {made.folder} {winner.number}" in note[2]
    assert len(note) == 3 + len(stages)
    assert note[3].startswith("#   to 1/") and note[-1].startswith("#   to full: lr=")
    assert note[-1].endswith(f"(trial {winner.number})")
    assert final_output._stages(made, made.records[0]) == ""


def test_members_that_come_later_go_through_all_generations(tmp_path):
    search(tmp_path / "study", Writing(), replace(HOW, trials=6))
    made = search(tmp_path / "study", Writing(), HOW)
    roots = [record for record in made.records if record.parent is None]
    assert [record.number for record in roots[-2:]] == [10, 11] and len(roots) == 8  # 4 copies
    assert all(record.state(made.last_rung) in (COMPLETE, PAUSED) for record in made.records)
    search(tmp_path / "study", same := Writing(), HOW)
    assert same.submitted == []
