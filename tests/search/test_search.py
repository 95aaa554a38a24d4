"""`python train.py -m` as a user runs it: real processes, a real store, real event files."""

import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from support.bad_inputs import of_row
from support.commands import ROOT, small, train
from support.searches import asha, compared, inputs, kill, left_over, start, summary
from support.servers import eventually, hparams_rows, tensorboard
from tunesmith.config.composer import Composer
from tunesmith.training import checkpoint_io


def weights(run: Path) -> dict:
    state = checkpoint_io.read(run / "checkpoints/last.ckpt")["state_dict"]
    return {name: tensor.numpy().tobytes() for name, tensor in state.items()}


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    """Two rates over two seeds, trained to the end by two workers."""
    folder = tmp_path_factory.mktemp("grid")
    words = ["study=grid", "optimizer.lr=1e-3,5e-3", "seed=1,2", "trainer.max_epochs=2"]
    done = train(["-m", *inputs(folder), *words])
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, done


def test_a_grid_runs_what_was_listed_and_ends_with_a_table(grid):
    folder, done = grid
    made = summary(folder, "grid")
    assert [trial["params"] for trial in made["trials"]] == [
        {"optimizer.lr": 1e-3},
        {"optimizer.lr": 5e-3},
    ]
    for trial in made["trials"]:
        scores = [replicate["score"] for replicate in trial["replicates"]]
        assert [replicate["seed"] for replicate in trial["replicates"]] == [1, 2]
        assert trial["score"] == pytest.approx(sum(scores) / 2)
        assert trial["deviation"] == pytest.approx(abs(scores[0] - scores[1]) / 2**0.5)
        assert f"{trial['score']:.4f} ± {trial['deviation']:.4f}" in done.stdout
    assert "val/accuracy" in done.stdout
    assert "trial" in done.stdout
    rows = (folder / "runs/grid/summary.csv").read_text().splitlines()
    assert len(rows) == 3
    assert (folder / "runs/grid/report.html").read_text().startswith("<!doctype html>")


def test_tensorboard_shows_a_row_a_trial_equal_to_the_summary(grid):
    folder, _ = grid
    with tensorboard(folder / "runs/grid") as address:
        rows = eventually(lambda: _if_all(hparams_rows(address), 2), 60)
    told = {row["hparams"]["optimizer.lr"]: row["metricValues"][0]["value"] for row in rows}
    made = {t["params"]["optimizer.lr"]: t["score"] for t in summary(folder, "grid")["trials"]}
    assert told == pytest.approx(made)


def _if_all(rows: list, count: int) -> list:
    return rows if len(rows) == count and all(row.get("metricValues") for row in rows) else []


def test_an_unconfirmed_winner_is_saved_and_not_tested(grid):
    folder, _ = grid
    made = summary(folder, "grid")
    assert made["test"] is None
    assert not (folder / "runs/test_uses.jsonl").exists()
    best = folder / "runs/grid" / made["trials"][made["winner"]]["directory"]
    assert (best / "seed-1/model/config.json").exists()


