"""Where a study lies, and what of the config files goes into it."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from support.commands import ROOT
from support.spaces import space_of
from tunesmith.config.composer import Composer
from tunesmith.errors import ConfigError
from tunesmith.search.study.build_loop import first_choices
from tunesmith.search.study.frozen_config import CONFIG_DIR, freeze
from tunesmith.search.study.parse_request import folder_of


def asked(runs: Path, study: str | None = None, sweep: Path | None = None):
    values = {"study": study, "paths": {"runs": str(runs)}}
    return OmegaConf.create(values | {"hydra": {"sweep": {"dir": str(sweep or runs)}}})


def touched(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_the_study_lies_below_the_runs_or_where_hydra_was_told(tmp_path):
    assert folder_of(asked(tmp_path, "mine")) == tmp_path / "mine"
    assert folder_of(asked(tmp_path)).parent == tmp_path
    assert folder_of(asked(tmp_path, None, tmp_path / "a/b")) == tmp_path / "a/b"
    assert folder_of(asked(tmp_path, "b", tmp_path / "a/b")) == tmp_path / "a/b"
    with pytest.raises(ConfigError, match=r"study=mine: .*hydra\.sweep\.dir=.*give one of them"):
        folder_of(asked(tmp_path, "mine", tmp_path / "a/b"))


def test_the_folder_of_ordinary_runs_is_no_study(tmp_path):
    touched(tmp_path / "default/2026-01-01_00-00-00-aaaa/status.json", "{}")
    with pytest.raises(ConfigError, match=r"study=default: .* holds runs that are no trials"):
        folder_of(asked(tmp_path, "default"))
    touched(tmp_path / "default/study.db")
    assert folder_of(asked(tmp_path, "default")) == tmp_path / "default"


def test_a_config_dir_around_the_runs_is_copied_without_them(tmp_path):
    runs = tmp_path / "runs"
    touched(tmp_path / "optimizer/mine.yaml", "lr: 1")
    touched(tmp_path / "notes.txt")
    touched(tmp_path / ".venv/lib/x.yaml")
    touched(runs / "default/2026-01-01_00-00-00-aaaa/config.yaml")
    touched(tmp_path / "older/study.db")
    touched(tmp_path / "older/trials/0000/config.yaml")
    (tmp_path / "optimizer/back").symlink_to(tmp_path)
    (tmp_path / "nowhere.yaml").symlink_to(tmp_path / "gone.yaml")
    study = runs / "mine"
    study.mkdir()
    freeze(study, ROOT / "conf", tmp_path, "train")
    copied = study / CONFIG_DIR
    files = [path.relative_to(copied) for path in copied.rglob("*") if not path.is_dir()]
    assert files == [Path("optimizer/mine.yaml")]


@pytest.mark.parametrize(
    ("choices", "found"),
    [
        ("task=similarity,cross_encoder_similarity", ["task=similarity"]),
        ("task=regression,classification", []),
        ("optimizer.lr=1e-5,2e-5", []),
    ],
)
def test_a_study_is_checked_by_a_task_that_a_trial_has(choices, found):
    space = space_of(choices)
    assert first_choices(space, Composer()) == found


def test_a_study_can_be_searched_on_from_its_best_experiment(tmp_path):
    old, new = tmp_path / "runs/old", tmp_path / "runs/new"
    touched(old / "study.db")
    touched(old / "experiment/best.yaml", "# @package _global_\nname: old\n")
    for name in ("trials/0000", "confirm/0000-seed-1"):
        touched(old / name / "status.json", "{}")
        touched(old / name / "config.yaml")
    new.mkdir()
    freeze(new, ROOT / "conf", old, "train")
    assert [path.name for path in (new / CONFIG_DIR).rglob("*.yaml")] == ["best.yaml"]
    assert Composer(new / "conf", new / CONFIG_DIR)(["experiment=best"]).name == "old"
