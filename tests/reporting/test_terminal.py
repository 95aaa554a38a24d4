"""The ranking, and what of it a terminal and a csv show."""

import csv
import io

import pytest
from pydantic import ValidationError
from rich.console import Console, RenderableType

from support import summaries
from support.report_words import words as report_of
from support.summaries import ESCAPE, HOSTILE, failed, results, study, trial
from tunesmith.reporting import formatting, next_steps
from tunesmith.reporting.summary_csv import csv_text
from tunesmith.reporting.terminal import cells
from tunesmith.reporting.terminal.final_table import RankedTable, final
from tunesmith.reporting.terminal.studies import winner_name


def shown(renderable: RenderableType, width: int = 100) -> str:
    """Return what a terminal of this width would show."""
    console = Console(width=width, record=True, file=io.StringIO(), color_system=None)
    console.print(renderable)
    return console.export_text()


def test_a_schedule_is_shown_by_its_stages_and_trained_again_as_one() -> None:
    made = summaries.population()
    text = shown(final(results(made)))
    assert "trial 5 is a schedule: its settings change in mid-run" in text
    assert "  to 1/3: optimizer.lr=1e-4 scheduler.warmup=0.1 (trial 0)" in text
    assert "  to 2/3: optimizer.lr=8e-5 scheduler.warmup=0.1 (trial 4)" in text
    assert "  to full: optimizer.lr=9.6e-5 scheduler.warmup=0.1 (trial 5)" in text
    assert "experiment=best" not in text and "search.trials=12" not in text
    assert next_steps.of_the_winner(results(made)) == ["tunesmith", "replay", "runs/made", "5"]
    page = report_of(results(made))
    assert "1e-4 to 1/3, 8e-5 to 2/3, 9.6e-5 to full" in page
    assert "tunesmith replay runs/made 5" in page
    plain = results({**made, "winner": 1})
    assert "is a schedule" not in shown(final(plain)) and "experiment=best" in shown(final(plain))


@pytest.mark.parametrize("parent", [{"trial": 5}, {"trial": 6}, {"trial": -1}, {"rung": 3}])
def test_a_trial_that_began_from_none_before_it_is_refused(parent: dict[str, int]) -> None:
    made = summaries.population()
    made["trials"][5]["parent"] |= parent
    with pytest.raises(ValidationError, match="trial 5 has a parent that the study has not"):
        results(made)


# --- the ranking ----------------------------------------------------------------------------


def mixed(mode: str) -> summaries.Summary:
    trials = [
        trial(0, {}, [0.9], state="paused"),
        trial(1, {}, [0.2, 0.5]),
        trial(2, {}, [0.3, 0.7]),
        failed(3, {}, "diverged"),
        trial(4, {}, [], state="running"),
        failed(5, {}, "nan", score=0.99, rung=1),
        trial(6, {}, [0.4, 0.7]),
    ]
    return study(trials, [], mode=mode, rungs=[0.5, 1.0])


@pytest.mark.parametrize(
    ("mode", "order"), [("max", [2, 6, 1, 0, 4, 3, 5]), ("min", [1, 2, 6, 0, 4, 3, 5])]
)
def test_the_highest_rung_goes_first_then_the_score_and_failed_ones_last(
    mode: str, order: list[int]
) -> None:
    found = results(mixed(mode))
    assert [trial.number for trial in found.ranked] == order
    assert found.ranks == dict(zip(order[:4], (1, 2, 3, 4), strict=True))


def test_what_collapsed_keeps_its_kind_and_has_no_place() -> None:
    trials = [trial(0, {}, [0.5]), trial(1, {}, [0.9], failure="collapse")]
    found = results(study(trials, []))
    assert [trial.number for trial in found.ranked] == [0, 1]
    assert found.ranks == {0: 1}
    assert "complete, collapse" in shown(RankedTable(found))


# --- the table at the end -------------------------------------------------------------------


def test_the_table_of_a_grid() -> None:
    lines = [line.split() for line in shown(RankedTable(results(summaries.grid()))).splitlines()]
    rows = [line for line in lines if "complete" in line]
    assert rows == [
        ["1", "2", "0.9580", "complete", "1e-4", "linear"],
        ["2", "3", "0.9530", "complete", "1e-4", "cosine"],
        ["3", "5", "0.9510", "complete", "3e-4", "cosine"],
        ["4", "4", "0.9470", "complete", "3e-4", "linear"],
        ["5", "0", "0.9210", "complete", "3e-5", "linear"],
        ["6", "1", "0.9180", "complete", "3e-5", "cosine"],
    ]