def test_the_best_experiment_is_the_winner(grid):
    folder, _ = grid
    made = summary(folder, "grid")
    study = folder / "runs/grid"
    cfg = Composer(ROOT / "conf", study)(["experiment=best"])
    assert cfg.optimizer.lr == made["trials"][made["winner"]]["params"]["optimizer.lr"]
    assert cfg.data.train_file == f"{folder}/train.csv"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        of_row(
            74,
            ["optimizer.lr=1e-4,2e-4"],
            "error[STUDY-OTHER] study=grid: is another study: optimizer.lr: ",
        ),
        of_row(
            74,
            ["optimizer.lr=1e-3,5e-3", "seed=1,2", "callbacks.checkpoint.monitor=val/loss"],
            "error[STUDY-OTHER] study=grid: is another study: ",
        ),
        of_row(
            56, ["optimzer.lr=1e-4,2e-4"], "error[CONF-KEY] optimzer.lr: no such key; did you mean"
        ),
        of_row(
            55,
            ["optimizer.lr=interval(1e-3,1e-5)"],
            "error[CONF-RANGE] optimizer.lr: low=0.001 is above high=1e-05",
        ),
        (["optimizer.lr=1e-4,2e-4", "hydra/launcher=joblib"], "error["),
        (["optimizer.lr=1e-4,2e-4", "resume=auto"], "error[CONF-SWEEP] resume=auto: is of a run"),
        (["optimizer.lr=1e-4,2e-4", "ckpt_path=best"], "error[CONF-SWEEP] ckpt_path=best: is of"),
        (
            ["optimizer.lr=0,2e-4", "search.trials=0", "search.retries=x", "executor.workers=no"],
            "error[CONF-RANGE] search.trials=0: must be an integer >= 1\n"
            "error[CONF-TYPE] search.retries=x: must be an integer >= 0\n"
            "error[CONF-TYPE] executor.workers=no: must be an integer >= 1, or auto\n"
            "error[CONF-RANGE] optimizer.lr=0: must be a number > 0",
        ),
        (
            ["optimizer.lr=1e-3,5e-3", "search.patience=3"],
            "error[CONF-PATIENCE] search.patience=3: a grid runs what is listed, in order; "
            "search=random, or search.patience=null",
        ),
        (
            [
                *("optimizer.lr=interval(1e-3,5e-3)", "search=random"),
                *("search/policy=discard", "search.patience=3"),
            ],
            "error[CONF-PATIENCE] search.patience=3: looks at whole trainings, and "
            "search/policy=discard has none before its end; search/policy=asha",
        ),
        (
            ["optimizer.lr=interval(1e-3,5e-3)", "search=pbt", "search.patience=3"],
            "error[CONF-PATIENCE] search.patience=3: looks at whole trainings, and "
            "search/policy=pbt has none before its end; search/policy=asha",
        ),
        (
            ["optimizer.lr=1e-4,2e-4", "search.sampler=random"],
            "error[CONF-TARGET] search.sampler: needs a _target_: what to build; "
            "choose one: search/sampler=random",
        ),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(grid, words, said):
    folder, _ = grid
    before = sorted((folder / "runs").rglob("*"))
    done = train(["-m", *inputs(folder), "study=grid", "trainer.max_epochs=2", *words])
    assert done.returncode == 2
    assert done.stderr.startswith(said) or said in done.stderr.splitlines()[0]
    assert "Traceback" not in done.stderr
    assert sorted((folder / "runs").rglob("*")) == before


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("validation.csv", "the rows of train or validation have changed"),
        ("model/model.safetensors", "the files of the base model (model.path) have changed"),
    ],
)
def test_other_rows_or_another_base_model_make_another_study(grid, file, said):
    folder, first = grid
    before = (folder / file).read_bytes()
    change(folder / file)
    done = train(first.args[2:])
    (folder / file).write_bytes(before)
    assert done.returncode == 2, done.stderr[-3000:]
    start = f"error[STUDY-OTHER] study=grid: is another study: {said} since it began"
    assert done.stderr.splitlines()[-1].startswith(start)


def change(path: Path) -> None:
    """Change one label of a text, or one bit of weights."""
    content = path.read_bytes()
    if path.suffix == ".csv":
        path.write_bytes(content.replace(b",neg", b",pos", 1))
    else:
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


@pytest.fixture(scope="module")
def sealed(tmp_path_factory):
    """A search whose test file is not there until it is over."""
    folder = tmp_path_factory.mktemp("asha")
    arguments = asha(folder, "study=asha")
    (folder / "test.csv").rename(folder / "hidden.csv")
    first = train(arguments)
    (folder / "hidden.csv").rename(folder / "test.csv")
    return folder, arguments, first, train(arguments)


