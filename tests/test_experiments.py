"""Each conf/experiment/*.yaml: it runs, and it learns more than the answer that reads nothing.

make experiments        # every one over three seeds, about a minute each
"""

import json
import math
import shlex
import statistics
import time
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from support.commands import ROOT, only_run, train, tunesmith
from tunesmith.config import CONF
from tunesmith.pipeline.train import train as run

EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
SEEDS = (0, 1, 2)
ALSO = {"pretraining": ["pair_accuracy"]}  # what it shall learn besides what is monitored
POINTS, ERRORS = 0.05, 3  # how far above the baseline: both


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_it_runs_on_a_few_rows(name: str, tmp_path: Path) -> None:
    few = ["data.limit=12", "data.batch_size=4", "trainer.max_epochs=1", "trainer.max_steps=2"]
    few += [
        "trainer.val_check_interval=1.0",
        "trainer.precision=32",
        "trainer.num_threads=1",
        "logger=none",
        "callbacks.progress=false",
    ]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose(
            "train", [f"experiment={name}", *few, f"paths.runs={tmp_path}/runs", "name=few"]
        )
    best = run(cfg)
    metrics = json.loads((only_run(tmp_path, "few") / "metrics.json").read_text())
    assert best == metrics["best"]
    assert metrics["baseline"].keys() <= metrics["scores"].keys()
    assert metrics["steps"] == 2


@pytest.mark.experiment
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_it_learns(name: str, tmp_path: Path) -> None:
    gains: dict[str, list[float]] = {}
    for seed in SEEDS:
        began = time.monotonic()
        done = train(
            [
                f"experiment={name}",
                f"seed={seed}",
                f"name=seed-{seed}",
                f"paths.runs={tmp_path}/runs",
            ],
            timeout=1200,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        print(f"{name} seed={seed}: {time.monotonic() - began:.0f} s")
        metrics = json.loads((only_run(tmp_path, f"seed-{seed}") / "metrics.json").read_text())
        monitored = metrics["monitor"].removeprefix("val/")
        for metric in (monitored, *ALSO.get(name, [])):
            reached, baseline = compared(metrics, metric)
            lower = metric == monitored and metrics["mode"] == "min"
            gains.setdefault(metric, []).append(baseline - reached if lower else reached - baseline)
            print(f"{name} seed={seed}: {metric} {reached:.4f}, reading nothing {baseline:.4f}")
    for metric, found in gains.items():
        check_gain(f"{name}: {metric}", found)


def check_gain(what: str, gains: list[float]) -> None:
    mean, error = statistics.mean(gains), statistics.stdev(gains) / math.sqrt(len(gains))
    print(f"{what} {mean:.4f} better, standard error {error:.4f}")
    assert mean >= POINTS
    assert mean >= ERRORS * error


def compared(metrics: dict, metric: str) -> tuple[float, float]:
    """Return a score and its baseline: on the test split where it was opened."""
    split = "test" if f"test/{metric}" in metrics["scores"] else "val"
    baseline = metrics["baseline"][f"{split}/{metric}"]
    return metrics["scores"][
        f"{split}/{metric}"
    ], baseline or 0.0  # a constant correlates with nothing


@pytest.mark.experiment
def test_pretraining_helps(tmp_path: Path) -> None:
    """The three commands of the README, the third with and without what the second learnt."""
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    block = page.partition("in three commands:**\n\n```\n")[2].partition("```")[0]
    vocabulary, pretraining, fine_tuning = map(shlex.split, block.splitlines())
    assert tunesmith(vocabulary[1:], cwd=tmp_path).returncode == 0
    assert train(pretraining[2:], cwd=tmp_path, timeout=1200).returncode == 0
    models = {
        "pretrained": ["model=base", f"model.path={only_run(tmp_path, 'pretrained')}"],
        "new": ["model=bert_tiny", "model.path=vocabulary"],
    }
    rest = [word for word in fine_tuning[2:] if not word.startswith("model")]
    found = {
        (start, seed): accuracy_of(tmp_path, [*rest, *model], f"{start}-{seed}", seed)
        for start, model in models.items()
        for seed in SEEDS
    }
    print(found)
    gains = [found["pretrained", seed] - found["new", seed] for seed in SEEDS]
    check_gain("pretraining: test accuracy", gains)


def accuracy_of(folder: Path, overrides: list[str], name: str, seed: int) -> float:
    """Train below a folder; return the test accuracy."""
    done = train([*overrides, f"name={name}", f"seed={seed}"], cwd=folder)
    assert done.returncode == 0, done.stderr[-3000:]
    metrics = json.loads((only_run(folder, name) / "metrics.json").read_text())
    return metrics["scores"]["test/accuracy"]
