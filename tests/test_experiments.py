"""Each conf/experiment/*.yaml: it runs, and it learns more than the answer that reads nothing.

make experiments        # every one over three seeds, about a minute each
"""

import json
import math
import statistics
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from commands import only_run, train
from tunesmith.config import CONF
from tunesmith.run import run

EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
SEEDS = (0, 1, 2)
POINTS, ERRORS = 0.05, 3  # how far above the baseline: both


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_it_runs_on_a_few_rows(name: str, tmp_path: Path) -> None:
    few = ["data.limit=12", "data.batch_size=4", "trainer.max_epochs=1", "trainer.max_steps=2"]
    few += ["trainer.precision=32", "trainer.threads=1", "logger=none", "callbacks.progress=false"]
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
    gains = []
    for seed in SEEDS:
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
        metrics = json.loads((only_run(tmp_path, f"seed-{seed}") / "metrics.json").read_text())
        reached, baseline = compared(metrics)
        gains.append(reached - baseline if metrics["mode"] == "max" else baseline - reached)
        print(f"experiment={name} seed={seed}: {reached:.4f}, reading nothing {baseline:.4f}")
    mean, error = statistics.mean(gains), statistics.stdev(gains) / math.sqrt(len(gains))
    print(f"experiment={name}: {mean:.4f} better, standard error {error:.4f}")
    assert mean >= POINTS
    assert mean >= ERRORS * error


def compared(metrics: dict) -> tuple[float, float]:
    """Return the monitored score and its baseline: on the test split where it was opened."""
    metric = metrics["monitor"].removeprefix("val/")
    split = "test" if f"test/{metric}" in metrics["scores"] else "val"
    baseline = metrics["baseline"][f"{split}/{metric}"]
    return metrics["scores"][
        f"{split}/{metric}"
    ], baseline or 0.0  # a constant correlates with nothing
