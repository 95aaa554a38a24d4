"""summary.json, made of a real store: what it adds up over seeds, and what it does not."""

import argparse
import io
import json
from importlib import metadata
from pathlib import Path

import pytest
from rich.console import Console

from support.report_words import words
from support.synthetic_studies import HORIZON, Scripted, search, settings, study
from tunesmith.cli import study_commands
from tunesmith.errors import ModelError
from tunesmith.reporting import findings, write_report
from tunesmith.reporting.results import SearchedDimension, StudyEnd, StudyResults, StudySpec
from tunesmith.reporting.terminal import studies
from tunesmith.runtime import environment
from tunesmith.search.storage import saved_study
from tunesmith.search.storage.study_db import StudyDatabase
from tunesmith.search.storage.summary import build_results
from tunesmith.search.study.search_loop import SearchLoop

ENDED = StudyEnd(stopped_by="trials", seconds=1.0)
SPEC = {
    "study": "made",
    "command": ["python", "train.py", "-m"],
    "metric": "val/accuracy",
    "mode": "max",
    "sampler": "random",
    "policy": "full",
    "reduction_factor": 3,
    "seed": 0,
    "explicit_grid": False,
    "rungs": [1.0],
    "space": [],
}


def results_of(made: SearchLoop, **changes) -> StudyResults:
    spec = StudySpec(**SPEC | {"rungs": list(made.policy.rungs)} | changes)
    confirmation = made.store.facts.confirmation
    return build_results(made.folder, made.records, spec, ENDED, confirmation)


@pytest.mark.parametrize("seeds", [(0,), (1, 2, 3)])
def test_a_horizon_is_of_one_seed_and_steps_are_of_all(tmp_path: Path, seeds: tuple) -> None:
    how = settings("random", "full", trials=4, replicates=len(seeds))
    found = results_of(search(tmp_path / "study", Scripted(), how, seeds=seeds))
    for trial in found.trials:
        assert (trial.horizon, trial.best_step) == (HORIZON, HORIZON)
        assert trial.steps == trial.total_steps == len(seeds) * HORIZON
    assert findings.steps_of_best(found) == [1.0] * 4


def test_the_share_of_full_trainings_is_of_all_their_seeds(tmp_path: Path) -> None:
    how = settings("random", "asha", replicates=3)
    found = results_of(search(tmp_path / "study", Scripted(), how, seeds=(1, 2, 3)))
    share = found.steps / (9 * 3 * HORIZON)
    assert 0 < share < 0.5
    assert f"; {share:.0%} of the steps of as many full trainings" in words(found)


class Timed(Scripted):
    """Each segment takes 100 seconds; the `cut`-th is cut off by the end of the budget."""

    def __init__(self, cut: int | None = None) -> None:
        super().__init__()
        self.cut = cut

    def submit(self, segment):
        future = super().submit(segment)
        is_cut = len(self.submitted) == self.cut
        changes = {"seconds": 100.0, **({"state": "interrupted"} if is_cut else {})}
        future._result = future.result().changed(**changes)
        return future

    def stop(self) -> None:
        pass


def test_the_seconds_of_a_trial_are_those_of_all_its_segments_and_seeds(tmp_path: Path) -> None:
    how = settings("random", "asha", trials=4, replicates=2)
    made = search(tmp_path / "study", executor := Timed(), how, seeds=(1, 2))
    seconds = [trial.seconds for trial in results_of(made).trials]
    taken = [sum(s.trial == n for s in executor.submitted) for n in range(4)]
    assert seconds == [100.0 * count for count in taken]
    assert max(seconds) == 600.0  # three rungs, two seeds
    read = saved_study.read(made.folder).records
    assert [record.seconds for record in read] == seconds


def test_the_time_of_a_segment_that_was_cut_off_counts(tmp_path: Path) -> None:
    made = study(tmp_path / "study", executor := Timed(cut=2), settings("random", "asha", 3))
    submit = executor.submit

    def ends(segment):
        future = submit(segment)
        if len(executor.submitted) == 2:
            made.end("budget")
        return future

    executor.submit = ends
    made.search()
    made.store.close()
    assert [trial.seconds for trial in results_of(made).trials] == [100.0, 100.0]
    again = search(made.folder, Timed(), settings("random", "asha", 3))
    assert results_of(again).trials[1].seconds >= 200.0


