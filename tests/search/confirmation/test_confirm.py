"""The end of a search: what is confirmed, which runs are tried again, which weights are kept."""

import os
import random
import time
from pathlib import Path

import pytest

from support.synthetic_studies import KilledError, Scripted, settings, study, surface
from tunesmith.reporting import next_steps, verdict
from tunesmith.reporting.results import Confirmation
from tunesmith.reporting.trial_results import COLLAPSE, PAUSED
from tunesmith.search import final_output, start
from tunesmith.search.confirmation import confirm
from tunesmith.search.confirmation.confirmation_runs import NoScoreError
from tunesmith.search.storage.checkpoint_budget import bytes_of
from tunesmith.search.storage.study_facts import Objective
from tunesmith.search.study.open_study import spec_of
from tunesmith.search.trial import result_of

SIZE = 1000  # bytes of a checkpoint


class Confirming(Scripted):
    """Leaves a finished run for each segment; the confirmation's can be made to fail."""

    def __init__(self, failure: str | None = None, collapsed: str = "", **more) -> None:
        super().__init__(**more)
        self.failure, self.collapsed = failure, collapsed

    def submit(self, segment):
        run = Path(segment.directory)
        (run / "checkpoints").mkdir(parents=True, exist_ok=True)
        (run / "checkpoints/last.ckpt").write_bytes(b"x" * SIZE)
        if not (run / "checkpoints/best.ckpt").exists():
            os.link(run / "checkpoints/last.ckpt", run / "checkpoints/best.ckpt")
        if segment.until == 1.0:
            (run / "metrics.json").touch()
        future = super().submit(segment)
        if run.parent.name == "confirm":
            self.answer(segment, future, run.name)
        return future

    def answer(self, segment, future, name: str) -> None:
        if self.failure is not None:
            future._result = result_of(segment, "failed", failure=self.failure, error="no room")
            return
        params = dict(part.split("=") for part in segment.overrides if part.startswith(("lr", "w")))
        value = surface({k: float(v) for k, v in params.items()}, 1.0) + segment.seed / 1e9
        failure = COLLAPSE if self.collapsed and name.startswith(self.collapsed) else None
        future._result = result_of(segment, "done", score=value, failure=failure)


def searched(folder, executor, sampler="random", policy="full", **more):
    made = study(folder, executor, settings(sampler, policy, **{"confirm_top": 2, **more}))
    made.search()
    return made


def confirmed(made) -> list[str]:
    """Return the overrides of each setting that was confirmed, the seed left out."""
    runs = [s for s in made.executor.submitted if "/confirm/" in s.directory]
    return sorted({" ".join(s.overrides[:-1]) for s in runs})


def ended(folder, executor, **more):
    """Search, confirm and end; return the study and its results."""
    how = settings("random", "full", **{"confirm_top": 2, "trials": 4, **more})
    made = study(folder, executor, how)
    end = start._search_and_confirm(made, time.monotonic(), True)
    spec = spec_of(folder, how, made.space, Objective(metric="val/accuracy", mode="max"))
    spec = spec.model_copy(update={"command": ["train.py"]})
    results = final_output.results_of(made, spec, end)
    made.store.close()
    return made, results


@pytest.mark.parametrize(
    ("is_confirmed", "expected"),
    [(True, [("train", 1.0), ("test", 1.0)]), (False, [("save", 1.0)])],
)
def test_a_confirmed_default_that_was_paused_is_trained_to_its_end(
    tmp_path, is_confirmed, expected
):
    made = study(tmp_path / "study", executor := Scripted(), settings("random", "asha"))
    made.search()
    assert made.records[0].state(made.last_rung) == PAUSED
    checkpoints = made.folder / "trials" / "0000" / "checkpoints"
    checkpoints.mkdir(parents=True)
    (checkpoints / "best.ckpt").touch()
    if is_confirmed:
        none = Confirmation(
            seeds=[], most_seeds=5, alpha=0.02, arms=[], winner=0, clearly_better=False, reason=""
        )
        made.store.set("confirmation", none)
    before = len(executor.submitted)
    confirm.keep_winner(made, 0, is_confirmed)
    made.store.close()
    assert [(s.kind, s.until) for s in executor.submitted[before:]] == expected


@pytest.mark.parametrize("failure", ["error:ENV-DISK", "crash", "timeout"])
def test_a_confirmation_that_failed_of_a_passing_fault_names_no_winner_and_is_tried_again(
    tmp_path, failure
):
    executor = Confirming(failure)
    made = searched(tmp_path / "study", executor)
    with pytest.raises(NoScoreError, match=r"STUDY-CONFIRM.*no room.*study=study") as caught:
        confirm.confirm_best(made)
    assert caught.value.exit_code == 7
    assert made.store.facts.confirmation is None
    executor.failure = None
    found = confirm.confirm_best(made)
    made.store.close()
    assert found is not None and None not in found.arms[0].scores