@pytest.mark.parametrize("width", [60, 80, 100, 120])
def test_no_word_of_the_table_is_broken(width: int) -> None:
    space = [summaries.LR, summaries.DECAY, summaries.WARMUP, summaries.BATCH, summaries.SCHEDULER]
    params = {
        "optimizer.lr": 0.003005,
        "optimizer.weight_decay": 0.02794,
        "scheduler.warmup": 0.1871,
        "data.batch_size": 16,
        "scheduler": "linear",
    }
    trials = [
        trial(0, {}, [0.5], state="paused", is_default=True),
        trial(1, params, [0.4, -0.00001]),
        failed(2, params, "error:ENV-DISK"),
    ]
    made = results(study(trials, space, metric="val/accuracy", rungs=[1 / 3, 1.0]))
    text = shown(RankedTable(made), width)
    assert shown(RankedTable(made), width) == text  # always the same columns
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    words = set(text.split())
    assert {"trial", "val/accuracy", "state", "complete", "0.5000", "0.0000"} <= words
    assert {"error:ENV-DISK", "(default)"} <= words and "-0.0000" not in words
    columns = {"lr": "0.003005", "weight_decay": "0.02794", "warmup": "0.1871"}
    columns |= {"batch_size": "16", "scheduler": "linear"}
    there = [name for name in columns if name in lines[1].split() + lines[2].split()]
    assert there == list(columns)[: {60: 1, 80: 3, 100: 5, 120: 5}[width]]
    assert {columns[name] for name in there} <= words
    unseen = list(columns)[len(there) :]
    told = " ".join(text.partition("too narrow for ")[2].split())
    assert told == (f"{', '.join(unseen)}: summary.csv has all" if unseen else "")


def test_the_end_of_a_grid() -> None:
    text = shown(final(results(summaries.grid())))
    end = [line.rstrip() for line in text[text.index("best val/") :].splitlines() if line.strip()]
    assert end == [
        "best val/accuracy 0.9580, trial 2: validation, selected from 6 trials (optimistic)",
        "Trial 2 is the best seen: a grid runs what was listed; nothing was confirmed over fresh "
        "seeds",
        "the best of 6 equal trials looks 1.27 σ too good by luck alone; σ is unknown, no setting "
        "ran over",
        "several seeds",
        "study directory: runs/made",
        "next:",
        "  python train.py --config-dir runs/made experiment=best",
        "  tunesmith replay runs/made 2",
    ]


def test_a_mean_over_seeds_stands_with_its_deviation() -> None:
    made = summaries.replicates()
    text = shown(RankedTable(results(made)))
    assert "val/loss mean ± deviation of 3 seeds" in " ".join(text.split())
    assert "0.4100 ± 0.0100" in text
    assert "0.4100 ± 0.0100" in report_of(made)
    [header, first, *_] = csv.reader(io.StringIO(csv_text(results(made))))
    assert float(first[header.index("deviation")]) == 0.01
    assert "±" not in shown(RankedTable(results(summaries.grid())))


def test_the_default_of_a_grid_is_called_so_and_is_not_replayed() -> None:
    made = summaries.confirmed_grid()
    text = shown(final(results(made)), 300)
    assert "The default stays" in text
    assert "test/accuracy 0.9432, the default (test set used 1 time)" in text
    assert "experiment=best" in text
    for told in (text, report_of(made)):
        assert "replay" not in told and "trial -1" not in told
    assert "python train.py optimizer.lr=2e-5 seed=1" in report_of(made)
    assert winner_name(results(made)) == "the default"


def test_the_end_of_a_confirmed_search() -> None:
    text = shown(final(results(summaries.asha())), 200)
    for line in (
        "7 more in summary.csv; 27 trials: 4 complete, 20 paused, 3 failed",
        "best val/accuracy 0.9602, trial 16: validation, selected from 27 trials (optimistic)",
        "Trial 16 wins: its mean beats the default's by more than chance allows",
        "default: 0.9470, 95% interval [0.9433, 0.9507], 5 seeds",
        "test/accuracy 0.9571, trial 16 (test set used 1 time)",
        "failed: 2 diverged, 1 out of memory; they are counted among the trials, last in rank",
    ):
        assert line in [line.rstrip() for line in text.splitlines()], line


