"""Population based training for real: one process, a tiny model, and every bit of it again."""

from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import pytest

import tunesmith
from support.commands import make_inputs, train, use_inputs
from support.searches import compared, summary
from support.synthetic_studies import KilledError, Scripted
from tunesmith.errors import TunesmithError
from tunesmith.reporting import verdict
from tunesmith.runs import read_status
from tunesmith.search import start
from tunesmith.search.replay import replay, weights_of
from tunesmith.search.storage import saved_study
from tunesmith.search.worker.input_cache import InputCache
from tunesmith.search.worker.run_segment import run_segment

LAST = "checkpoints/last.ckpt"
MEMBERS = 4
WORDS = [
    "search=pbt",
    f"search.trials={MEMBERS}",
    "search.policy.rungs=[1/3,2/3,1]",
    "search.confirm.top=0",
    "search.seed=1",
    "optimizer.lr=tag(log,interval(1e-4,2e-2))",
    "model.hidden_dropout=interval(0.0,0.3)",
    "optimizer.weight_decay=tag(log,interval(1e-3,1e-1))",
    "data.batch_size=8",
    "trainer.max_epochs=3",
    "logger=none",
    "callbacks.figures=false",
]


class InProcess(Scripted):
    """Trains each segment here and now; dies when it is handed its `fatal`-th one."""

    def submit(self, segment):
        if segment.kind == "train":
            if len(self.submitted) == self.fatal:
                raise KilledError
            self.submitted.append(segment)
        future: Future = Future()
        future.set_result(run_segment(segment, self.warm))
        return future


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("pbt")
    make_inputs(made)
    return made


def command(folder: Path, study: str, *more: str) -> list[str]:
    inputs = [word for word in use_inputs(folder) if not word.startswith("optimizer.lr")]
    return [*inputs, f"paths.runs={folder}/runs", *WORDS, f"study={study}", *more]


@pytest.fixture(scope="module")
def searched(folder):
    """A study without a disturbance, the study again from a kill, and what each has trained."""
    with pytest.MonkeyPatch.context() as patch:

        def search(study, fatal=None):
            executor = InProcess(fatal)
            executor.warm = InputCache()
            patch.setattr(start, "new_executor", lambda cfg, base: executor)
            tunesmith.search(command(folder, study))
            return executor.submitted

        whole = search("whole")
        for fatal in (7, 4):  # in the second generation; then, gone on with, in the third
            with pytest.raises(KilledError):
                search("killed", fatal)
        return whole, search("killed")


def trial(folder: Path, study: str, number: int) -> Path:
    return folder / f"runs/{study}/trials/{number:04d}"


def test_a_population_ends_better_than_it_began_and_says_that_its_best_is_a_schedule(
    folder, searched
):
    made = saved_study.results_of(folder / "runs/whole")
    roots = [t for t in made.trials if t.parent is None]
    copies = [t for t in made.trials if t.parent is not None]
    assert (len(roots), len(copies)) == (MEMBERS, 2)
    assert sum(t.steps for t in made.trials) == MEMBERS * 15  # 40 rows, 8 a batch, 3 epochs
    ended = [t.known_score for t in made.trials if t.rung == 2]
    assert len(ended) == MEMBERS
    assert max(ended) >= max(t.scores[0] for t in roots)
    for copy in copies:
        status = read_status(trial(folder, "whole", copy.number))
        assert status["parent"] == copy.parent.model_dump()
        assert copy.history[: copy.parent.rung + 1] == [
            h for h in made.by_number(copy.parent.trial).history if h.step <= copy.parent.step
        ]
    shown = verdict.stage_lines(made.model_copy(update={"winner": copies[-1].number}))
    assert shown[0] == f"trial {copies[-1].number} is a schedule: its settings change in mid-run"
    assert len(shown) == 1 + len(made.stages_of(copies[-1].number))


def test_a_killed_population_has_the_same_trials_to_the_bit(folder, searched):
    whole, killed = searched
    assert compared(summary(folder, "killed")) == compared(summary(folder, "whole"))
    weights = [
        {n: weights_of(trial(folder, study, n) / LAST) for n in range(MEMBERS + 2)}
        for study in ("whole", "killed")
    ]
    assert weights[0] == weights[1]
    assert list(weights[0].values()).count(None) <= 2  # of the whole trials the worst
    assert len(killed) < len(whole)


