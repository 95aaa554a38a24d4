"""Checkpoints of a study: what is deleted, in which order, and that the limit holds."""

import os
from pathlib import Path

import pytest

from support.synthetic_studies import Scripted, decisions, search, settings
from tunesmith.search.storage.checkpoint_budget import bytes_of

SIZE = 1000  # bytes of a checkpoint


class Writing(Scripted):
    """Leaves a checkpoint under two names, as a run does whose last step was its best."""

    def submit(self, segment):
        folder = Path(segment.directory) / "checkpoints"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "last.ckpt").write_bytes(b"x" * SIZE)
        if not (folder / "best.ckpt").exists():
            os.link(folder / "last.ckpt", folder / "best.ckpt")
        return super().submit(segment)


def kept(made):
    return {
        record.number
        for record in made.records
        if (made.folder / f"trials/{record.number:04d}/checkpoints/last.ckpt").exists()
    }


def test_a_file_with_two_names_counts_once(tmp_path):
    (tmp_path / "last").write_bytes(b"x" * SIZE)
    os.link(tmp_path / "last", tmp_path / "best")
    assert bytes_of(tmp_path) == SIZE


def test_only_the_best_whole_trials_keep_their_checkpoints(tmp_path):
    how = settings("random", "full", trials=8, confirm_top=4)
    made = search(tmp_path / "study", Writing(), how)
    best = sorted(made.records, key=lambda record: -record.score)[:4]
    assert kept(made) == {record.number for record in best}


def test_whole_trials_of_an_earlier_start_make_room_too(tmp_path):
    how = settings("random", "full", trials=6, confirm_top=4)
    search(tmp_path / "study", Writing(), how)
    made = search(tmp_path / "study", Writing(), settings("random", "full", 12, confirm_top=4))
    best = sorted(made.records, key=lambda record: -record.score)[:4]
    assert kept(made) == {record.number for record in best}


def test_failed_trials_keep_none(tmp_path):
    score = {1e-4: 0.5, 1e-3: "nan", 1e-2: 0.6}
    executor = Writing(score=lambda params, until: score[params["lr"]])
    made = search(tmp_path / "study", executor, settings("grid", "full", None))
    assert kept(made) == {0, 2}


@pytest.mark.parametrize("room", [2, 4])
def test_the_limit_holds_and_changes_no_decision(tmp_path, room):
    free = search(tmp_path / "free", Writing(), settings("random", "asha"))
    how = settings("random", "asha", max_disk=room * SIZE)
    made = search(tmp_path / "tight", Writing(), how)
    assert bytes_of(tmp_path / "tight/trials") <= room * SIZE
    assert bytes_of(tmp_path / "free/trials") > room * SIZE
    assert decisions(made) == decisions(free)


@pytest.mark.parametrize(("room", "times"), [(SIZE - 1, 1), (SIZE, 0)])
def test_a_limit_that_the_best_trial_is_over_by_itself_is_said_once(tmp_path, caplog, room, times):
    search(tmp_path / "study", Writing(), settings("random", "full", 4, max_disk=room))
    assert caplog.text.count("search.max_disk: ") == times
    assert bytes_of(tmp_path / "study/trials") == SIZE
