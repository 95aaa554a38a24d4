"""A run from the command line to its directory: what it prints, writes and refuses."""

import csv
import hashlib
import json

import numpy as np
import pytest
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from support.bad_inputs import row
from support.commands import csv_file, only_run, small, train, tunesmith
from support.servers import eventually, fetch, hparams_rows, tensorboard
from tunesmith import load, runs
from tunesmith.errors import ModelError
from tunesmith.training import checkpoint_io


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def arguments(folder):
    own = ["trainer.max_epochs=3", "trainer.log_every_n_steps=2", "seed=1"]  # it learns with 1
    return [*small(folder), *own]


@pytest.fixture(scope="module")
def finished(folder, arguments):
    done = train(arguments)
    assert done.returncode == 0, done.stderr[-3000:]
    return done, only_run(folder)


def test_it_ends_with_scores_the_directory_and_what_to_type_next(finished):
    done, run = finished
    flat = done.stdout.replace("\n", "").replace(" ", "")
    assert "accuracy" in flat
    assert run.name in flat
    assert "tensorboard--logdir" in flat
    assert "tunesmithpredict" in flat


def test_the_directory_holds_what_was_promised(finished):
    _, run = finished
    promised = ["config.yaml", "overrides.yaml", "environment.json", "train.log", "tensorboard"]
    promised += ["checkpoints/best.ckpt", "checkpoints/last.ckpt", "metrics.json", "model"]
    assert [name for name in promised if not (run / name).exists()] == []
    assert json.loads((run / "status.json").read_text())["state"] == "finished"
    record = json.loads((run / "metrics.json").read_text())
    assert record["best"] == record["scores"]["val/accuracy"]
    assert {"val/loss", "test/accuracy", "test/auroc"} <= set(record["scores"])


def test_tensorboard_serves_scalars_and_one_row_with_the_best_metric(finished):
    _, run = finished
    record = json.loads((run / "metrics.json").read_text())
    with tensorboard(run.parents[1]) as url:
        tags = eventually(lambda: fetch(f"{url}/data/plugin/scalars/tags"))
        names = {tag for tags_of_run in tags.values() for tag in tags_of_run}
        assert {"train/loss", "lr", "val/accuracy", "test/accuracy"} <= names
        groups = eventually(lambda: hparams_rows(url))
    assert len(groups) == 1
    assert [m["value"] for m in groups[0]["metricValues"]] == [np.float32(record["best"])]
    assert groups[0]["hparams"]["optimizer.lr"] == 1e-3


def test_evaluate_repeats_the_logged_scores_to_the_bit(finished):
    _, run = finished
    logged = json.loads((run / "metrics.json").read_text())["scores"]
    for split, prefix in [("validation", "val/"), ("test", "test/")]:
        done = tunesmith(["evaluate", run, "--split", split, "--json"])
        assert done.returncode == 0, done.stderr
        scores = json.loads(done.stdout.splitlines()[-1])
        assert {k: v.hex() for k, v in scores.items()} == {
            k: v.hex() for k, v in logged.items() if k.startswith(prefix)
        }


def test_evaluate_scores_a_file(finished, tmp_path):
    _, run = finished
    path = csv_file(tmp_path / "more.csv", 12, seed=9)
    done = tunesmith(["evaluate", run, "--data", path, "--json"])
    assert done.returncode == 0, done.stderr
    scores = json.loads(done.stdout.splitlines()[-1])
    assert 0 <= scores["test/accuracy"] <= 1
    other = tmp_path / "other.csv"  # the same rows, as a sheet of another land has them
    with path.open(newline="") as rows, other.open("w", newline="") as file:
        csv.writer(file, delimiter=";").writerows(csv.reader(rows))
    for options in ([], ["--set", "data.sep=;"]):
        done = tunesmith(["evaluate", run, "--data", other, "--json", *options])
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout.splitlines()[-1]) == scores


