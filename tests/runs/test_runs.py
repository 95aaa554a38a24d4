"""Run directories: made, locked, written whole, found again, counted, shown."""

import io
import json
import logging
import math
import multiprocessing
import os
import re
import resource
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lightning.fabric.plugins.environments import SLURMEnvironment
from rich.console import Console

from support.bad_inputs import row
from tunesmith import runs
from tunesmith.reporting.terminal import run_tables, score_table
from tunesmith.errors import ConfigError, MachineError, ModelError, SafetyError

METRICS = {
    "monitor": "val/accuracy",
    "mode": "max",
    "best": 0.97,
    "best_step": 100,
    "steps": 168,
    "scores": {"val/accuracy": 0.97, "val/loss": 0.11, "test/accuracy": 0.9652},
}


def printed(renderable: Any, width: int = 60) -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(renderable)
    return out.getvalue()


def make(parent: Path, name: str = "default", **status: Any) -> Path:
    run = runs.create(parent, name)
    runs.write_text(run / "config.yaml", "seed: 0\n")
    runs.write_text(run / "overrides.yaml", "- optimizer.lr=3e-5\n")
    runs.write_status(run, **{"state": "running", **status})
    return run


# Making


@pytest.mark.parametrize(
    "name", ["default", "ünï 模型", "a b", "lr=3e-5", "x" * 200, "study/trial", "'; DROP TABLE"]
)
def test_any_reasonable_name_makes_a_private_directory(tmp_path: Path, name: str) -> None:
    before = os.umask(0)
    try:
        run = make(tmp_path / "runs", name, identity="i")
    finally:
        os.umask(before)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d-[0-9a-f]{4}", run.name)
    assert run.parent == tmp_path / "runs" / name
    assert run.stat().st_mode & 0o777 == 0o700
    assert run.parent.stat().st_mode & 0o777 == 0o700
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in run.iterdir())
    assert runs.find(tmp_path / "runs") == [run]
    assert runs.unfinished(tmp_path / "runs", "i") == run
    assert runs.resolve(run) == run


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/tmp/x", "~/x", "", " ", "a\nb", "a\0b"])
def test_a_name_that_leaves_the_runs_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"error\[CONF-NAME\] name: "):
        runs.create(tmp_path, name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["x" * 201, "模" * 100])
def test_a_name_that_is_too_long_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="characters, at most 200"):
        runs.create(tmp_path, name)


def test_many_runs_of_one_second_have_names_of_their_own(tmp_path: Path) -> None:
    assert len({runs.create(tmp_path, "n") for _ in range(50)}) == 50


