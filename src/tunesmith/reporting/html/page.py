"""report.html: one file that needs no network, runs no script, and is readable on a phone."""

from collections.abc import Callable
from pathlib import Path

from tunesmith.reporting import formatting
from tunesmith.reporting.html import (
    best_so_far,
    curves,
    headline,
    importance,
    parallel,
    provenance,
    rung_pairs,
    seed_spread,
    slices,
    trials,
)
from tunesmith.reporting.html.markup import Markup, Section, element, slug
from tunesmith.reporting.results import Summary

# Rows of the page, each of one column or two; on a phone all of it is one column.
ROWS: tuple[tuple[tuple[Callable[[Summary], Section], ...], ...], ...] = (
    ((headline.advice,),),
    ((headline.confirmation,), (seed_spread.seeds,)),
    ((best_so_far.best_so_far,),),
    ((slices.slices,),),
    ((parallel.parallel,), (importance.importance, best_so_far.expected)),
    ((curves.curves,), (curves.best_steps,)),
    ((rung_pairs.rungs,),),
    ((trials.failures,),),
    ((trials.all_trials,),),
    ((provenance.next_command,), (provenance.provenance,)),
)
# No script, no network, whatever a label says: the browser enforces it.
POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def page(summary: Summary) -> str:
    """Return report.html of a study, made of its summary alone."""
    rows = [[[section(summary) for section in column] for column in row] for row in ROWS]
    main = element(
        "main",
        _header(summary),
        headline.headline(summary),
        _contents([section for row in rows for column in row for section in column]),
        [_row(row) for row in rows],
        provenance.footer(summary),
    )
    return f"<!doctype html>\n{_document(summary, main)}\n"


def _document(summary: Summary, main: Markup) -> Markup:
    style = Path(__file__).with_name("style.css").read_text(encoding="utf-8")
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", f"{formatting.shorten(str(summary['study']), 80)} - Tunesmith study"),
        element("style", Markup(style)),
    )
    return element("html", head, element("body", main), lang="en")


def _header(summary: Summary) -> Markup:
    words = [
        summary["metric"],
        f"policy {summary['policy']}, sampler {summary['sampler']}",
        formatting.count(len(summary["trials"]), "trial"),
        formatting.duration(summary["seconds"]),
    ]
    facts = [element("span", formatting.shorten(str(word), 60)) for word in words]
    return element(
        "header",
        element("p", "Tunesmith study", class_="eyebrow"),
        element("h1", summary["study"]),
        element("p", facts, class_="facts-line"),
    )


def _contents(sections: list[Section]) -> Markup:
    links = [element("a", s.title, href=f"#{slug(s.title)}") for s in sections]
    return element("nav", links, aria_label="Contents")


def _row(columns: list[list[Section]]) -> Markup:
    parts = [element("div", [_section(section) for section in column]) for column in columns]
    return element("div", parts, class_="row two" if len(columns) > 1 else "row")


def _section(section: Section) -> Markup:
    heading = element("h2", section.title)
    return element("section", heading, section.body, id=slug(section.title))