def test_a_copy_is_trained_through_its_stages_stopped_or_not(folder, searched):
    """In another folder, where there is no checkpoint to copy: every bit is the same."""
    last = [s for s in searched[0] if s.trial == MEMBERS][-1]
    assert len(last.stages) == 1 and last.rung >= 1
    alone = run_segment(replace(last, directory=str(folder / "alone")), InputCache())
    in_study = saved_study.results_of(folder / "runs/whole").by_number(MEMBERS).history
    assert alone.history == in_study
    weights = [
        weights_of(trial(folder, "whole", MEMBERS) / LAST),
        weights_of(folder / "alone" / LAST),
    ]
    assert weights[0] in (weights[1], None)
    halves = replace(last, directory=str(folder / "halves"))
    begun = replace(halves, stages=(), config=last.stages[0][1], until=0.2)
    run_segment(begun, InputCache())  # stopped in its first stage
    assert run_segment(replace(halves, until=0.5), InputCache()).state == "done"  # in its second
    result = run_segment(halves, InputCache())
    assert (result.state, result.step) == ("done", round(15 * last.until))
    assert weights_of(folder / "halves" / LAST) == weights[1] is not None
    own = run_segment(replace(last, directory=str(folder / "own"), stages=()), InputCache())
    assert own.history != result.history  # its settings from the start are another training


def test_a_lost_checkpoint_of_a_stage_is_trained_again_with_the_settings_of_that_stage(
    folder, searched
):
    whole, _ = searched
    copy = next(s for s in whole if len(s.stages) == 1 and s.rung == 1)
    straight, broken = folder / "straight", folder / "broken"
    run_segment(replace(copy, directory=str(straight)), InputCache())
    parent = next(s for s in whole if s.config == copy.stages[0][1] and s.rung == 0)
    every = {**parent.config["callbacks"]["checkpoint"], "every_n_steps": 1}
    config = {**parent.config, "callbacks": {**parent.config["callbacks"], "checkpoint": every}}
    run_segment(replace(parent, directory=str(broken), config=config), InputCache())
    (broken / "checkpoints/last.ckpt").write_bytes(b"damaged")  # the one before it is intact
    (broken / "status.json").write_text('{"state": "paused", "stage_ends": [5]}')
    run_segment(replace(copy, directory=str(broken)), InputCache())
    assert weights_of(broken / LAST) == weights_of(straight / LAST) is not None


def test_a_copy_is_replayed_to_the_bit(folder, searched):
    [replayed] = replay(folder / "runs/whole", MEMBERS + 1)
    assert replayed.difference is None and replayed.weights is not None
    assert "seed 0: equal to the bit: 3 validations in 15 steps" in replayed.line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["data.batch_size=8,16"],
            r"CONF-SPACE\] data.batch_size: cannot change in mid-run, as .*",
        ),
        (["model=minilm,distilbert"], r"CONF-SPACE\] model: cannot change in mid-run"),
        (["loss.class_weights=none,inverse"], r"CONF-SPACE\] loss.class_weights: cannot change"),
        (["scheduler=plateau"], r"CONF-SPACE\] scheduler.monitor=val/accuracy: follows a score"),
        (["callbacks=early_stopping"], r"early_stopping.patience=3: ends members at different"),
        (["search.policy.quantile_fraction=0.6"], "quantile_fraction=0.6: must be a number > 0"),
    ],
)
def test_what_cannot_change_in_mid_run_is_refused_by_name(folder, words, said):
    name = words[0].partition("=")[0]
    typed = [word for word in command(folder, "refused") if not word.startswith(f"{name}=")]
    with pytest.raises(TunesmithError, match=said):
        tunesmith.search([*typed, *words])
    assert not (folder / "runs/refused").exists()


def test_several_workers_and_the_command_line_make_the_same_study(folder, searched):
    """With a confirmation besides: the schedule is trained stage by stage over fresh seeds."""
    more = ["search.confirm.top=1", "search.confirm.seeds=2", "executor.workers=2"]
    done = train(["-m", *command(folder, "typed", *more)])
    assert done.returncode == 0, done.stderr[-3000:]
    made, alone = summary(folder, "typed"), summary(folder, "whole")
    assert compared(made)[0] == compared(alone)[0]
    best = (folder / "runs/typed/experiment/best.yaml").read_text()
    assert ("It is a schedule" in best) == (made["trials"][made["winner"]]["parent"] is not None)
    arms = made["confirmation"]["arms"]
    assert [len(arm["scores"]) for arm in arms] == [2, 2]