def test_a_file_in_the_way_is_told_before_anything_else(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    for begin in (lambda p: runs.create(p, "n"), runs.check_writable):
        with pytest.raises(MachineError) as caught:
            begin(tmp_path / "runs")
        assert str(caught.value).startswith(f"error[ENV-DIR] {tmp_path}/runs")
        assert "cannot be written: not a directory; paths.runs=DIR moves it" in str(caught.value)
        assert caught.value.exit_code == 5


def no_space(size: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def test_no_space_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    no_space(1000)
    try:
        with pytest.raises(MachineError, match=r"error\[ENV-DIR\] .* cannot be written: file too"):
            runs.create(tmp_path, "n")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list((tmp_path / "n").iterdir()) == []


def test_ranks_of_one_launcher_agree_on_a_directory_without_a_word(tmp_path: Path) -> None:
    script = f"from tunesmith import runs; print(runs.shared_directory({str(tmp_path)!r}, 'n'))"
    ranks = [subprocess.run([sys.executable, "-c", script], capture_output=True) for _ in range(2)]
    assert ranks[0].stdout == ranks[1].stdout and ranks[0].stderr == b""
    assert re.search(rb"/n/\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d-[0-9a-f]{4}\n$", ranks[0].stdout)


# The lock


def hold(run: Path, ready: Any, forks: bool) -> None:
    with runs.lock(run):
        if forks and os.fork() == 0:  # a loader process
            signal.pause()
        ready.set()
        signal.pause()


@pytest.mark.parametrize("forks", [False, True])
def test_a_second_process_is_refused_and_a_killed_holder_leaves_no_lock(
    tmp_path: Path, forks: bool
) -> None:
    run = make(tmp_path)
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    holder = context.Process(target=hold, args=(run, ready, forks))
    holder.start()
    assert holder.pid is not None and ready.wait(10)
    children = Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()
    try:
        with pytest.raises(MachineError) as caught, runs.lock(run):
            pass
        assert re.search(
            rf"RUN-LOCKED\] .*: in use by pid {holder.pid} on host \S", str(caught.value)
        )
        assert caught.value.exit_code == 5
        assert "running" in printed(run_tables.listing(tmp_path), 200)
        holder.kill()
        holder.join()
        assert "killed" in printed(run_tables.listing(tmp_path), 200)
        with runs.lock(run):
            assert (run / ".lock").read_text().startswith(f"{os.getpid()} ")
    finally:
        holder.kill()
        for child in children:
            os.kill(int(child), signal.SIGKILL)


def test_an_error_inside_a_lock_is_not_one_of_the_lock(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="mine"), runs.lock(tmp_path):
        raise FileNotFoundError("mine")
    with runs.lock(tmp_path):
        pass


def test_a_lock_is_not_taken_through_a_link(tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("x")
    (tmp_path / ".lock").symlink_to(target)
    with pytest.raises(MachineError, match="ENV-DIR"), runs.lock(tmp_path):
        pass
    assert target.read_text() == "x"


# Files


def test_json_holds_floats_to_the_bit_and_never_nan(tmp_path: Path) -> None:
    values = [0.1 + 0.2, 1e-323, math.pi * 1e300, float(np.float32(0.9731))]
    told = {"z": values, "a": math.nan, "i": [math.inf], "n": np.float64(0.1), "c": np.arange(2)}
    runs.write_json(tmp_path / "x.json", {**told, "p": Path("q"), 3: None, "s": "\ud800 ü"})
    text = (tmp_path / "x.json").read_text()
    read = json.loads(text)
    assert [v.hex() for v in read["z"]] == [v.hex() for v in values]
    assert (read["a"], read["i"], read["n"], read["c"]) == (None, [None], 0.1, [0, 1])
    assert (read["p"], read["3"], read["s"]) == ("q", None, "\ud800 ü")
    assert list(read) == sorted(read) and "ü" in text


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    runs.write_text(tmp_path / "x", "old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    no_space(100)
    try:
        with pytest.raises(MachineError, match="ENV-DIR"):
            runs.write_text(tmp_path / "x", "new" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (tmp_path / "x").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_status_keeps_what_is_known_and_hides_secrets(tmp_path: Path) -> None:
    runs.write_status(tmp_path, state="running", identity="i")
    runs.write_status(tmp_path, state="failed", step=3, error="at postgres://me:hunter2@h")
    status = runs.read_status(tmp_path)
    assert (status["identity"], status["step"], status["pid"]) == ("i", 3, os.getpid())
    assert status["error"] == "at postgres://***@h" and status["host"]
    runs.write_status(tmp_path, state="running")
    assert "error" not in runs.read_status(tmp_path)


# Finding


def test_the_newest_unfinished_run_of_the_same_config_is_found(tmp_path: Path) -> None:
    same = [make(tmp_path, name, identity="i") for name in ("a", "b", "b", "a")]
    other = make(tmp_path, "a", identity="other")
    assert runs.unfinished(tmp_path, "i") == same[3]
    runs.write_json(same[3] / "metrics.json", METRICS)
    assert runs.is_finished(same[3]) and not runs.is_finished(same[2])
    assert runs.unfinished(tmp_path, "i") == same[2]
    assert runs.unfinished(tmp_path, "other") == other
    assert runs.unfinished(tmp_path, "none") is None
    assert runs.unfinished(tmp_path / "nowhere", "i") is None


def test_trials_of_a_study_are_found_by_neither_the_table_nor_resume_auto(tmp_path: Path) -> None:
    study = tmp_path / "study"
    trial = make(study, "trials", identity="i")
    assert runs.unfinished(tmp_path, "i") == trial  # a folder of runs like any other
    (study / "study.db").touch()
    run = make(tmp_path, "a", identity="other")
    assert runs.find(tmp_path) == [run]
    assert runs.unfinished(tmp_path, "i") is None
    assert runs.find_studies(tmp_path) == [study]
    assert runs.resolve(trial) == trial  # by its own name it is a run


def test_test_sets_used_by_a_trial_are_counted_with_all_runs(tmp_path: Path) -> None:
    study = tmp_path / "runs" / "study"
    trial = make(study, "trials/0000")
    (study / "study.db").touch()
    (tmp_path / "runs/.cache/rows").mkdir(parents=True)
    assert runs.runs_of(trial) == tmp_path / "runs"
    assert runs.count_test_use(trial, "sha") == 1
    assert (tmp_path / "runs" / "test_uses.jsonl").is_file()


@row(70)
def test_a_directory_that_is_no_run_says_so_and_offers_the_newest_below(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # short names: a message has 200 characters
    folder = Path("runs")
    folder.mkdir()
    with pytest.raises(ModelError) as caught:
        runs.resolve(folder)
    assert str(caught.value) == "error[RUN] runs: no config.yaml"
    assert caught.value.exit_code == 4
    make(folder)
    newest = make(folder)
    with pytest.raises(ModelError, match=re.escape(f"did you mean {newest}?")):
        runs.resolve(folder)
    with pytest.raises(ModelError, match=r"error\[RUN\] nowhere: no such directory"):
        runs.resolve("nowhere")


def test_uses_of_a_test_set_are_counted_over_all_runs(tmp_path: Path) -> None:
    assert runs.count_test_use(tmp_path, "sha") == 1
    with (tmp_path / "test_uses.jsonl").open("a") as file:
        file.write('not json\n{"data": "other"}\n[]\n{"data": "sh')  # torn
    run = make(tmp_path, "a/b")
    assert runs.count_test_use(run, "sha") == 2
    assert runs.count_test_use(run, "sha", tmp_path) == 3
    last = json.loads((tmp_path / "test_uses.jsonl").read_text().splitlines()[-1])
    assert last["run"] == str(run)
    assert runs.count_test_use(tmp_path, "new") == 1
    assert len((tmp_path / "test_uses.jsonl").read_text().splitlines()) == 8


def test_a_copy_elsewhere_counts_in_its_own_directory(tmp_path: Path) -> None:
    (tmp_path / ".cache").mkdir()  # as in a home folder: not ours
    run = make(tmp_path, "models")
    assert runs.home_of(run) is None
    assert not runs.is_test_set(run, "sha")
    assert [runs.count_test_use(run, "sha") for _ in range(2)] == [1, 2]
    assert (run / "test_uses.jsonl").is_file() and not (tmp_path / "test_uses.jsonl").exists()
    assert runs.is_test_set(run, "sha") and not runs.is_test_set(run, "other")


def test_a_use_that_cannot_be_counted_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    assert runs.count_test_use(tmp_path / "file", "sha") == 1
    assert "could not be counted" in caplog.text


# Showing


def test_the_table_of_runs_shows_states_and_scores(tmp_path: Path) -> None:
    done = make(tmp_path, "good")
    runs.write_json(done / "metrics.json", METRICS)
    make(tmp_path, "bad [red]\x1b".replace("\x1b", ""), state="failed", step=7)
    text = printed(run_tables.listing(tmp_path), 120)
    (good,) = [line for line in text.splitlines() if done.name in line]
    assert good.split() == [
        f"good/{done.name}", "finished", "168", "val/accuracy", "0.9700", "accuracy", "0.9652",
    ]  # fmt: skip
    assert "bad [red]/" in text and "failed" in text
    assert printed(run_tables.listing(tmp_path / "none")).startswith("no runs below")


def test_foreign_and_half_written_directories_break_nothing(tmp_path: Path) -> None:
    run = make(tmp_path)
    evil = "\x1b]0;evil\x07 [bold]x[/nope]"
    runs.write_json(run / "metrics.json", {"scores": {f"test/{evil}": 0.5, "x": []}, "best": {}})
    runs.write_json(run / "environment.json", {"a": {"b": [evil]}})
    (run / "overrides.yaml").write_text(f"- {evil}\n")
    (run / "status.json").write_text('{"state": ' + "[" * 100_000)
    os.mkfifo(run / "pipe")
    for name, text in {"torn": '{"sco', "list": "[1]", "binary": "\0\ud800"}.items():
        other = make(tmp_path, name)
        for file in ("metrics.json", "status.json", "environment.json", "overrides.yaml"):
            (other / file).write_text(text, errors="surrogatepass")
    links = make(tmp_path, "links")
    (links / "metrics.json").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert len(runs.find(tmp_path)) == 5
    for path in set(runs.find(tmp_path)) - {links}:
        assert "\x1b" not in printed(run_tables.show(path))
    with pytest.raises(SafetyError, match=r"metrics.json leads out of the run; refused"):
        run_tables.show(links)
    text = printed(run_tables.show(run), 200) + printed(run_tables.listing(tmp_path), 200)
    assert "\\x1b]0;evil\\x07 [bold]x[/nope]" in text and "\x1b" not in text


def test_a_run_that_cannot_be_read_has_a_line_among_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("good", "yaml", "gone", "link", "pipe", "torn", "list", "closed")
    made = {name: make(tmp_path, name, identity="i") for name in names}
    for run in made.values():
        runs.write_json(run / "metrics.json", METRICS)
    (made["yaml"] / "config.yaml").write_text("a: [")
    (made["gone"] / "config.yaml").unlink()
    (made["link"] / "config.yaml").unlink()
    (made["link"] / "config.yaml").symlink_to("/nowhere")
    (made["pipe"] / "metrics.json").unlink()
    os.mkfifo(made["pipe"] / "metrics.json")
    (made["torn"] / "metrics.json").write_text('{"best": ')
    (made["list"] / "status.json").write_text("[1]")
    closed, access = made["closed"], os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != closed and access(path, mode))
    # Root may look into every folder: this one is hidden as the kernel would hide it.
    (closed / "config.yaml").unlink(), (closed / "status.json").unlink()
    lines = printed(run_tables.listing(tmp_path), 200).splitlines()
    cells = {name: next(line for line in lines if f" {name}/" in line) for name in names}
    assert cells["good"].split()[1:3] == ["finished", "168"]
    for name, says in {
        "yaml": "unreadable: config.yaml: ",
        "gone": "unreadable: no config.yaml",
        "link": "unreadable: config.yaml is a link",
        "pipe": "unreadable: metrics.json is not a regular file",
        "torn": "unreadable: metrics.json is not a JSON object",
        "list": "unreadable: status.json is not a JSON object",
        "closed": "unreadable: permission denied",
    }.items():
        assert says in cells[name]
    assert runs.unfinished(tmp_path, "i") == made["pipe"]  # its metrics.json is no file


def test_show_has_overrides_scores_environment_and_files(tmp_path: Path) -> None:
    run = make(tmp_path, state="failed", error="error[TRAIN-NAN] step 3: the loss is nan")
    runs.write_json(run / "environment.json", {"packages": {"torch": "2.13.0"}, "gpus": []})
    runs.write_json(run / "metrics.json", METRICS)
    text = printed(run_tables.show(run), 100)
    for part in (
        "error[TRAIN-NAN] step 3", "optimizer.lr=3e-5", "val/accuracy", "0.9652", "best_step",
        "packages.torch", "2.13.0", "config.yaml", "8 bytes",
    ):  # fmt: skip
        assert part in text


def test_the_summary_can_be_read_and_copied_at_60_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = make(tmp_path / "runs", "my run")
    text = printed(score_table.summary({**METRICS, "test_uses": 2}, run))
    lines = [line.rstrip() for line in text.splitlines()]
    assert max(map(len, lines)) <= 60
    assert [line.split() for line in lines if line.strip().startswith(("accuracy", "loss"))] == [
        ["accuracy", "0.9700", "0.9652"],
        ["loss", "0.1100", "-"],
    ]
    assert "test set used 2 times" in lines
    where = f"'runs/my run/{run.name}'"
    assert lines[lines.index("next:") + 1 :] == [
        "  tensorboard --logdir runs",
        "  tunesmith evaluate \\",
        f"    {where} \\",
        "    --split validation",
        f"  tunesmith predict {where} \\",
        "    FILE.csv",
    ]
    assert "\\" not in printed(score_table.summary(METRICS, run), 100)


def test_the_summary_shows_what_the_trivial_answer_scores(tmp_path: Path) -> None:
    baseline = {"val/accuracy": 0.25, "test/accuracy": 0.2289, "val/loss": 1.6}
    text = printed(score_table.summary({**METRICS, "baseline": baseline}, make(tmp_path)))
    rows = [line.split() for line in text.splitlines() if line.split()[:1]]
    assert ["score", "validation", "test", "baseline"] in rows
    assert ["accuracy", "0.9700", "0.9652", "0.2289"] in rows  # of the split that counts
    assert ["loss", "0.1100", "-", "1.6000"] in rows


def test_the_summary_prints_where_there_is_no_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    score_table.print_summary(METRICS, make(tmp_path))
    out = capsys.readouterr().out
    assert "0.9652" in out and "next:" in out and "\x1b" not in out


# The log


def test_the_log_has_everything_and_the_screen_the_warnings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = logging.getLogger("tunesmith.test")
    for round_ in (1, 2):  # the second time a resumed run
        with runs.setup_log(tmp_path):
            log.info("information %d \x1b[31m", round_)
            log.warning("a warning, password=hunter2")
            warnings.warn("from a library", UserWarning, stacklevel=1)
            logging.getLogger("lightning.pytorch.utilities.rank_zero").info("GPU available")
            logging.getLogger("lightning.pytorch").info("try installing litlogger")
    log.warning("after the end")
    lines = (tmp_path / "train.log").read_text().splitlines()
    stamp = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}"
    assert re.fullmatch(rf"{stamp} INFO tunesmith.test: information 1 \\x1b\[31m", lines[0])
    assert re.fullmatch(rf"{stamp} WARNING tunesmith.test: a warning, password=\*\*\*", lines[1])
    assert sum("information" in line for line in lines) == 2
    assert not [line for line in lines if "GPU" in line or "litlogger" in line or "after" in line]
    shown = capsys.readouterr().err
    assert shown.splitlines()[:2] == ["warning: a warning, password=***", "warning: from a library"]
    assert "information" not in shown and "GPU" not in shown
    assert (tmp_path / "train.log").stat().st_mode & 0o777 == 0o600


def test_a_run_beside_slurm_says_nothing_of_srun(tmp_path, monkeypatch):
    (tmp_path / "srun").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        SLURMEnvironment._validate_srun_used()
        assert "srun" in str(said.pop().message)
        runs.quiet_libraries()
        SLURMEnvironment._validate_srun_used()
        assert said == []