def test_a_confirmation_that_ended_early_says_when_and_why() -> None:
    made = summaries.asha()
    confirmed, dropped = made["confirmation"], made["confirmation"]["arms"][1]
    confirmed["seeds"] = confirmed["seeds"][:3]
    for this in confirmed["arms"]:
        this["scores"] = this["scores"][: 2 if this is dropped else 3]
    dropped["dropped"] = "less than a chance of 1 % to end above trial 16"
    text = " ".join(shown(final(results(made)), 300).split())
    page = report_of(made)
    end = (
        "he confirmation knew enough after 11 of at most 20 trainings; means, intervals and "
        "P(better) are not adjusted for that"
    )
    assert f"t{end}" in text and f"T{end}." in page
    assert f"trial {dropped['trial']}:" in text
    assert "dropped: less than a chance of 1 % to end above trial 16" in text
    assert "dropped: less than a chance of 1 % to end above trial 16" in page
    assert "knew enough" not in shown(final(results(summaries.asha())), 300)


def test_the_end_of_a_study_in_which_all_collapsed() -> None:
    text = shown(final(results(summaries.all_collapsed())), 300)
    end = [line.strip() for line in text[text.index("Every trial") :].splitlines() if line.strip()]
    assert end == [
        "Every trial collapsed: each gave every row the same answer, so none is the best; "
        "the advice says more",
        "failed: 4 collapse; they are counted among the trials, last in rank",
        "advice: Trials fail of collapse: lower optimizer.lr, train for more steps, or lengthen "
        "scheduler.warmup. (4 of 4 trials failed (collapse): 0, 1, 2, 3. The first: gives every "
        "row the same answer)",
        "study directory: runs/made",
    ]
    assert "best" not in text.replace("none is the best", "")


def test_some_failed_and_the_rest_collapsed() -> None:
    made = summaries.all_collapsed()
    made["trials"][3] = failed(3, {}, "nan")
    text = shown(final(results(made)), 300)
    assert "No trial has learnt anything: 3 collapse, 1 nan" in text
    assert "set trainer.precision=32" in text


def test_advice_stands_at_the_end_with_its_evidence() -> None:
    text = shown(final(results(summaries.conditional())), 300)
    assert "advice: Confirm the best trials against the default over fresh seeds" in text
    assert "(Nothing was confirmed, and the best of 4 equal trials looks 1.03 σ better" in text


@pytest.mark.parametrize("kind", list(summaries.KINDS))
@pytest.mark.parametrize("width", [40, 80, 200])
def test_no_study_is_too_strange_for_a_terminal(kind: str, width: int) -> None:
    text = shown(final(results(summaries.KINDS[kind]())), width)
    assert all(c.isprintable() for c in text.replace("\n", ""))
    assert max(map(len, text.splitlines())) <= width


def test_a_command_is_broken_between_words_only() -> None:
    text = shown(final(results(summaries.asha())), 60)
    end = text[text.index("next:") :].splitlines()
    assert end[1:3] == ["  python train.py --config-dir runs/made experiment=best", end[2]]
    assert [line.rstrip().endswith(" \\") for line in end[3:5]] == [True, False]


# --- how to go on ---------------------------------------------------------------------------


def further(**changes) -> list[str]:
    made = {**summaries.tpe(), **changes}
    return [command.line for command in next_steps.next_ones(results(made))]


def test_a_finished_search_is_offered_twice_as_many_trials() -> None:
    command = ["python", "train.py", "-m", "search=tpe", "search.trials=20", "study=tpe"]
    assert further(command=command)[-1] == (
        "python train.py -m search=tpe study=tpe search.trials=40"
    )


def test_a_search_that_was_stopped_goes_on_as_it_was() -> None:
    command = ["python", "train.py", "-m", "search=tpe", "search.budget=2min"]
    assert further(command=command, stopped_by="signal")[-1] == (
        "python train.py -m search=tpe search.budget=2min study=tpe"
    )
    assert further(command=command, stopped_by="budget")[-1] == (
        "python train.py -m search=tpe study=tpe"
    )


def test_words_are_quoted_for_the_shell() -> None:
    assert "--config-dir 'runs/a b; rm x' experiment=best" in further(directory="runs/a b; rm x")[0]


# --- the csv --------------------------------------------------------------------------------


