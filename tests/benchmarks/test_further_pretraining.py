"""Further pretraining on the task's own texts, then fine-tuning, against fine-tuning alone.

python -m pytest -s -m benchmark tests/benchmarks/test_further_pretraining.py
"""

import json
import statistics
from pathlib import Path

import pytest
from report import report

from commands import only_run, train

SEEDS = (0, 1, 2)
FEW = ["data.limit=300", "logger=none", "callbacks.progress=false"]  # articles a split
FURTHER = ["task=mlm", "optimizer.lr=3e-4", "trainer.max_epochs=1", "test=false"]
TUNE = ["trainer.max_epochs=3"]


def scores(folder: Path, name: str, *overrides: str) -> dict[str, float]:
    done = train([*overrides, f"name={name}", f"paths.runs={folder}/runs"], timeout=7200)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((only_run(folder, name) / "metrics.json").read_text())["scores"]


@pytest.mark.benchmark
def test_further_pretraining_against_fine_tuning_alone(tmp_path: Path) -> None:
    alone, after, mlm = [], [], []
    for seed in SEEDS:
        options = [*FEW, f"seed={seed}"]
        alone.append(scores(tmp_path, f"alone-{seed}", *options, *TUNE)["test/accuracy"])
        read = scores(tmp_path, f"mlm-{seed}", *options, *FURTHER)
        model = ["model=base", f"model.path={only_run(tmp_path, f'mlm-{seed}')}"]
        model += ["model.attention=eager"]  # as of minilm
        after.append(scores(tmp_path, f"after-{seed}", *options, *model, *TUNE)["test/accuracy"])
        mlm.append((read["val/mlm_loss"], read["val/unigram_loss"]))
    gains = [b - a for a, b in zip(alone, after, strict=True)]
    report(
        "further pretraining",
        precision="auto",
        alone=alone,
        after=after,
        gain=round(statistics.mean(gains), 4),
        standard_error=round(statistics.stdev(gains) / len(gains) ** 0.5, 4),
        mlm_and_unigram_loss=mlm,
    )
    assert all(read < unigram for read, unigram in mlm)  # it did read; what that gives is reported