@row(68)
@row(69)
def test_predict_writes_the_same_rows_and_the_answers(finished, tmp_path):
    _, run = finished
    (tmp_path / "in.csv").write_text('id,text\n7,"lovely, film"\n8,awful\n')
    for name in ("out.jsonl", "out.csv"):
        done = tunesmith(["predict", run, tmp_path / "in.csv", "--output", tmp_path / name])
        assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [(row["id"], row["text"]) for row in rows] == [("7", "lovely, film"), ("8", "awful")]
    assert all(set(row["probabilities"]) == {"neg", "pos"} for row in rows)
    header = (tmp_path / "out.csv").read_text().splitlines()[0]
    assert header == "id,text,label,probabilities:neg,probabilities:pos"
    (tmp_path / "empty.csv").write_text("text\n")
    assert tunesmith(["predict", run, tmp_path / "empty.csv"]).returncode == 0
    (tmp_path / "bad.csv").write_text("body\nx\n")
    done = tunesmith(["predict", run, tmp_path / "bad.csv"])
    assert done.returncode == 3
    assert "no column 'text'" in done.stderr


def test_the_library_predicts_and_plain_transformers_loads_the_model(finished):
    _, run = finished
    answer = load(run).predict(["lovely film"])[0]
    model = AutoModelForSequenceClassification.from_pretrained(run / "model").eval()
    tokens = AutoTokenizer.from_pretrained(run / "model")("lovely film", return_tensors="pt")
    probabilities = model(**tokens).logits.softmax(-1)[0].tolist()
    assert list(model.config.id2label.values()) == ["neg", "pos"]
    assert list(answer["probabilities"].values()) == pytest.approx(probabilities, abs=0.02)


@row(70)
def test_a_run_that_was_interrupted_is_not_used(tmp_path):
    run = runs.create(tmp_path, "half")
    runs.write_text(run / "config.yaml", "seed: 0\n")
    runs.write_status(run, "interrupted")
    with pytest.raises(ModelError) as caught:
        load(run)
    assert (caught.value.code, caught.value.what) == ("RUN", "is 'interrupted', not finished")
    assert caught.value.fix == f"go on with resume={run}"


def test_a_finished_run_is_not_touched_by_resume(finished, arguments):
    _, run = finished

    def tree():
        return {
            p: (p.stat().st_mtime_ns, hashlib.sha256(p.read_bytes()).hexdigest())
            for p in run.rglob("*")
            if p.is_file()
        }

    before = tree()
    done = train([*arguments, f"resume={run}"])
    assert done.returncode == 0
    assert "already finished" in done.stdout
    assert tree() == before


def test_show_and_runs(finished):
    _, run = finished
    shown = tunesmith(["show", run])
    assert shown.returncode == 0
    assert "accuracy" in shown.stdout
    table = tunesmith(["runs", run.parents[1]], env={"COLUMNS": "200"})
    assert run.name in table.stdout


@row(43)
def test_a_new_run_starts_from_a_checkpoint(folder, finished, arguments):
    _, run = finished
    start = f"ckpt_path={run}/checkpoints/last.ckpt"
    done = train([*arguments, start])
    assert done.returncode == 2
    assert "raise trainer.max_epochs" in done.stderr
    done = train([*arguments, start, "trainer.max_epochs=4", "name=longer"])
    assert done.returncode == 0, done.stderr
    state = checkpoint_io.read(only_run(folder, "longer") / "checkpoints/last.ckpt")
    assert state["global_step"] == 20


def rates(run):
    rows = csv.DictReader((run / "metrics.csv").open())
    return {int(row["step"]): float(row["value"]) for row in rows if row["name"] == "lr"}


def test_a_run_from_a_checkpoint_has_its_own_rate_schedule_and_decay(folder, finished, arguments):
    _, run = finished
    start = f"ckpt_path={run}/checkpoints/last.ckpt"
    own = ["trainer.max_epochs=4", "optimizer.lr=1e-5", "optimizer.weight_decay=0.3"]
    own += ["scheduler=linear", "scheduler.warmup=0", "logger=csv", "trainer.log_every_n_steps=1"]
    done = train([*arguments, start, *own, "name=own"])
    assert done.returncode == 0, done.stderr
    directory = only_run(folder, "own")
    expected = {step: 1e-5 * (21 - step) / 20 for step in range(16, 21)}  # as from the start
    assert rates(directory) == pytest.approx(expected)
    groups = checkpoint_io.read(directory / "checkpoints/last.ckpt")["optimizer_states"][0]
    assert {group["weight_decay"] for group in groups["param_groups"]} == {0.3, 0.0}