class Partial(Confirming):
    """The default fails on every fresh seed, each candidate on the first one."""

    def answer(self, segment, future, name: str) -> None:
        super().answer(segment, future, name)
        first = self.seeds.setdefault(name.partition("-seed-")[0], segment.seed)
        if name.startswith("0000") or segment.seed == first:
            future._result = result_of(segment, "failed", failure="nan", error="nan")

    def __init__(self) -> None:
        super().__init__(None)
        self.seeds: dict[str, int] = {}


def test_nobody_wins_where_nobody_should(tmp_path):
    made = searched(tmp_path / "study", Partial())
    with pytest.raises(NoScoreError, match="nobody wins: the default failed") as error:
        confirm.confirm_best(made)
    made.store.close()
    assert error.value.exit_code == 7
    assert made.store.facts.confirmation is None


def test_a_confirmation_that_failed_of_training_itself_is_not_tried_again(tmp_path):
    made = searched(tmp_path / "study", executor := Confirming("nan"))
    for _ in range(2):
        with pytest.raises(NoScoreError):
            confirm.confirm_best(made)
    made.store.close()
    assert len([s for s in executor.submitted if "/confirm/" in s.directory]) == 6


def test_a_run_that_collapsed_has_no_score_in_the_confirmation(tmp_path):
    made = searched(tmp_path / "study", Confirming(collapsed="0000"))
    found = confirm.confirm_best(made)
    made.store.close()
    default = next(arm for arm in found.arms if arm.is_default)
    assert default.scores == [None, None]
    assert found.winner != 0


def test_copies_take_no_place_in_the_confirmation(tmp_path):
    made = searched(tmp_path / "study", Confirming(), trials=5, confirm_top=3)
    best = confirm.ranked(made)[0]
    for record in made.records[1:4]:
        record.overrides, record.params = best.overrides, best.params
    confirm.confirm_best(made)
    made.store.close()
    others = {" ".join(record.overrides) for record in made.records}
    assert len(others) == 3 and confirmed(made) == sorted(others)


def test_a_copy_of_the_default_is_no_candidate(tmp_path):
    made = searched(tmp_path / "study", Confirming(), trials=4, confirm_top=3)
    made.records[1].overrides = list(made.records[0].overrides)
    confirm.confirm_best(made)
    made.store.close()
    assert len(confirmed(made)) == 3


def test_the_confirmation_leaves_the_winners_checkpoint_only(tmp_path):
    made = searched(tmp_path / "study", Confirming(), policy="asha")
    found = confirm.confirm_best(made)
    made.store.close()
    kept = {run.parent.parent.name for run in made.folder.glob("confirm/*/checkpoints/best.ckpt")}
    assert made.records[0].state(made.last_rung) == PAUSED
    is_default = found.winner == 0  # a trial that came to its end has its weights in the search
    assert kept == ({f"0000-seed-{found.seeds[0]}"} if is_default else set())


def test_a_run_of_the_confirmation_takes_as_many_devices_as_a_trial(tmp_path):
    made = study(tmp_path / "study", Confirming(), settings("random", "full", confirm_top=1))
    made.segments.config_of = lambda typed: {"trainer": {"devices": 2}, "typed": list(typed)}
    made.search()
    confirm.confirm_best(made)
    made.store.close()
    assert {segment.devices for segment in made.executor.submitted} == {2}


def test_the_limit_counts_the_confirmation(tmp_path):
    made = searched(tmp_path / "study", Confirming(), policy="asha", max_disk=4 * SIZE)
    confirm.confirm_best(made)
    made.store.close()
    assert sum(bytes_of(made.folder / name) for name in ("trials", "confirm")) <= 4 * SIZE


def test_without_a_score_in_the_confirmation_there_is_no_winner_and_no_test(tmp_path):
    made, results = ended(tmp_path / "study", Confirming("error:ENV-DISK"))
    assert results.winner is None and results.test is None
    assert {s.kind for s in made.executor.submitted} == {"train"}
    assert (
        "not called a winner: no run of the confirmation has a score" in verdict.lines(results)[1]
    )
    purposes = [c.purpose for c in next_steps.next_ones(results)]
    assert purposes[1:] == ["try the confirmation again"]
    _, results = ended(tmp_path / "study", Confirming())
    assert results.winner == results.confirmation.winner