def test_a_search_does_not_open_the_test_split(sealed):
    folder, _, first, second = sealed
    assert first.returncode == 0, first.stderr[-3000:]
    assert "DATA-404" in first.stderr  # the winner's test, after the search
    assert second.returncode == 0, second.stderr[-3000:]
    assert second.stdout.count("test/accuracy") == 1
    assert "test set used 1 time" in " ".join(second.stdout.split())  # wherever it is broken
    assert len((folder / "runs/test_uses.jsonl").read_text().splitlines()) == 1


def test_the_rows_of_a_confirmed_search_are_the_scores_of_its_trials(sealed):
    """The runs of a confirmation have the same trial, and no row."""
    folder, *_ = sealed
    trials = summary(folder, "asha")["trials"]
    with tensorboard(folder / "runs/asha") as address:
        rows = eventually(lambda: _if_all(hparams_rows(address), len(trials)), 60)
    shown = {row["name"]: row["metricValues"][0]["value"] for row in rows}
    assert shown == pytest.approx({f"trial {t['number']}": t["score"] for t in trials})
    # The default's rate is none of the space's, and is shown all the same.
    assert all(row["hparams"]["optimizer.lr"] > 0 for row in rows)


def test_a_search_confirms_its_best_against_the_default(sealed):
    folder, *_ = sealed
    made = summary(folder, "asha")
    arms = made["confirmation"]["arms"]
    assert sorted(arm["is_default"] for arm in arms) == [False, True]
    assert all(len(arm["scores"]) == 2 for arm in arms)
    assert not set(made["confirmation"]["seeds"]) & {0}
    assert made["winner"] == made["confirmation"]["winner"] == made["test"]["trial"]


def test_a_promoted_trial_is_the_same_trial_run_straight_through(sealed):
    folder, *_ = sealed
    made = summary(folder, "asha")
    promoted = next(t for t in made["trials"] if t["rung"] == 2 and not t["is_default"])
    threads = [f"trainer.num_threads={promoted['threads']}", "name=straight", "test=false"]
    rungs = f"trainer.validate_at={made['rungs']}".replace(" ", "")
    done = train([*promoted["overrides"], rungs, "seed=0", *threads])
    assert done.returncode == 0, done.stderr[-3000:]
    (straight,) = (folder / "runs/straight").iterdir()
    assert weights(straight) == weights(folder / "runs/asha" / promoted["directory"])


