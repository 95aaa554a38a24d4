"""The commands on a study that was really run: report, studies, best, replay, predict, show."""

import io
import json
import os
import shutil
import sqlite3
from pathlib import Path
from typing import NamedTuple

import pytest

from support.commands import small, train, tunesmith
from tunesmith.errors import ConfigError, SafetyError
from tunesmith.search.replay import replay


class Searched(NamedTuple):
    folder: Path
    study: Path
    printed: str


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Searched:
    """Run one search: three trials, a rung in the middle, one trial promoted."""
    folder = tmp_path_factory.mktemp("searched")
    options = [word for word in small(folder, rows=240) if not word.startswith("optimizer.lr=")]
    options += ["optimizer.lr=tag(log,interval(1e-3,4e-3))", "trainer.max_epochs=2"]
    options += [
        "search=asha",
        "search/sampler=random",
        "search.trials=3",
        "search.policy.rungs=[0.5,1]",
    ]
    options += ["search.confirm.top=0", "executor.workers=1", "study=made", "test=false"]
    done = train(["-m", *options], cwd=folder)
    assert done.returncode == 0, done.stderr
    return Searched(folder, folder / "runs" / "made", done.stdout)


@pytest.fixture
def stranger(searched: Searched, tmp_path: Path) -> Path:
    """Return a copy of the study, as somebody else may have sent it."""
    shutil.copytree(searched.study, tmp_path / "runs" / "made")
    return tmp_path / "runs" / "made"


def summary(study: Path) -> dict:
    return json.loads((study / "summary.json").read_text())


def said(arguments: list, code: int = 0) -> str:
    done = tunesmith(arguments)
    assert done.returncode == code, (done.stdout, done.stderr)
    return done.stdout if code == 0 else done.stderr.strip()


# Report


def test_a_report_written_anew_is_the_one_written_at_the_end(stranger: Path) -> None:
    before = {name: (stranger / name).read_bytes() for name in ("summary.csv", "summary.json")}
    (stranger / "summary.csv").unlink()
    (stranger / "report.html").unlink()
    printed = said(["report", stranger])
    assert "val/accuracy" in printed and "experiment=best" in printed
    assert (stranger / "summary.csv").read_bytes() == before["summary.csv"]
    old = json.loads(before["summary.json"])
    assert summary(stranger) == old | {"directory": str(stranger)}
    assert "<!doctype html>" in (stranger / "report.html").read_text()


def test_a_killed_study_has_a_report_of_what_its_store_knows(stranger: Path) -> None:
    with sqlite3.connect(stranger / "study.db") as database:
        database.execute("UPDATE tunesmith_study SET value='null' WHERE key='ended'")
    database.close()
    (stranger / "summary.json").unlink()
    printed = said(["report", stranger])
    assert "Interrupted; the same command goes on." in printed
    made = summary(stranger)
    assert (made["winner"], made["stopped_by"], len(made["trials"])) == (None, "signal", 3)


def test_a_summary_without_its_store_is_enough(stranger: Path) -> None:
    (stranger / "study.db").unlink()
    (stranger / "report.html").unlink()
    assert "val/accuracy" in said(["report", stranger])
    assert (stranger / "report.html").is_file()


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"trials": 3}, "trials: Input should be a valid array"),
        ({"mode": "up"}, "mode: Input should be 'max' or 'min'"),
        ({"rungs": []}, "rungs: List should have at least 1 item"),
        ({"rungs": [1.0], "policy": "full"}, "has a rung that the study has not"),
        ({"confirmation": {}}, "confirmation.seeds: Field required"),
        ({"steps": True}, "steps: Input should be a valid integer"),
        ({"counts": {"lost": 3}}, "counts.lost.[key]: Input should be 'complete', "),
        (
            {"space": [{"key": "a", "kind": "float", "low": 0.0, "high": 1.0, "log": True}]},
            "a has a logarithmic range from 0.0",
        ),
        ({"space": [{"key": "a", "kind": "int"}]}, "a has no range"),
        ({"format": 1}, "is a study of format 1, this version reads format 2"),
        ({"format": None}, "is a study of format None, this version reads format 2"),
    ],
)
def test_a_summary_of_another_shape_is_refused(stranger: Path, change: dict, what: str) -> None:
    from tunesmith.errors import ModelError
    from tunesmith.search.storage.saved_study import results_of

    (stranger / "study.db").unlink()
    (stranger / "summary.json").write_text(json.dumps(summary(stranger) | change))
    with pytest.raises(ModelError, match=r"error\[STUDY\]") as caught:
        results_of(stranger)
    assert what in caught.value.what