def test_an_earlier_confirmation_does_not_speak_for_newer_trials(tmp_path):
    _, first = ended(tmp_path / "study", Confirming())
    made, results = ended(tmp_path / "study", Confirming(), trials=6, confirm_top=0)
    assert first.confirmation is not None
    assert results.confirmation is None
    assert results.winner == confirm.ranked(made)[0].number
    assert "is the best seen: not confirmed over fresh seeds" in verdict.lines(results)[1]
    _, again = ended(tmp_path / "study", Confirming("crash"), trials=6, confirm_top=2)
    assert again.confirmation.seeds == first.confirmation.seeds


def test_who_wins_because_the_default_failed_is_named(tmp_path):
    _, results = ended(tmp_path / "study", Confirming(collapsed="0000"))
    assert results.winner != 0
    assert verdict.verdict(results).title == f"Trial {results.winner} is used"


class Noisy(Confirming):
    """The scores of a confirmation differ over seeds, by as much as is said."""

    def __init__(self, noise: float = 0.01, **more) -> None:
        super().__init__(**more)
        self.noise = noise

    def answer(self, segment, future, name: str) -> None:
        super().answer(segment, future, name)
        score = future._result.score + random.Random(name).gauss(0, self.noise)
        future._result = future._result.changed(score=score)

    @property
    def confirmed(self) -> list[str]:
        """The runs of the confirmation that it was handed."""
        runs = [Path(s.directory) for s in self.submitted if s.kind == "train"]
        return [run.name for run in runs if run.parent.name == "confirm"]


OF_THREE = {"confirm_top": 3, "confirm_seeds": 5}


def confirms(folder, executor, **more):
    """Search as ever, confirm the best three; return what was confirmed."""
    made = searched(folder, executor, **{**OF_THREE, **more})
    try:
        return confirm.confirm_best(made)
    finally:
        made.store.close()


@pytest.mark.parametrize(("noise", "wins"), [(0.005, True), (1.0, False)])
def test_a_confirmation_ends_when_it_knows_and_says_what_all_seeds_say(tmp_path, noise, wins):
    whole = confirms(tmp_path / "all", all_seeds := Noisy(noise), confirm_stop_early=False)
    found = confirms(tmp_path / "early", early := Noisy(noise, workers=3))
    assert (len(all_seeds.confirmed), whole.trainings, whole.most_trainings) == (20, 20, 20)
    assert len(early.confirmed) == found.trainings <= 12
    assert (found.winner, found.clearly_better) == (whole.winner, wins)
    assert (found.winner != 0) == wins
    assert confirms(tmp_path / "one worker", Noisy(noise)) == found
    assert confirms(tmp_path / "all", again := Noisy(noise)) == found  # of what is known
    assert again.confirmed == []


def test_a_confirmation_that_is_killed_between_two_runs_goes_on_to_the_same(tmp_path):
    expected = confirms(tmp_path / "undisturbed", undisturbed := Noisy(0.03))
    runs = undisturbed.confirmed
    assert 8 < len(runs) < 20  # in more than one block
    for known in (0, 3, 8, len(runs) - 1):  # within a block, and between two
        made = searched(tmp_path / f"{known}", Noisy(0.03), **OF_THREE)
        remembered = die_after(made, known)
        with pytest.raises(KilledError):
            confirm.confirm_best(made)
        made.store.close()
        assert confirms(tmp_path / f"{known}", executor := Noisy(0.03)) == expected
        assert len(remembered) == known
        assert sorted([*executor.confirmed, *remembered]) == sorted(runs)  # none twice


def die_after(made, results: int) -> list[str]:
    """Let the controller die when it is to remember one result more; return those it remembers."""
    add, known = made.store.add_result, []

    def remember(key, result):
        if len(known) == results:
            raise KilledError
        known.append(f"{result.trial:04d}-seed-{result.seed}")
        add(key, result)

    made.store.add_result = remember
    return known


def test_more_seeds_decide_as_if_they_had_been_asked_for_at_first(tmp_path):
    expected = confirms(tmp_path / "ten", Noisy(0.1), confirm_seeds=10)
    few = confirms(tmp_path / "more", Noisy(0.1), confirm_seeds=3)
    assert few.seeds == expected.seeds[: len(few.seeds)]
    assert confirms(tmp_path / "more", Noisy(0.1), confirm_seeds=10) == expected


def test_a_budget_that_ends_within_a_confirmation_confirms_nothing_and_more_goes_on(tmp_path):
    expected = confirms(tmp_path / "undisturbed", undisturbed := Noisy(0.03))
    made = searched(tmp_path / "study", executor := Noisy(0.03), **OF_THREE)
    add = made.store.add_result
    made.store.add_result = lambda key, result: (add(key, result), made.end("budget"))
    assert confirm.confirm_best(made) is None
    assert len(executor.confirmed) == 8  # of the first block; no further one is begun
    made.store.add_result = add
    made.begin_phase(None)
    assert confirm.confirm_best(made) == expected
    made.store.close()
    assert executor.confirmed == undisturbed.confirmed
