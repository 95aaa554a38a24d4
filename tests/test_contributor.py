"""A stranger's packages, none of them in our tree: a new head, a loss, options and a metric."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.commands import ROOT, only_run
from support.tiny_models import sentences, tiny_bert

FILES = {
    "spread_metrics/__init__.py": '''
def coverage(means, widths, truths):
    """Return the share of truths that lie within their interval."""
    inside = [abs(m - t) <= w for m, w, t in zip(means, widths, truths, strict=True)]
    return sum(inside) / len(inside)
''',
    "gauss/__init__.py": '''
from typing import Annotated

import torch
from annotated_types import Gt, Le, Lt
from spread_metrics import coverage
from torch import nn
from transformers import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING

from tunesmith import TextTask
from tunesmith.data.columns import ColumnType
from tunesmith.models.heads import Head
from tunesmith.tasks.base import Output
from tunesmith.tasks.bases.text_task import texts_with
from tunesmith.tasks.losses import Loss


class LogLikelihood(nn.Module):
    """Of a normal distribution; outputs (B, 2) are its mean and the logarithm of its variance."""

    def __init__(self, least_variance: Annotated[float, Gt(0), Lt(1)] = 1e-3):
        super().__init__()
        self.least_variance = least_variance

    def forward(self, outputs, labels):
        mean, variance = outputs[:, 0], outputs[:, 1].exp() + self.least_variance
        loss = nn.functional.gaussian_nll_loss(mean, labels.float(), variance, full=True)
        return Loss(loss, torch.tensor(float(len(labels)), device=outputs.device))


class Gauss(TextTask):
    """A number and how sure it is."""

    columns = texts_with(ColumnType.NUMBER)
    head = Head(
        MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
        "tell a mean and a spread",
        outputs=2,
        problem_type="regression",
    )
    losses = (LogLikelihood,)
    metrics = {"error": "min", "coverage": "max"}
    monitor = "error"

    def __init__(
        self,
        *,
        deviations: Annotated[float, Gt(0), Le(5)],
        scale: Annotated[float, Gt(0)],
        **common,
    ):
        super().__init__(**common)
        self.deviations, self.scale = deviations, scale

    def label_of(self, row):
        return float(row["label"]) / self.scale

    def forward(self, batch):
        outputs = self.logits(batch).float()
        mean, weight = self.loss(outputs, batch["labels"])
        return Output(mean, outputs, weight)

    def aggregate(self, predictions, rows):
        return [
            {
                "label": float(mean) * self.scale,
                "width": self.deviations * self.scale * float(torch.tensor(log).exp().sqrt()),
            }
            for [(mean, log)] in predictions
        ]

    def score(self, answers, rows):
        means, truths = [a["label"] for a in answers], [row["label"] for row in rows]
        errors = [abs(m - t) for m, t in zip(means, truths, strict=True)]
        widths = [a["width"] for a in answers]
        return {"error": sum(errors) / len(errors), "coverage": coverage(means, widths, truths)}
''',
    "test_gauss.py": """
import json
from pathlib import Path

from tunesmith.testing import TaskConformance


class TestGauss(TaskConformance):
    overrides = json.loads(Path("overrides.json").read_text())
""",
}


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder of the stranger's, with rows, a model and the words that they type."""
    folder = tmp_path_factory.mktemp("stranger")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text.lstrip())
    rows = [f"{text},{10 * (i % 7)}" for i, text in enumerate(sentences(40))]
    (folder / "ages.csv").write_text("\n".join(["text,label", *rows]))
    words = ["task._target_=gauss.Gauss", "+task.deviations=2.0", "+task.scale=60"]
    words += ["loss=mse", "loss._target_=gauss.LogLikelihood", "trust=[gauss]", "data=files"]
    words += [f"data.train_file={folder}/ages.csv", "data.split.validation=0.2", "test=false"]
    words += [f"model.path={tiny_bert(folder / 'model')}", "model=base", "data.batch_size=8"]
    words += ["data.max_length=32", "trainer.max_epochs=1", "trainer.precision=32"]
    words += [f"paths.runs={folder}/runs", "trainer.num_threads=1"]
    (folder / "overrides.json").write_text(json.dumps(words))
    return folder


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run Python in the stranger's folder, as they would."""
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    line = [sys.executable, *command]
    return subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True)


def words(folder: Path) -> list[str]:
    return json.loads((folder / "overrides.json").read_text())


def test_a_head_a_loss_and_a_metric_of_ones_own_train_by_the_command(stranger: Path) -> None:
    done = run(stranger, str(ROOT / "train.py"), *words(stranger))
    assert done.returncode == 0, done.stderr
    found = json.loads((only_run(stranger, "default") / "metrics.json").read_text())
    assert 0 < found["scores"]["val/error"] < 60
    assert 0 <= found["scores"]["val/coverage"] <= 1
    assert found["monitor"] == "val/error"
    answers = run(
        stranger,
        *["-m", "tunesmith.cli.main", "predict", "--trust", "gauss"],
        *[str(only_run(stranger, "default")), "ages.csv"],
    )
    assert answers.returncode == 0, answers.stderr
    assert json.loads(answers.stdout.splitlines()[0])["width"] > 0


def test_their_options_are_checked_by_their_ranges(stranger: Path) -> None:
    wrong = ["task.deviations=9", "+loss.least_variance=2"]
    done = run(stranger, str(ROOT / "train.py"), *words(stranger), *wrong)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error[CONF-RANGE] loss.least_variance=2: must be a number > 0 and < 1",
        "error[CONF-RANGE] task.deviations=9: must be a number > 0 and <= 5",
    ]


def test_they_are_held_to_what_ours_promise(stranger: Path) -> None:
    done = run(stranger, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_gauss.py")
    assert done.returncode == 0, done.stdout[-3000:]
    assert "12 passed" in done.stdout
