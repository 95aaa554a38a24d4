"""Further pretraining on the task's own texts, then fine-tuning, against fine-tuning alone.

python -m pytest -s -m benchmark tests/benchmarks/test_further_pretraining.py
"""

import json
import statistics
from pathlib import Path

import pytest

from support.benchmark_report import report
from support.commands import only_run, train

SEEDS = (0, 1, 2)
FURTHER = ["task=mlm", "data.max_length=128", "trainer.max_epochs=2", "test=false"]
FEW = ["experiment=few_shot", "task=classification", "optimizer.lr=1e-4"]  # 8 articles a topic
FEW += ["trainer.max_epochs=20", "trainer.val_check_interval=50"]


def scores(folder: Path, name: str, *overrides: str) -> dict[str, float]:
    done = train([*overrides, f"name={name}", f"paths.runs={folder}/runs"], timeout=7200)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((only_run(folder, name) / "metrics.json").read_text())["scores"]


@pytest.mark.benchmark
def test_further_pretraining_against_fine_tuning_alone(tmp_path: Path) -> None:
    read = scores(tmp_path, "further", *FURTHER)
    model = ["model=base", f"model.path={only_run(tmp_path, 'further')}"]
    model += ["model.attention=eager"]  # as of minilm
    alone, after = [], []
    for seed in SEEDS:
        few = [*FEW, f"seed={seed}"]
        alone.append(scores(tmp_path, f"alone-{seed}", *few)["test/accuracy"])
        after.append(scores(tmp_path, f"after-{seed}", *few, *model)["test/accuracy"])
    gains = [b - a for a, b in zip(alone, after, strict=True)]
    mlm_loss, unigram_loss = read["val/mlm_loss"], read["val/unigram_loss"]
    report(
        "further pretraining",
        precision="auto",
        alone=alone,
        after=after,
        gain=round(statistics.mean(gains), 4),
        standard_error=round(statistics.stdev(gains) / len(gains) ** 0.5, 4),
        mlm_loss=mlm_loss,
        unigram_loss=unigram_loss,
    )
    assert mlm_loss < unigram_loss  # it did read; what that gives is reported