@pytest.mark.parametrize("other", ["optimizer=sgd", "adapt=frozen"])
def test_a_checkpoint_of_another_optimizer_is_refused(finished, arguments, other):
    _, run = finished
    start = f"ckpt_path={run}/checkpoints/last.ckpt"
    done = train([*arguments, start, "trainer.max_epochs=4", other, "name=refused"])
    assert done.returncode == 2
    assert "error[CKPT-OPTIMIZER]" in done.stderr
    assert "model.path=RUN" in done.stderr


def test_rows_changed_at_an_epochs_end_are_noticed(folder, arguments, tmp_path):
    rows = (folder / "train.csv").read_text()
    (tmp_path / "train.csv").write_text(rows)
    own = [*arguments, f"data.train_file={tmp_path}/train.csv", "name=changed"]
    assert train([*own, "trainer.pause_at_step=5"]).returncode == 75  # of 5 steps an epoch
    (tmp_path / "train.csv").write_text(
        rows.replace("pos", "other").replace("neg", "pos").replace("other", "neg")
    )
    done = train([*own, "resume=auto"])
    assert done.returncode == 4
    assert "error[RESUME-DATA]" in done.stderr


def test_a_run_that_goes_on_under_its_name_keeps_its_identity(folder, arguments):
    own = [*arguments, "name=named"]
    assert train([*own, "trainer.pause_at_step=2"]).returncode == 75
    directory = only_run(folder, "named")
    assert train([f"resume={directory}", "trainer.pause_at_step=4"]).returncode == 75
    done = train([*own, "resume=auto"])
    assert done.returncode == 0, done.stderr
    assert only_run(folder, "named") == directory


def test_a_run_from_a_checkpoint_can_be_resumed(folder, finished, arguments):
    _, run = finished
    start = f"ckpt_path={run}/checkpoints/last.ckpt"
    own = [*arguments, start, "trainer.max_epochs=4", "name=again"]
    assert train([*own, "trainer.pause_at_step=17"]).returncode == 75
    done = train([*own, "resume=auto"])
    assert done.returncode == 0, done.stderr
    state = checkpoint_io.read(only_run(folder, "again") / "checkpoints/last.ckpt")
    assert state["global_step"] == 20


def test_the_profile_is_in_the_run_directory(folder, arguments):
    kept = "callbacks.checkpoint.keep=best"
    done = train([*arguments, "debug=profile", "trainer.max_steps=3", kept, "name=profiled"])
    assert done.returncode == 0, done.stderr
    run = only_run(folder, "profiled")
    assert "run_training_batch" in (run / "fit-profile.txt").read_text()
    assert {file.name for file in (run / "checkpoints").iterdir()} == {"best.ckpt", "manifest.json"}
    assert checkpoint_io.is_intact(run / "checkpoints" / "best.ckpt")
    done = tunesmith(["predict", run, "--text", "lovely"])
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("kept", "names"),
    [
        ("all", {"best.ckpt", "last.ckpt", "previous.ckpt", "manifest.json"}),
        ("best", {"best.ckpt", "manifest.json"}),
        ("none", {"manifest.json"}),
    ],
)
def test_what_stays_of_the_checkpoints(tmp_path, kept, names):
    for name in checkpoint_io.ALL:
        (tmp_path / name).write_bytes(name.encode())
    checkpoint_io.write_manifest(tmp_path, {name: {"step": 3} for name in checkpoint_io.ALL})
    checkpoint_io.keep_only(tmp_path, kept)
    assert {file.name for file in tmp_path.iterdir()} == names
    known = json.loads((tmp_path / "manifest.json").read_text())
    assert set(known) == names - {"manifest.json"}


def test_a_score_that_can_be_no_number_is_refused_before_training(folder, arguments, tmp_path):
    text = "text,label\n" + "\n".join(f"{words},1.5" for words in ("a b", "c d", "e f"))
    (tmp_path / "same.csv").write_text(text)
    (tmp_path / "train.csv").write_text(text.replace("a b,1.5", "a b,2.5"))
    own = [f"data.train_file={tmp_path}/train.csv", f"data.validation_file={tmp_path}/same.csv"]
    own += ["data.test_file=null"]
    done = train([*arguments, "task=regression", *own, "data.leakage=ignore", "name=constant"])
    assert done.returncode == 3
    assert "all labels are 1.5: val/pearson is not defined" in done.stderr
    assert "step" not in done.stderr


