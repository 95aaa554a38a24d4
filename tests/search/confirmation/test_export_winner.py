"""experiment/best.yaml composes to the winner, whatever was typed, and can be changed further."""

import shutil
from pathlib import Path

import pytest

from support.commands import ROOT
from tunesmith import config
from tunesmith.config.composer import Composer
from tunesmith.search.confirmation import export_winner
from tunesmith.search.study.frozen_config import freeze, frozen

OWN = {
    "experiment/mine.yaml": "# @package _global_\n"
    "defaults:\n  - override /adapt: frozen\n"
    "name: mine\nadapt:\n  layers: 2\ntrainer:\n  max_epochs: 7\n",
    "optimizer/myadam.yaml": "_target_: torch.optim.Adam\n_partial_: true\nlr: 3.0e-4\n",
}


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Return a folder of one's own groups, as --config-dir names it."""
    for name, text in OWN.items():
        (tmp_path / "own" / name).parent.mkdir(parents=True)
        (tmp_path / "own" / name).write_text(text)
    return tmp_path / "own"


def written(folder: Path, overrides: list[str], own: Path) -> tuple[Path, Composer]:
    """Write the best of a study that was made with these files; then the files are gone."""
    study = folder / "runs" / "study"
    study.mkdir(parents=True)
    freeze(study, ROOT / "conf", own, "train")
    compose = frozen(study, "train")
    export_winner.write_experiment(study, compose, overrides)
    shutil.rmtree(own)
    return study, compose


@pytest.mark.parametrize(
    "overrides",
    [
        ["optimizer.lr=3e-3", "seed=4"],
        ["optimizer=sgd", "optimizer.momentum=0.5", "scheduler=cosine"],
        ["experiment=mine", "~scheduler.warmup", "optimizer.lr=1e-3"],
        ["experiment=bbc_news_frozen", "adapt.layers=1"],
        ["optimizer=myadam", "optimizer.lr=1e-3"],
        ["debug=fast", "+optimizer.amsgrad=true", "logger=[csv,tensorboard]", "task=regression"],
        ["paths.runs=elsewhere", "data.labels=[b,a]", "loss.label_smoothing=0.1", "trust=[mine]"],
    ],
)
def test_the_best_experiment_composes_to_the_winner(tmp_path, own, overrides):
    study, compose = written(tmp_path, overrides, own)
    again = Composer(ROOT / "conf", study)
    trust = [override for override in overrides if override.startswith("trust=")]
    winner, best_of_it = compose(overrides), again(["experiment=best", *trust])
    assert all(t in (study / "experiment/best.yaml").read_text() for t in trust)
    assert config.config_diff(winner, best_of_it) == []
    assert config.config_hash(winner) == config.config_hash(best_of_it)
    assert best_of_it.paths == winner.paths
    assert best_of_it.search.policy["_target_"].endswith(".FullPolicy") and best_of_it.study is None


def test_the_best_experiment_can_be_changed_further(tmp_path, own):
    typed = ["optimizer=sgd", "optimizer.lr=0.2", "trainer.max_epochs=2"]
    study, _ = written(tmp_path, typed, own)
    compose = Composer(ROOT / "conf", study)
    changed = compose(["experiment=best", "seed=5", "trainer.max_epochs=4"])
    assert (changed.seed, changed.trainer.max_epochs, changed.optimizer.lr) == (5, 4, 0.2)
    elsewhere = compose(["experiment=best", "trainer=gpu", "optimizer=adamw"])
    assert elsewhere.trainer.accelerator == "gpu" and elsewhere.trainer.max_epochs == 2
    assert elsewhere.optimizer._target_.endswith("AdamW") and "momentum" not in elsewhere.optimizer


def test_the_threads_of_a_trial_are_those_it_had(tmp_path, own):
    study, compose = written(tmp_path, ["seed=1"], own)
    export_winner.write_experiment(study, compose, ["seed=1"], threads=2)
    assert Composer(ROOT / "conf", study)(["experiment=best"]).trainer.num_threads == 2
    export_winner.write_experiment(study, compose, ["trainer.num_threads=3"], threads=2)
    assert Composer(ROOT / "conf", study)(["experiment=best"]).trainer.num_threads == 3


def test_no_secret_is_written_down(tmp_path, own):
    typed = ["+logger.tensorboard.api_key=hunter2", "+logger.tensorboard.url=http://me:pass@host"]
    study, _ = written(tmp_path, typed, own)
    for file in study.rglob("best.yaml"):
        assert "hunter2" not in file.read_text() and "me:pass" not in file.read_text()
