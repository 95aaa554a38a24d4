"""Searches over what changes a trial's whole make: the model, what is trained, the processes."""

from pathlib import Path

import pytest

from support.commands import train
from support.searches import inputs, summary


def searched(folder: Path, *words: str) -> list[dict]:
    """Run a search; return its trials."""
    done = train(["-m", *words, "study=mine"])
    assert done.returncode == 0, done.stderr[-3000:]
    return summary(folder, "mine")["trials"]


@pytest.fixture
def configs(tmp_path):
    """A user's own config folder: a model and a space."""
    for group in ("model", "space"):
        (tmp_path / "conf" / group).mkdir(parents=True)
    model = f"defaults: [base]\npath: {tmp_path}/model\n"
    (tmp_path / "conf/model/tiny.yaml").write_text(model)
    (tmp_path / "conf/space/layers.yaml").write_text(
        "adapt: {choices: [full, frozen]}\n"
        "adapt.layers: {low: 1, high: 2, int: true, when: {adapt: frozen}}\n"
    )
    return tmp_path / "conf"


def test_a_real_model_beside_a_tiny_one_each_trained_whole_and_frozen(tmp_path, configs):
    words = [word for word in inputs(tmp_path) if not word.startswith("model")]
    words += ["model=minilm,tiny", "adapt=full,frozen", "trainer.max_epochs=1"]
    trials = searched(tmp_path, "--config-dir", str(configs), *words)
    made = {(trial["params"]["model"], trial["params"]["adapt"]) for trial in trials}
    assert made == {(model, adapt) for model in ("minilm", "tiny") for adapt in ("full", "frozen")}
    assert [trial["state"] for trial in trials] == ["complete"] * 4
    assert len({trial["score"] for trial in trials}) > 1


def test_a_key_is_searched_only_where_its_condition_holds(tmp_path, configs):
    words = ["search=random", "space=layers", "search.trials=6", "search.confirm.top=0"]
    words += ["trainer.max_epochs=1", "executor.workers=1"]
    trials = searched(tmp_path, "--config-dir", str(configs), *inputs(tmp_path), *words)
    assert [trial["state"] for trial in trials] == ["complete"] * 6
    adapted = {trial["params"]["adapt"] for trial in trials}
    assert adapted == {"full", "frozen"}
    for trial in trials:
        assert ("adapt.layers" in trial["params"]) == (trial["params"]["adapt"] == "frozen")


def test_a_trial_of_two_processes_is_paused_and_promoted_among_two_workers(tmp_path):
    words = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=choice(2)"]
    words += [
        "search=asha",
        "search/sampler=grid",
        "search.policy.rungs=[1/2,1]",
        "search.trials=2",
    ]
    words += ["search.policy.reduction_factor=2", "search.confirm.top=0", "executor.workers=2"]
    words += ["trainer.max_epochs=2", "optimizer.lr=5e-3,1e-2"]
    trials = searched(tmp_path, *inputs(tmp_path), *words)
    assert [trial["params"]["trainer.devices"] for trial in trials] == [2, 2]
    assert {trial["state"] for trial in trials} <= {"complete", "paused"}
    # One is promoted, and the other too where the first collapsed: each stops at rung 0 first.
    assert all("0" in trial["scores"] for trial in trials)
    assert any(trial["state"] == "complete" and trial["rung"] == 1 for trial in trials)