def ended_and_extended(folder: Path) -> StudyResults:
    """Leave a study that ended with a winner and was killed when it went on; return its end."""
    made = study(folder, Scripted(), settings("random", "full", 3))
    made.search()
    facts = {"winner": 1, "winner_directory": "trials/0001", "winner_overrides": ["a=1"]}
    ended, spec = ENDED.model_copy(update=facts), StudySpec(**SPEC)
    made.store.set("spec", spec)
    made.store.set("ended", ended)
    found = build_results(made.folder, made.records, spec, ended, None)
    write_report.write(found, folder)
    made.store.set("ended", None)
    made.store.close()
    return found


def test_a_study_killed_when_it_went_on_has_no_winner_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a long path would leave the line no room for the reason
    ended_and_extended(tmp_path / "study")
    console = Console(file=io.StringIO(), width=200)
    console.print(studies.listing(tmp_path, saved_study.results_of))
    [row] = [line for line in console.file.getvalue().splitlines() if "val/accuracy" in line]
    assert row.split()[-2:] == ["-", "interrupted"]
    with pytest.raises(ModelError, match="has no winner"):
        study_commands._best(argparse.Namespace(study=Path("study"), yaml=False))


def test_the_report_of_an_unfinished_study_says_so(tmp_path: Path) -> None:
    finished = ended_and_extended(tmp_path / "study")
    found = saved_study.results_of(tmp_path / "study")
    assert f"Trial {found.best} is the best so far" in words(found)
    assert "The study is unfinished, and names no winner before its end." in words(found)
    assert "Interrupted; the same command goes on." in words(found)
    assert "Under way: more may be found." in words(found.model_copy(update={"stopped_by": None}))
    assert "unfinished" not in words(finished)


SECRET = "hunter2hunter2"


def test_secrets_among_the_settings_are_masked_in_all_that_is_written(tmp_path: Path) -> None:
    made = search(tmp_path / "study", Scripted(), settings("random", "full", 2))
    choices = [SECRET, f"{SECRET}x"]
    space = [SearchedDimension(key="logger.api_key", kind="categorical", choices=choices)]
    for record in made.records:
        record.params = {**record.params, "logger.api_key": SECRET}
        record.overrides = [f"logger.api_key={SECRET}", f"+logger={{x:{{token: '{SECRET}'}}}}"]
    found = results_of(made, space=space)
    assert found.trials[0].params["logger.api_key"] == "***"
    write_report.write(found, tmp_path)
    for name in ("summary.json", "summary.csv", "report.html"):
        text = (tmp_path / name).read_text()
        assert "lr" in text and SECRET not in text


def test_a_token_among_the_overrides_is_in_no_file_and_comes_back_with_the_command(
    tmp_path: Path,
) -> None:
    token = "hf_" + "aB3" * 11
    made = search(tmp_path / "study", Scripted(), settings("random", "full", 2))
    made.records[1].overrides = [*made.records[1].overrides, f"data.revision={token}"]
    store = StudyDatabase(tmp_path / "study", made.store.dimensions)
    store.save(made.records[1])
    store.close()
    files = [path for path in (tmp_path / "study").iterdir() if path.name.startswith("study.db")]
    assert files and not any(token.encode() in path.read_bytes() for path in files)
    again = search(tmp_path / "study", Scripted(), settings("random", "full", 2))
    assert not any("***" in text for record in again.records for text in record.overrides)


def test_a_summary_names_the_versions_that_its_trials_ran_on(tmp_path: Path) -> None:
    made = search(tmp_path / "study", Scripted(), settings("random", "full", 2))
    assert results_of(made).versions == {}
    run = made.folder / "trials" / "0000"
    run.mkdir(parents=True)
    (run / "environment.json").write_text(json.dumps(environment.describe("32")))
    found = results_of(made)
    assert {*found.versions} == {"tunesmith", "torch", "lightning", "transformers", "optuna"}
    assert f"optuna {metadata.version('optuna')}" in words(found)