def test_a_store_that_is_none_is_told_in_one_line(stranger: Path) -> None:
    (stranger / "study.db").write_bytes(b"not a database")
    assert "error[STORE]" in said(["report", stranger], code=4)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("DROP TABLE tunesmith_study", "is no store of format 2, which this version reads"),
        ("UPDATE tunesmith_study SET value='1' WHERE key='format'", "it is of format 1"),
        ("UPDATE tunesmith_study SET value='7' WHERE key='spec'", "error"),
        ("UPDATE tunesmith_trials SET record='{}' WHERE number=1", "error"),
        ("INSERT INTO tunesmith_study VALUES (X'00', '1')", "is not the store of a study"),
        (
            "UPDATE tunesmith_study SET value=json_set(value, '$.rungs', json('[1.0]')) "
            "WHERE key='spec'",
            "does not hold what a study writes: all of it: Value error, trial",
        ),
        ("UPDATE tunesmith_trials SET number=7 WHERE number=1", "not numbered 0, 1, 2, ..."),
    ],
)
def test_a_store_of_another_shape_is_refused(stranger: Path, change: str, what: str) -> None:
    from tunesmith.errors import ModelError
    from tunesmith.search.storage.saved_study import results_of

    with sqlite3.connect(stranger / "study.db") as database:
        database.execute(change)
    database.close()
    with pytest.raises(ModelError, match=r"error\[STORE\]") as caught:
        results_of(stranger)
    assert what in str(caught.value)


def test_a_store_that_lost_its_log_is_noticed(stranger: Path) -> None:
    from tunesmith.errors import ModelError
    from tunesmith.search.storage.saved_study import note_of_lost_trials, results_of

    assert note_of_lost_trials(stranger, 3) is None
    what = "study.db knows 1 of 3 trials that were begun: study.db-wal is missing or broken"
    assert note_of_lost_trials(stranger, 1) == f"{stranger}: {what}"
    (stranger / "summary.json").unlink()  # a killed search has none: the folders tell
    with sqlite3.connect(stranger / "study.db") as database:
        database.execute("DELETE FROM tunesmith_trials WHERE number=2")
    database.close()
    assert "study.db knows 2 of 3 trials" in tunesmith(["report", stranger]).stderr
    (stranger / "study.db").write_bytes(b"")
    with pytest.raises(ModelError, match=r"holds nothing: its study\.db-wal is missing or broken"):
        results_of(stranger)


def test_a_store_behind_a_link_is_refused(stranger: Path, tmp_path: Path) -> None:
    from tunesmith.search.storage.saved_study import read

    (stranger / "study.db").rename(tmp_path / "elsewhere.db")
    (stranger / "study.db").symlink_to(tmp_path / "elsewhere.db")
    with pytest.raises(SafetyError, match=r"error\[UNSAFE-PATH\]"):
        read(stranger)


def test_reading_a_study_changes_nothing_in_it(stranger: Path) -> None:
    from tunesmith.search.storage.saved_study import results_of

    before = {path: path.stat().st_mtime_ns for path in stranger.rglob("*")}
    results_of(stranger)
    assert {path: path.stat().st_mtime_ns for path in stranger.rglob("*")} == before


# Studies


def test_the_table_of_studies_has_what_each_found(searched: Searched) -> None:
    printed = said(["studies", searched.folder])
    made = summary(searched.study)
    best = made["trials"][made["best"]]["score"]
    row = next(line for line in printed.splitlines() if "made" in line)
    for word in ("val/accuracy", "3 (0 failed)", f"{best:.4f}", f"trial {made['winner']}", "done"):
        assert word in row
    assert "no studies below" in said(["studies", searched.folder / "model"])


def test_a_study_that_cannot_be_read_has_a_line_among_the_others(
    searched: Searched, tmp_path: Path
) -> None:
    from rich.console import Console

    from tunesmith.reporting.terminal import studies
    from tunesmith.search.storage.saved_study import results_of

    files = ("study.db", "summary.json")
    for name in ("good", "garbage", "list", "link", "pipe"):
        (tmp_path / name).mkdir()
        for file in files:
            shutil.copy(searched.study / file, tmp_path / name)
    (tmp_path / "garbage/study.db").write_bytes(bytes(range(256)) * 20)
    (tmp_path / "list/study.db").unlink()
    (tmp_path / "list/summary.json").write_text("[1]")
    for file in files:
        (tmp_path / "link" / file).unlink()
        (tmp_path / "link" / file).symlink_to("/nowhere")
        (tmp_path / "pipe" / file).unlink()
        os.mkfifo(tmp_path / "pipe" / file)
    out = io.StringIO()
    Console(file=out, width=200).print(studies.listing(tmp_path, results_of))
    lines = {line.split()[0]: line for line in out.getvalue().splitlines() if line.strip()}
    assert "3 (0 failed)" in lines["good"]
    assert "unreadable: is not the store of a study" in lines["garbage"]
    assert "unreadable: its summary is not one of a" in lines["list"]
    assert "unreadable: study.db leads out of the study" in lines["link"]
    assert "unreadable: its study.db is not a regular file" in lines["pipe"]


def test_a_study_of_another_version_is_told_as_such(stranger: Path) -> None:
    from tunesmith.errors import ModelError
    from tunesmith.search.study.frozen_config import frozen

    what = "made by another version, or edited: its {} lacks trainer.profiler"
    for file in (stranger / "trials/0000/config.yaml", stranger / "conf/trainer/base.yaml"):
        text = file.read_text().splitlines(keepends=True)
        file.write_text("".join(line for line in text if "profiler" not in line))
    with pytest.raises(ModelError, match=what.format("config")):
        replay(stranger, 0)
    with pytest.raises(ModelError, match=what.format("conf/")):
        frozen(stranger, "train")