def rows(made: summaries.Summary, **options) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(csv_text(results(made), **options))))


def test_the_csv_has_a_row_a_trial_in_rank_and_exact_numbers() -> None:
    made = summaries.asha()
    found = rows(made)
    assert [int(row["trial"]) for row in found] == [trial.number for trial in results(made).ranked]
    trials = {trial["number"]: trial for trial in made["trials"]}
    for row in found:
        this = trials[int(row["trial"])]
        assert float(row["optimizer.lr"]) == this["params"]["optimizer.lr"]
        assert row["score"] == ("" if this["score"] is None else repr(this["score"]))
    assert [row["failure"] for row in found[-3:]].count("diverged") == 2
    assert [row["place"] for row in found[-4:]] == ["24", "", "", ""]


def test_an_inactive_dimension_is_an_empty_cell_and_null_is_a_value() -> None:
    params = [{"a": None, "b": True}, {"a": [1, "x"]}, {"a": 0.1}]
    space = [{"key": key, "kind": "categorical"} for key in ("a", "b")]
    made = study([trial(n, p, [0.9 - n / 10]) for n, p in enumerate(params)], space)
    assert [(row["a"], row["b"]) for row in rows(made)] == [
        ("null", "true"),
        ('[1, "x"]', ""),
        ("0.1", ""),
    ]


def test_a_dimension_may_be_called_like_a_column() -> None:
    made = study(
        [trial(0, {"score": 3}, [0.5])], [{"key": "score", "kind": "int", "low": 1, "high": 9}]
    )
    assert [(row["score"], row["params.score"]) for row in rows(made)] == [("0.5", "3")]


def test_control_characters_are_escaped_and_formulas_if_asked() -> None:
    made = summaries.hostile()
    text = csv_text(results(made))
    assert all(c.isprintable() for c in text.replace("\n", ""))
    key = f"data.{HOSTILE}"
    plain, safe = ([row[key] for row in rows(made, excel_safe=s)] for s in (False, True))
    assert "=1+1" in plain
    assert ESCAPE.encode("unicode_escape").decode() in plain
    assert [b for a, b in zip(plain, safe, strict=True) if a != b] == ["'=1+1"]


def test_a_negative_number_is_no_formula() -> None:
    made = study(
        [trial(0, {"a": -1.5}, [-0.25])], [{"key": "a", "kind": "float", "low": -2.0, "high": 0.0}]
    )
    [row] = rows(made, excel_safe=True)
    assert (row["score"], row["a"]) == ("-0.25", "-1.5")


# --- spelling -------------------------------------------------------------------------------


def test_numbers_are_spelled_as_they_are_typed() -> None:
    values = [1e-4, 0.05, 3.0, 12000.0, 2.5e7, 0.0, -2e-5, float("inf"), True, None, "a\nb", [1]]
    assert [formatting.setting(value) for value in values] == [
        *["1e-4", "0.05", "3", "12000", "2.5e7", "0", "-2e-5", "inf"],
        *["true", "null", "a\\nb", "[1]"],
    ]


def test_no_number_is_a_negative_nought() -> None:
    assert formatting.score(-0.00001) == "0.0000" == cells.number(-0.00001)
    assert formatting.setting(-0.0) == "0" and formatting.score(-0.0001) == "-0.0001"


def test_durations_chances_and_rungs_are_spelled_for_people() -> None:
    seconds = [0.31, 35, 119.7, 725, 11100, 187200]
    assert [formatting.duration(s) for s in seconds] == [
        *["0.3 s", "35 s", "2 min", "12 min", "3 h 05 min", "2 d 4 h"],
    ]
    chances = [0.999, 0.61, 0.0]
    assert [formatting.chance(p) for p in chances] == ["> 0.99", "= 0.61", "< 0.01"]
    rungs = [1 / 81, 1 / 9, 0.3333, 0.5, 7 / 9, 0.123, 1.0]
    assert [formatting.rung(r) for r in rungs] == [
        *["1/81", "1/9", "1/3", "1/2", "7/9", "0.123", "full"]
    ]


def test_keys_are_shortened_where_that_is_clear() -> None:
    keys = ["optimizer.lr", "adapt.layers", "model.layers", "scheduler"]
    assert list(formatting.short_names(keys).values()) == [
        *["lr", "adapt.layers", "model.layers", "scheduler"]
    ]
