"""report.html in a real browser: nothing overflows, nothing leaves, nothing runs."""

import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from support import summaries
from support.browser import Browser
from support.report_words import words
from support.summaries import results
from tunesmith.reporting.html.importance import importances
from tunesmith.reporting.html.page import page
from tunesmith.reporting.summary_csv import csv_text
from tunesmith.reporting.terminal.final_table import final

PHONE = 390  # pixels
SMALLEST_TYPE = """Math.min(99, ...[...document.querySelectorAll('svg text')].map(text =>
  parseFloat(getComputedStyle(text).fontSize)
  * text.ownerSVGElement.getBoundingClientRect().width
  / text.ownerSVGElement.viewBox.baseVal.width))"""
HANDLERS = """[...document.querySelectorAll('*')].flatMap(node =>
  node.getAttributeNames()).filter(name => name.startsWith('on'))"""
COLOURS = """[...document.querySelectorAll('h1, p, dt, dd, td, th, a, pre, figcaption, span')]
  .map(node => getComputedStyle(node).color)
  .filter((colour, place, all) => all.indexOf(colour) === place)"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Write the report of every kind of study."""
    folder, files = tmp_path_factory.mktemp("reports"), {}
    for number, (kind, make) in enumerate(summaries.KINDS.items()):
        files[kind] = folder / f"{number}.html"
        files[kind].write_text(page(results(make())), encoding="utf-8")
    return files


# --- in the browser -------------------------------------------------------------------------


@pytest.mark.parametrize("width", [320, PHONE, 1200])
@pytest.mark.parametrize("kind", list(summaries.KINDS))
def test_no_window_has_to_be_scrolled_sideways(
    kind: str, width: int, browser: Browser, reports: dict[str, Path]
) -> None:
    tab = browser.open(reports[kind], width)
    assert tab.evaluate("innerWidth") == width
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    if width >= PHONE:
        assert tab.evaluate(SMALLEST_TYPE) >= 9, "text in a picture is too small to read"
    tab.close()


@pytest.mark.parametrize("kind", ["asha", "hostile"])
def test_labels_run_nothing_and_load_nothing(
    kind: str, browser: Browser, reports: dict[str, Path]
) -> None:
    tab = browser.open(reports[kind], guarded=False)  # what is tried is the page, not its guard
    assert tab.requests == [reports[kind].as_uri()]
    assert tab.evaluate("document.scripts.length + document.images.length") == 0
    assert tab.evaluate(HANDLERS) == []
    assert tab.evaluate("document.title").endswith("- Tunesmith study")
    tab.close()


def test_the_browser_would_show_a_label_that_runs(tmp_path: Path, browser: Browser) -> None:
    label = f"{summaries.HOSTILE}<img src=http://127.0.0.1:9/x onerror='0'>"
    (tmp_path / "bad.html").write_text(f"<!doctype html><title>as it was</title><p>{label}</p>")
    tab = browser.open(tmp_path / "bad.html")
    assert tab.evaluate("document.title") == "broken"
    assert tab.evaluate(HANDLERS) == ["onerror"]
    assert tab.requests[1:] == ["http://127.0.0.1:9/x"]
    tab.close()


def test_the_policy_of_the_page_stops_what_got_in(tmp_path: Path, browser: Browser) -> None:
    got_in = f"{summaries.HOSTILE}<img src=http://127.0.0.1:9/x></body>"
    (tmp_path / "in.html").write_text(page(results(summaries.empty())).replace("</body>", got_in))
    titles = []
    for guarded in (True, False):
        tab = browser.open(tmp_path / "in.html", guarded=guarded)
        titles.append(tab.evaluate("document.title"))
        tab.close()
    assert titles == ["made - Tunesmith study", "broken"]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_stands_out_from_the_paper(
    dark: bool, browser: Browser, reports: dict[str, Path]
) -> None:
    tab = browser.open(reports["asha"], 1200, dark)
    paper = brightness(tab.evaluate("getComputedStyle(document.body).backgroundColor"))
    colours = tab.evaluate(COLOURS)
    tab.close()
    assert (paper < 0.1) == dark
    assert len(colours) >= 3
    for colour in colours:
        assert contrast(brightness(colour), paper) >= 4.5, colour