def test_trials_of_a_study_are_no_runs(searched: Searched) -> None:
    from tunesmith import runs

    folder = searched.folder / "runs"
    assert runs.find(folder) == []
    trial = searched.study / "trials" / "0000"
    identity = runs.read_status(trial)["identity"]
    assert runs.unfinished(folder, identity) is None
    assert "no runs below" in said(["runs", folder])


# The winner


def test_best_is_a_command_that_trains_the_winner(searched: Searched) -> None:
    made = summary(searched.study)
    trial = made["trials"][made["winner"]]
    words = said(["best", searched.study]).split()
    assert words[:2] == ["python", "train.py"]
    assert set(trial["overrides"]) <= {word.strip("'") for word in words[2:]}
    assert "# @package _global_" in said(["best", searched.study, "--yaml"])


def test_the_winner_is_used_by_the_name_of_its_study(searched: Searched) -> None:
    from tunesmith import load

    winner = load(searched.study)
    assert winner.directory == searched.study / summary(searched.study)["winner_directory"]
    assert winner.predict(["lovely day"])[0]["label"] in ("neg", "pos")
    scores = winner.evaluate("validation")
    made = summary(searched.study)
    assert scores["val/accuracy"] == made["trials"][made["winner"]]["score"]
    winner.evaluate("test")
    assert (searched.folder / "runs" / "test_uses.jsonl").is_file()
    assert "optimizer.lr" in said(["show", searched.study])


def test_a_study_without_a_winner_says_so(stranger: Path) -> None:
    changed = summary(stranger) | {"winner_directory": None}
    (stranger / "summary.json").write_text(json.dumps(changed))
    assert "a study without a winner" in said(["show", stranger], code=4)


def test_a_winner_outside_of_its_study_is_refused(stranger: Path) -> None:
    from tunesmith import runs

    for way_out in ("../../..", "/etc", "trials/../../x"):
        changed = summary(stranger) | {"winner_directory": way_out}
        (stranger / "summary.json").write_text(json.dumps(changed))
        with pytest.raises(SafetyError, match="leads out of the study"):
            runs.resolve(stranger)


# Replay


def test_a_promoted_trial_replays_in_one_piece_to_the_bit(stranger: Path) -> None:
    number = summary(stranger)["winner"]
    printed = said(["replay", stranger, number])
    assert f"trial {number}, seed 0: equal to the bit" in printed
    assert "weights too (SHA-256" in printed
    assert (stranger / "replays" / f"{number:04d}-1" / "checkpoints" / "last.ckpt").is_file()


def test_a_paused_trial_replays_up_to_its_rung_and_says_when_weights_are_gone(
    stranger: Path,
) -> None:
    paused = next(t for t in summary(stranger)["trials"] if t["state"] == "paused")
    shutil.rmtree(stranger / paused["directory"] / "checkpoints")
    [one] = replay(stranger, paused["number"])
    assert (one.difference, one.weights) == (None, None)
    assert one.result.step == paused["steps"] < paused["total_steps"]
    assert "its weights are gone" in one.line


def test_a_trial_that_was_not_so_is_told_with_exit_code_1(stranger: Path) -> None:
    with sqlite3.connect(stranger / "study.db") as database:
        [[row, text]] = database.execute(
            "SELECT number, record FROM tunesmith_trials ORDER BY number LIMIT 1"
        )
        record = json.loads(text)
        record["replicates"]["0"]["last"]["history"][0]["loss"] = 0.125
        database.execute(
            "UPDATE tunesmith_trials SET record=? WHERE number=?",
            (json.dumps(record), row),
        )
    database.close()
    done = tunesmith(["replay", stranger, 0])
    assert done.returncode == 1, done.stderr
    assert "differs: loss at step" in done.stdout and "0.125, now" in done.stdout


def test_a_trial_that_is_not_there_is_a_mistake_of_the_command(searched: Searched) -> None:
    said_of_it = said(["replay", searched.study, 9], code=2)
    assert "no such trial; there are 0 to 2" in said_of_it
    assert "is no study" in said(["replay", searched.folder, 0], code=4)
    assert not (searched.study / "replays").exists()


def test_a_stored_config_that_asks_for_code_is_not_replayed(stranger: Path) -> None:
    path = stranger / "trials" / "0000" / "config.yaml"
    path.write_text(path.read_text().replace("torch.optim.AdamW", "os.system"))
    with pytest.raises(SafetyError):
        replay(stranger, 0)
    assert not (stranger / "replays").exists()


def test_a_trial_that_needs_a_secret_is_not_replayed(stranger: Path) -> None:
    path = stranger / "trials" / "0000" / "config.yaml"
    path.write_text(path.read_text().replace("revision: null", "revision: '***'", 1))
    with pytest.raises(ConfigError, match=r"RUN-SECRET.*\.revision is a secret, and no file keeps"):
        replay(stranger, 0)
    assert not (stranger / "replays").exists()
