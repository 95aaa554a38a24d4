"""What a terminal shows while a search runs, of a real loop over scripted scores."""

import io
import time
from collections import Counter
from concurrent.futures import Future

import pytest
from rich.console import Console, RenderableType

from support.summaries import ESCAPE
from support.synthetic_studies import Scripted, search, settings, study
from tunesmith.search.cost.cost_model import CostModel
from tunesmith.search.cost.forecast import Forecast
from tunesmith.search.cost.tell import tell_cost
from tunesmith.search.live_table import LiveTable, line, table
from tunesmith.search.study.search_loop import SearchLoop
from tunesmith.search.trial import Segment, result_of


class Busy(Scripted):
    """Two workers: one trains a trial, one waits; a third trains the default of a grid."""

    def worker_status(self):
        directory = "trials/0012"
        trial = Segment(12, 0, 1, 1 / 3, 0, directory, {}, [], None)
        default = Segment(-1, 0, 2, 1.0, 0, "confirm/default", {}, [], None)
        began = time.monotonic() - 33
        return [("0", trial, began), ("1", None, began), ("2", default, began)]


@pytest.fixture
def loop(tmp_path) -> SearchLoop:
    """Nine trials of 27 have run."""
    search(tmp_path / "study", Scripted(), settings("random", "asha", trials=9))
    made = study(tmp_path / "study", Busy(), settings("random", "asha", trials=27))
    made.store.close()
    return made


def shown(renderable: RenderableType, width: int = 100) -> str:
    console = Console(width=width, record=True, file=io.StringIO(), color_system=None)
    console.print(renderable)
    return console.export_text()


def forecast(loop: SearchLoop) -> Forecast:
    """Nothing was measured before this search."""
    return Forecast(CostModel(loop, {}))


def test_the_table_shows_where_the_search_stands(loop) -> None:
    text = shown(table(loop, "accuracy", 412.0, 824.0))
    reached = Counter(rung for record in loop.records for rung in record.rungs)
    best = max((r for r in loop.records if 2 in r.rungs), key=lambda r: r.score)
    for words in (
        "study  9/27 trials  7 min  14 min left",
        f"1/9: {reached[0]}  1/3: {reached[1]}  full: {reached[2]}",
        f"{best.score:.4f} (trial {best.number})  {best.overrides[0]}",
        "failed         none",
    ):
        assert words in text, words
    rows = " ".join(text.split())
    assert "0 12 to rung 1/3 33 s" in rows and "1 - waiting" in rows
    assert "2 default to rung full 33 s" in rows and "-1" not in rows


def test_a_search_that_has_just_begun_can_be_shown(tmp_path) -> None:
    made = study(tmp_path / "study", Scripted(), settings("random", "full", trials=3))
    made.store.close()
    text = shown(table(made, "accuracy", 0.0, forecast(made).seconds_left()))
    assert "0/3 trials" in text and "best" not in text and "left" not in text


def test_failures_are_counted_by_kind(loop) -> None:
    for record, kind in zip(loop.records, ("diverged", "nan", "diverged"), strict=False):
        record.failure = kind
    assert "diverged: 2  nan: 1" in shown(table(loop, "accuracy", 9.0, None))


@pytest.mark.parametrize("width", [30, 80])
def test_the_table_keeps_to_its_width(loop, width: int) -> None:
    for record in loop.records:
        record.overrides = [ESCAPE * 9]
    text = shown(table(loop, ESCAPE, 9.0, 9.0), width)
    assert max(map(len, text.splitlines())) <= width
    assert all(c.isprintable() for c in text.replace("\n", ""))


def watched(loop: SearchLoop, terminal: bool) -> str:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=100, height=40)
    loop.deadline = ends_at = time.monotonic() + 545
    segment = Segment(6, 0, 1, 1 / 3, 0, "trials/0006", {}, [], None)
    facts = {"step": 30, "total_steps": 90}
    with LiveTable("accuracy", Forecast(CostModel(loop, {}), ends_at), console) as live:
        live.tick(loop)
        live.ended(loop, loop.records[6], result_of(segment, "done", score=0.9583, **facts))
        failed = result_of(segment, "failed", failure=f"error:{ESCAPE}", **facts)
        live.ended(loop, loop.records[6], failed)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_without_a_terminal_a_segment_is_one_line(loop) -> None:
    best = max((r for r in loop.records if 2 in r.rungs), key=lambda r: r.score)
    end = f"best {best.score:.4f} (trial {best.number})  9/27 trials  9 min left"
    assert watched(loop, terminal=False).splitlines() == [
        f"trial 6  rung 1/3  step 30/90  accuracy 0.9583  {end}",
        f"trial 6  rung 1/3  step 30/90  failed: error:\\x1b]0;owned\\x07\\x1b[31mred  {end}",
    ]