def brightness(colour: str) -> float:
    """Return the relative luminance of an rgb(...), as WCAG 2 defines it."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(first: float, second: float) -> float:
    return (max(first, second) + 0.05) / (min(first, second) + 0.05)


def section(text: str, name: str) -> str:
    """Return what a section of the page holds."""
    return text.partition(f'<section id="{name}">')[2].partition("</section>")[0]


# --- what it says ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(summaries.KINDS))
def test_the_file_is_whole_in_itself(kind: str) -> None:
    text = page(results(summaries.KINDS[kind]()))
    assert not re.search(r"https?:|//\w+\.\w|@import|url\(|<script|<link|<iframe", text)
    assert not [c for c in text if not c.isprintable() and c != "\n"]
    names = re.findall(r' id="([^"]*)"', text)
    assert len(names) == len(set(names))
    contents = re.findall(r'href="#([^"]*)"', text)
    assert contents == re.findall(r'<section id="([^"]*)">', text)  # each, in their order
    for labelled in re.findall(r'aria-labelledby="([^"]*)"', text):
        assert set(labelled.split()) <= set(names)
    for picture in re.findall(r"<svg.*?</svg>", text):
        assert re.search(r"<title[^>]*>[^<]+</title><desc[^>]*>", picture)


@pytest.mark.parametrize("kind", list(summaries.KINDS))
def test_every_section_shows_something_or_says_why_not(kind: str) -> None:
    text = page(results(summaries.KINDS[kind]()))
    sections = re.findall(r'<section id="([^"]*)">(.*?)</section>', text, re.DOTALL)
    assert len(sections) == 13
    for name, body in sections:
        shown = re.search(r"<svg|<table|<ol|<dl|<pre", body)
        why = re.search(r'<p class="nothing">[^<]{10,}</p>', body)
        assert bool(shown) != bool(why), name


def test_the_best_score_is_labelled_as_what_it_is() -> None:
    text = words(summaries.asha())
    assert "validation, selected from 27 trials (optimistic)" in text
    assert "Trial 16 wins" in text
    assert "trial 16, mean of 5 fresh seeds, validation" in text
    assert "P(better than the default) > 0.99" in text
    assert text.count("test set used 1 time") == 1
    assert "The best of 24 equal trials looks 1.95 σ too good by luck alone" in text


def test_the_default_stays_when_nothing_beats_it() -> None:
    text = words(summaries.tpe())
    assert "The default stays" in text
    assert "came closest, P(better than the default) = 0.34" in text
    assert "wins" not in text


def test_nothing_unconfirmed_is_called_a_winner() -> None:
    for made in (summaries.grid(), summaries.conditional()):
        assert "is the best seen" in words(made)
        assert " wins" not in words(made)


def test_failed_trials_are_counted_and_listed() -> None:
    text = page(results(summaries.asha()))
    assert "4 complete, 20 paused, 3 failed" in words(summaries.asha())
    table = section(text, "failures")
    assert re.findall(r"<td[^>]*>(diverged|out of memory)</td>", table) == [
        "diverged",
        "out of memory",
    ]
    rows = re.findall(r"<tr>(.*?)</tr>", section(text, "all-trials"), re.DOTALL)
    assert len(rows) == 28
    assert ["failed: " in row for row in rows] == [False] * 25 + [True] * 3


def test_a_study_in_which_all_failed_says_so() -> None:
    text = words(summaries.all_failed())
    assert "No trial has a score" in text
    assert "Stopped: too many trials failed." in text
    assert "3 of 3 trials failed" in text


def test_less_may_be_better() -> None:
    text = words(summaries.replicates())
    assert "val/loss of trial 0; lower is better" in text
    assert "about 0.0049 here (σ = 0.0058 of a mean over 3 seeds, from the replicates)" in text


def test_scores_that_are_the_same_over_seeds_show_no_noise() -> None:
    made = summaries.replicates()
    for trial in made["trials"]:
        for replicate in trial["replicates"]:
            replicate["score"] = trial["score"]
    text = words(made)
    assert "luck alone; over seeds these scores show no noise (from the replicates)." in text
    assert "σ = 0.0000" not in text


def test_ways_to_go_on_can_be_copied() -> None:
    text = words(summaries.asha())
    assert "python train.py --config-dir runs/made experiment=best" in text
    assert "tunesmith replay runs/made 16" in text
    assert "search.trials=54" in text


def test_the_alarm_rings_only_where_the_best_lie_at_an_edge() -> None:
    made = summaries.tpe()
    assert "best at the edge" not in page(results(made))
    for trial in made["trials"][:5]:
        trial["params"] = {**trial["params"], "optimizer.lr": 9e-4}
        trial["score"] = trial["scores"]["2"] = 0.99
    text = page(results(made))
    assert text.count("best at the edge") == 1
    assert "The best lie at the upper edge" in text


@pytest.mark.parametrize("seed", range(5))
def test_importance_finds_the_dimension_that_matters(seed: int) -> None:
    made = results(summaries.tpe(seed))
    shares = importances(made, [(trial, trial.known_score) for trial in made.trials])
    assert next(iter(shares)) == "optimizer.lr"
    assert sum(shares.values()) == pytest.approx(1)


def test_importance_bears_with_scores_that_are_all_the_same() -> None:
    made = results(summaries.tpe())
    shares = importances(made, [(trial, 0.5) for trial in made.trials])
    assert all(0 <= share <= 1 for share in shares.values())


def test_importance_is_of_the_rung_that_all_trials_reached() -> None:
    assert "over 24 trials at rung 1/9 (PED-ANOVA)" in words(summaries.asha())


def test_a_default_without_a_number_is_no_trouble() -> None:
    made = summaries.tpe()
    made["trials"][0]["params"]["scheduler.warmup"] = None
    text = words(made)
    assert "Not set in 1 trial." in text
    assert "scheduler.warmup" in text[text.index("Share in what separates") :]


def test_importance_of_a_few_trials_is_left_out() -> None:
    assert "Needs 10 trials with a score at one rung, there are 6" in words(summaries.grid())


def test_a_thousand_trials_make_a_file_that_can_be_mailed() -> None:
    text = page(results(summaries.large(1000)))
    assert len(text.encode()) < 1_500_000
    rows = re.findall(r"<tr>(.*?)</tr>", section(text, "all-trials"), re.DOTALL)
    assert len(rows) == 1001


@pytest.mark.parametrize("kind", list(summaries.KINDS))
def test_gaps_in_a_summary_are_no_trouble(kind: str) -> None:
    for seed in range(6):
        made = summaries.with_gaps(summaries.KINDS[kind](), seed)
        assert page(results(made)).endswith("</html>\n")
        assert len(csv_text(results(made)).splitlines()) == len(made["trials"]) + 1
        Console(file=io.StringIO(), width=80).print(final(results(made)))
