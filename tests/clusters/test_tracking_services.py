"""A study that W&B (offline) and MLflow (a local store) log, read back from what they wrote."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.commands import ROOT
from support.searches import asha, inputs, summary

pytestmark = pytest.mark.cluster

PACKAGES = os.environ.get("TEST_LOGGERS", "")  # where make clusters installs them
READ_WANDB = """
import json, struct, sys
from pathlib import Path
from wandb.proto.wandb_internal_pb2 import Record

def records(data):
    # As LevelDB's log: blocks of 32 KiB; of a chunk its checksum, length and kind come first.
    at, whole = 7, b""
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last of several
            yield Record.FromString(whole)
            whole = b""

def values(items):
    return {i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in items}

runs = {}
for file in sorted(Path(sys.argv[1]).rglob("*.wandb")):
    for record in records(file.read_bytes()):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run = runs.setdefault(record.run.run_id, {"config": {}, "rows": [], "files": 0})
            run["name"] = record.run.display_name
            run["config"] |= values(record.run.config.update)
            run["files"] += 1
        elif kind == "config":
            run["config"] |= values(record.config.update)
        elif kind == "history":
            run["rows"].append(values(record.history.item))
print(json.dumps(list(runs.values())))
"""
READ_MLFLOW = """
import json, sys
from mlflow.tracking import MlflowClient

client = MlflowClient(sys.argv[1])
experiment = client.get_experiment_by_name("tunesmith")
runs = client.search_runs([experiment.experiment_id])
print(json.dumps([
    {
        "name": run.info.run_name,
        "params": run.data.params,
        "scores": [
            [one.step, one.value]
            for one in client.get_metric_history(run.info.run_id, "val/accuracy")
        ],
    }
    for run in runs
]))
"""


@pytest.fixture
def env(tmp_path):
    assert PACKAGES, "make clusters installs the two packages and says where"
    path = os.pathsep.join([PACKAGES, os.environ.get("PYTHONPATH", "")])
    return {
        **os.environ,
        "PYTHONPATH": path,
        "WANDB_MODE": "offline",
        "WANDB_DIR": str(tmp_path),
        "WANDB_SILENT": "true",
        "WANDB_DATA_DIR": str(tmp_path),
        "WANDB_CONFIG_DIR": str(tmp_path),
        "WANDB_CACHE_DIR": str(tmp_path),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "OMP_NUM_THREADS": "1",
    }


def python(env, words: list[str]) -> str:
    done = subprocess.run(
        [sys.executable, *words], env=env, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def expected(trial: dict) -> list:
    """Return the validations of a trial as a service would have them."""
    return [[entry["step"], entry["score"]] for entry in trial["history"]]


def test_each_trial_is_one_run_of_wandb_however_many_segments_it_took(env, tmp_path):
    words = asha(tmp_path, "study=rates", "logger=wandb")
    python(env, [str(ROOT / "train.py"), *words])
    trials = summary(tmp_path, "rates")["trials"]
    assert any(trial["rung"] > 0 for trial in trials), "none was trained in two segments"
    logged = json.loads(python(env, ["-c", READ_WANDB, str(tmp_path / "runs/rates/trials")]))
    by_name = {run["name"]: run for run in logged}
    assert sorted(by_name) == [f"rates/trials/{trial['number']:04d}" for trial in trials]
    for trial in trials:
        run = by_name[f"rates/trials/{trial['number']:04d}"]
        assert trial["params"].items() <= run["config"].items()
        rows = [row for row in run["rows"] if "val/accuracy" in row]
        assert [[row["trainer/global_step"], row["val/accuracy"]] for row in rows] == expected(
            trial
        )


def test_each_trial_is_one_run_of_mlflow_however_many_segments_it_took(env, tmp_path):
    store = f"sqlite:///{tmp_path}/mlflow.db"
    words = asha(tmp_path, "study=rates", "logger=mlflow", f"logger.mlflow.tracking_uri={store}")
    python(env, [str(ROOT / "train.py"), *words])
    trials = summary(tmp_path, "rates")["trials"]
    logged = {run["name"]: run for run in json.loads(python(env, ["-c", READ_MLFLOW, store]))}
    for trial in trials:
        run = logged[f"rates/trials/{trial['number']:04d}"]
        assert {key: str(value) for key, value in trial["params"].items()}.items() <= (
            run["params"].items()
        )
        assert sorted(run["scores"]) == expected(trial)


def test_mlflow_writes_into_the_run_directory_where_no_store_is_named(env, tmp_path):
    one = [*inputs(tmp_path), "optimizer.lr=1e-3", "trainer.max_epochs=1", "logger=mlflow"]
    python(env, [str(ROOT / "train.py"), *one])
    [run] = [path for path in (tmp_path / "runs/default").iterdir() if path.is_dir()]
    reads = {**env, "MLFLOW_ALLOW_FILE_STORE": "true"}
    [logged] = json.loads(python(reads, ["-c", READ_MLFLOW, f"file:{run}"]))
    assert logged["name"] == "/".join(Path(run).parts[-3:])
    assert [step for step, _ in logged["scores"]] == [5]
