"""Tunesmith as a library: what the command line does, as functions."""

import subprocess
import sys

import pytest

import tunesmith
from support.commands import small
from tunesmith.errors import ConfigError


def test_a_run_and_a_study_are_made_loaded_and_used(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = [*small(tmp_path), "trainer.max_epochs=6", "callbacks.figures=false"]
    run = tunesmith.train(arguments)
    assert run.metrics["best"] == run.evaluate("validation")[run.metrics["monitor"]]
    assert [a["label"] for a in run.predict(["lovely"])] == [
        a["label"] for a in tunesmith.load(run.directory).predict(["lovely"])
    ]
    searched = [word for word in arguments if not word.startswith("optimizer.lr=")]
    study = tunesmith.search([*searched, "optimizer.lr=1e-3,2e-3", "study=s"])
    assert isinstance(study, tunesmith.Study)
    assert [trial.state for trial in study.results.trials] == ["complete"] * 2
    assert study.winner.predict(["awful"])


def test_mistakes_are_raised_as_errors_of_ours(tmp_path):
    with pytest.raises(ConfigError, match=r"optimizer.lr=-1: must be a number > 0"):
        tunesmith.train([*small(tmp_path), "optimizer.lr=-1"])
    with pytest.raises(ConfigError, match=r"no such key; did you mean 'optimizer.lr'"):
        tunesmith.search([*small(tmp_path), "optimizer.lrr=1e-3,2e-3"])


def test_the_table_of_contents_is_whole_and_light():
    assert all(getattr(tunesmith, name) is not None for name in tunesmith.__all__)
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = tunesmith.trian
    script = "import sys, tunesmith; tunesmith.search; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "False\n"