def test_a_run_is_a_model_for_the_next_one(folder, finished, arguments):
    _, run = finished
    others = [a for a in arguments if not a.startswith(("model.path", "trainer.max_epochs"))]
    done = train([*others, f"model.path={run}", "trainer.max_epochs=1", "name=second"])
    assert done.returncode == 0, done.stderr
    first = json.loads((run / "metrics.json").read_text())["scores"]["val/loss"]
    second = json.loads((only_run(folder, "second") / "metrics.json").read_text())
    assert second["scores"]["val/loss"] < first + 0.2  # it went on from what was learnt


@pytest.mark.parametrize("bad", ["truncated", "flipped"])
def test_a_damaged_checkpoint_is_not_used(folder, finished, arguments, bad, tmp_path):
    _, run = finished
    copy = tmp_path / "last.ckpt"
    data = bytearray((run / "checkpoints/last.ckpt").read_bytes())
    if bad == "truncated":
        del data[len(data) // 2 :]
    else:
        data[len(data) // 2] ^= 1
    copy.write_bytes(bytes(data))
    (tmp_path / "manifest.json").write_text((run / "checkpoints/manifest.json").read_text())
    done = train([*arguments, f"ckpt_path={copy}", "trainer.max_epochs=4"])
    assert done.returncode == 4
    assert "error[CKPT-CORRUPT]" in done.stderr


def test_a_run_says_when_it_learnt_nothing(folder, arguments, finished):
    done = train([*arguments, "optimizer.lr=1e-12", "name=idle"])
    assert done.returncode == 0, done.stderr[-3000:]
    metrics = json.loads((only_run(folder, "idle") / "metrics.json").read_text())
    best, baseline = metrics["best"], metrics["baseline"]["val/accuracy"]
    warned = "is no better than the answer that reads nothing" in done.stderr + done.stdout
    assert warned == (best <= baseline)
    assert metrics["baseline"]["test/accuracy"] >= 0.5  # two labels: the commoner one
    assert metrics["baseline"]["test/auroc"] == 0.5
    assert "no better than" not in finished[0].stdout + finished[0].stderr


def test_a_loss_that_is_not_a_number_ends_the_run_with_6(folder, arguments):
    done = train([*arguments, "optimizer.lr=1e30", "name=diverged", "trainer.precision=32"])
    assert done.returncode == 6
    assert "error[TRAIN-NAN] step" in done.stderr
    assert "Traceback" not in done.stderr


def test_regression_and_several_labels_run_from_the_command_line(tmp_path):
    inputs = small(tmp_path)
    for split in ("train", "validation", "test"):
        lines = (tmp_path / f"{split}.csv").read_text().splitlines()[1:]
        numbers = [f"{line.rsplit(',', 1)[0]},{i % 5 / 2}" for i, line in enumerate(lines)]
        (tmp_path / f"{split}.csv").write_text("\n".join(["text,label", *numbers]) + "\n")
    done = train([*inputs, "task=regression", "trainer.max_epochs=1", "name=regression"])
    assert done.returncode == 0, done.stderr
    run = only_run(tmp_path, "regression")
    logged = json.loads((run / "metrics.json").read_text())["scores"]
    again = load(run).evaluate("validation")
    assert again["val/mse"].hex() == logged["val/mse"].hex()
    assert isinstance(load(run).predict(["lovely"])[0]["label"], float)


def test_early_stopping_and_max_steps_end_with_a_score(folder, arguments):
    done = train(
        [*arguments, "callbacks.early_stopping.patience=1", "optimizer.lr=1e-12", "name=early"]
    )
    assert done.returncode == 0, done.stderr
    state = checkpoint_io.read(only_run(folder, "early") / "checkpoints/last.ckpt")
    assert state["global_step"] == 10  # the second validation was no better
    done = train([*arguments, "trainer.max_steps=7", "name=steps"])
    assert done.returncode == 0, done.stderr
    record = json.loads((only_run(folder, "steps") / "metrics.json").read_text())
    assert record["steps"] == 7