def test_a_stopped_and_a_killed_controller_take_their_workers_along_and_go_on_to_the_same(sealed):
    folder, *_ = sealed
    arguments = asha(folder, "study=killed")
    process = begun(folder, arguments, "killed", trial=1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 75
    assert left_over(folder) == {}
    stopped = summary(folder, "killed")
    assert (stopped["stopped_by"], stopped["winner"]) == ("signal", None)
    assert stopped["counts"]["complete"] < len(stopped["trials"]) <= 4
    assert "Interrupted" in (folder / "runs/killed/report.html").read_text()
    process = begun(folder, arguments, "killed", trial=2)  # perhaps a folder of the first start
    assert eventually(lambda: summary(folder, "killed")["stopped_by"] is None, 60)  # said at once
    kill(process, folder)
    done = train(arguments)
    assert done.returncode == 0, done.stderr[-3000:]
    assert compared(summary(folder, "killed")) == compared(summary(folder, "asha"))


def test_a_confirmation_that_ends_early_says_what_all_seeds_say(tmp_path):
    """Smoothed labels make a loss worse: two seeds show it. The second start trains the rest."""
    words = ["-m", *inputs(tmp_path), "search=random", "search.trials=2", "study=early"]
    words += ["loss.label_smoothing=tag(interval(0.1,0.3))", "optimizer.lr=1e-2", "test=false"]
    words += ["search.confirm.top=1", "search.confirm.seeds=5", "trainer.max_epochs=4"]
    words += ["callbacks.checkpoint.monitor=val/loss", "executor.workers=1"]
    found = {}
    for early in ("true", "false"):
        done = train([*words, f"search.confirm.stop_early={early}"])
        assert done.returncode == 0, done.stderr[-3000:]
        found[early] = summary(tmp_path, "early")["confirmation"]
        said = " ".join(done.stdout.split())  # wherever it is broken
        ended = "the confirmation knew enough after 4 of at most 10 trainings" in said
        assert ended == (early == "true")
    arms = {name: [len(arm["scores"]) for arm in made["arms"]] for name, made in found.items()}
    assert arms == {"true": [2, 2], "false": [5, 5]}
    assert found["true"]["winner"] == found["false"]["winner"] == 0


def begun(folder: Path, arguments: list[str], study: str, trial: int) -> subprocess.Popen:
    """Start a search; wait until a trial is under way."""
    process = start(folder, arguments)
    events = folder / f"runs/{study}/trials/{trial:04d}/checkpoints"
    assert eventually(events.exists, 60)
    return process


def test_links_of_a_strangers_study_lead_nowhere_and_its_caches_are_refused(tmp_path, monkeypatch):
    """Gone on with, a search writes into its folders: none of them may be elsewhere."""
    outside, study = tmp_path / "outside", tmp_path / "runs" / "mine"
    command = [*small(tmp_path), "-m", "loss.label_smoothing=0.1,0.2", "trainer.max_steps=2"]
    command += ["study=mine", "logger=none", "executor.workers=1", "data.max_length=32"]
    done = train(command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {oct(p.stat().st_mode & 0o77) for p in study.rglob("*")} == {"0o0"}
    outside.mkdir()
    for name in ("trials/0002", "confirm", "experiment"):
        link = study / name
        shutil.rmtree(link, ignore_errors=True)
        link.symlink_to(outside)
        again = train([*command[:-1], "data.max_length=32", "search.trials=3"], cwd=tmp_path)
        assert (again.returncode, "error[UNSAFE-PATH]" in again.stderr) == (8, True), again.stderr
        link.unlink()
    assert list(outside.iterdir()) == []
    loggers = next(study.glob("conf/**/logger/none.yaml"))
    own = loggers.read_text()
    loggers.write_text(
        "mlflow:\n  _target_: lightning.pytorch.loggers.MLFlowLogger\n"
        "  experiment_name: x\n  tracking_uri: http://127.0.0.1:9\n"
    )
    again = train(command, cwd=tmp_path)
    assert (again.returncode, "error[UNSAFE-LOGGER]" in again.stderr) == (8, True), again.stderr
    loggers.write_text(own)
    paths = next(study.glob("conf/**/paths/default.yaml"))
    paths.write_text(paths.read_text() + f"\ncache: {outside}/c\n")
    again = train(command, cwd=tmp_path)
    assert "error[" in again.stderr and list(outside.iterdir()) == []


def test_patience_ends_a_search_and_the_same_command_adds_nothing(tmp_path):
    words = ["-m", *inputs(tmp_path), "study=calm", "search=random", "search.trials=9"]
    words += ["search.confirm.top=0", "optimizer.lr=tag(log,interval(3e-3,2e-2))"]
    words += ["trainer.max_epochs=4", "executor.workers=1"]
    done = train([*words, "search.patience=3"])
    assert done.returncode == 0, done.stderr[-3000:]
    made = summary(tmp_path, "calm")
    count, found = len(made["trials"]), made["plateau"]
    assert 3 < count < 9
    assert (made["stopped_by"], found["patience"]) == ("patience", 3)
    assert (found["trials"], found["target"]) == (count, 9)
    assert 0 <= found["gain"] < found["noise"]
    assert found["source"] == "validation split of 16 rows"
    said = f"Stopped by search.patience=3 after {count} of 9 trials"
    assert said in " ".join(done.stdout.split())
    assert said in (tmp_path / "runs/calm/report.html").read_text()
    again = train([*words, "search.patience=3"])
    assert again.returncode == 0, again.stderr[-3000:]
    assert summary(tmp_path, "calm")["trials"] == made["trials"]
    assert summary(tmp_path, "calm")["plateau"] == found