def test_a_trial_is_counted_once_nothing_of_it_is_under_way(loop, monkeypatch) -> None:
    monkeypatch.setattr(loop.under_way, "_segments", {})
    for rung, trial in enumerate([7, 8, 8, -1]):  # two seeds of one trial, the default of a grid
        segment = Segment(trial, rung, 1, 1 / 3, 0, "trials/0008", {}, [], None)
        loop.under_way._segments[object()] = segment
    assert "7/27 trials" in shown(table(loop, "accuracy", 9.0, None))
    loop.runs_left = 3
    assert "9/27 trials" in shown(table(loop, "accuracy", 9.0, None))


def test_a_collapsed_trial_is_not_called_failed(loop) -> None:
    segment = Segment(6, 0, 2, 1.0, 0, "trials/0006", {}, [], None)
    said = line(loop, "accuracy", result_of(segment, "done", failure="collapse", score=0.5), 9.0)
    assert "  collapse  " in said and "failed" not in said


def test_on_a_terminal_the_table_is_drawn_and_taken_away(loop) -> None:
    text = watched(loop, terminal=True)
    assert "9/27 trials" in text
    assert "rung 1/3  step" not in text
    assert "owned" not in text


def test_the_time_left_counts_the_confirmation(tmp_path) -> None:
    """Five trials of six took a second each; two settings over at most three seeds are to come."""
    how = settings("random", "full", trials=5, confirm_top=1, confirm_seeds=3)
    search(tmp_path / "study", Scripted(), how)
    more = settings("random", "full", trials=6, confirm_top=1, confirm_seeds=3)
    made = study(tmp_path / "study", Scripted(), more)
    made.store.close()
    assert forecast(made).seconds_left() is None  # they took no time
    for record in made.records:
        for replicate in record.ran:
            replicate.seconds = 60.0
    left = forecast(made)
    assert left.seconds_left() == pytest.approx(6 * 60, abs=1)  # a trial, five runs of a minute
    made.runs_left = 4
    for seed in range(4):
        directory = made.folder / "confirm" / f"0000-seed-{seed}"
        segment = made.segments.whole(0, seed, [], directory)
        made.under_way._segments[Future()] = segment
    assert left.seconds_left() == pytest.approx(6 * 60, abs=1)  # counted down, till it is due
    left._next = 0.0
    assert left.seconds_left() == pytest.approx(4 * 60, abs=1)


def test_an_error_of_a_policy_that_is_played_through_ends_no_search(loop, caplog, capsys) -> None:
    def fails(states, may_start):
        raise ZeroDivisionError("of a score that is never met")

    for record in loop.records:
        for replicate in record.ran:
            replicate.seconds = 60.0
    loop.policy.next = fails
    left = forecast(loop)
    assert left.seconds_left() is None
    left._next = 0.0
    assert left.seconds_left() is None
    loop.store.set = lambda key, value: None
    loop.executor.has_queue = True  # nothing is measured
    told, _ = tell_cost(loop, 0.0)
    assert told is None
    assert [r.message[:40] for r in caplog.records] == [
        "no time left can be told: error[INTERNAL",
        "no cost can be told beforehand: error[IN",
    ]


def test_what_is_told_ends_with_the_trials_that_are_started(loop) -> None:
    for record in loop.records:
        for replicate in record.ran:
            replicate.seconds = 60.0
    more = forecast(loop)
    assert more.model.shape.trials == 27
    loop.exhausted = True
    assert more.model.shape.trials == 9


def test_a_grid_has_no_more_trials_than_points(tmp_path) -> None:
    made = study(tmp_path / "study", Scripted(), settings("grid", "full", trials=100))
    made.store.close()
    assert made.target == 3


def test_the_budget_bounds_the_time_left_before_its_search_has_begun(loop) -> None:
    for record in loop.records:
        for replicate in record.ran:
            replicate.seconds = 600.0
    left = Forecast(CostModel(loop, {}), ends_at=time.monotonic() + 20)
    assert loop.deadline is None
    assert left.seconds_left() == pytest.approx(20, abs=1)
