"""The top of the report: what was found, how sure that is, and what it was chosen from."""

from typing import Any

from tunesmith.reporting import findings, formatting, next_steps, verdict
from tunesmith.reporting.advice import advise
from tunesmith.reporting.html.markup import Markup, Section, element, joined, nothing, table
from tunesmith.reporting.results import (
    Summary,
    Trial,
    by_number,
    counted,
    dimensions,
    is_number,
    rung_name,
    scored,
    split_words,
    trial_name,
)


def headline(summary: Summary) -> Markup:
    """Return the verdict, the best score with its label, and the test score if there is one."""
    said = verdict.verdict(summary)
    stop = verdict.stop(summary)
    return element(
        "section",
        element("h2", said.title),
        element("p", _sentence(said.reason), class_="reason") if said.reason else None,
        element("p", stop, class_="reason") if stop else None,
        element("div", _numbers(summary), class_="numbers"),
        _luck(summary),
        _settings(summary),
        class_="headline",
        id="result",
    )


def _numbers(summary: Summary) -> list[Markup | None]:
    best = scored(summary)[:1]
    way = "higher is better" if summary["mode"] == "max" else "lower is better"
    arms = {arm["trial"]: arm for arm in verdict.arms(summary)}
    winner = arms.get(summary["winner"])
    is_first = winner is None  # the accent is on the figure that can be trusted most
    shown = [_number(formatting.score(t["score"]), _of(summary, t, way), is_first) for t in best]
    if winner is not None:
        shown.append(_confirmed(winner))
    return [*shown, *_tested(summary), _cost(summary)]


def _of(summary: Summary, trial: Trial, way: str) -> Markup:
    rung = trial["rung"]
    partial = rung is not None and rung < len(summary["rungs"]) - 1
    at = f", after {rung_name(summary, rung)} of the training" if partial else ""
    name = f"{summary['metric']} of trial {trial['number']}{at}; {way}"
    return joined(element("b", split_words(summary)), element("br"), name)


def _confirmed(arm: verdict.Arm) -> Markup:
    interval = f"{formatting.score(arm['low'])} to {formatting.score(arm['high'])}"
    seeds = formatting.count(len(arm["scores"]), "fresh seed")
    words = joined(
        element("b", f"{verdict.arm_name(arm)}, mean of {seeds}, validation"),
        element("br"),
        "; ".join(filter(None, (f"{verdict.INTERVAL} {interval}", verdict.better(arm)))),
    )
    return _number(formatting.score(arm["mean"]), words, True)


def _tested(summary: Summary) -> list[Markup]:
    test = summary["test"]
    if not test:
        return []
    uses = f"test set used {formatting.count(test['uses'], 'time')}"
    return [
        _number(
            formatting.score(value),
            joined(
                element("b", name), element("br"), f"{trial_name(summary, test['trial'])}; {uses}"
            ),
        )
        for name, value in test["scores"].items()
    ]


def _cost(summary: Summary) -> Markup:
    spent = formatting.duration(summary["seconds"])
    total, _, states = counted(summary).partition(": ")
    share = ""
    whole = sum(trial["total_steps"] for trial in summary["trials"])  # over all seeds
    if whole and len(summary["rungs"]) > 1:
        share = f"; {summary['steps'] / whole:.0%} of the steps of as many full trainings"
    words = joined(element("b", total), element("br"), f"{states}{share}")
    return _number(spent, words)


def _number(value: str, words: Any, is_first: bool = False) -> Markup:
    kind = "number first" if is_first else "number"
    return element("div", element("span", value), element("p", words), class_=kind)


def _luck(summary: Summary) -> Markup | None:
    words = verdict.luck(summary)
    return element("p", _sentence(words), class_="luck") if words else None


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}{'' if words.endswith('.') else '.'}"


def _settings(summary: Summary) -> Markup | None:
    """The settings that the verdict names, as words and as the command that repeats them."""
    number = summary["winner"] if summary["winner"] is not None else summary["best"]
    trial = by_number(summary, number)
    if trial is None:
        words = next_steps.of_the_winner(summary)
        return element("pre", " ".join(words)) if words else None
    pairs = [
        element("div", element("dt", key), element("dd", formatting.setting(trial["params"][key])))
        for key in dimensions(summary)
        if key in trial["params"]
    ]
    return joined(
        element("dl", pairs, class_="settings") if pairs else None,
        element("pre", next_steps.by_hand(summary, trial["number"])),
    )


# --- sections beside it -------------------------------------------------------------------


def confirmation(summary: Summary) -> Section:
    """Return the table of the settings that ran again over fresh seeds."""
    arms = verdict.arms(summary)
    if not arms:
        return Section("Confirmation", nothing(_why_unconfirmed(summary)))
    header = ["", "mean", verdict.INTERVAL, "difference", "P(better)", "seeds"]
    rows = [_arm(arm) for arm in arms]
    body = table(header, rows, frozenset({1, 2, 3, 4, 5}), "Confirmation")
    return Section("Confirmation", joined(element("p", _method(summary)), body))


def _method(summary: Summary) -> str:
    seeds = formatting.listed(summary["confirmation"]["seeds"], 12)
    return (
        f"The best trials and the default ran again, each over the seeds {seeds}, paired: "
        "none of these scores took part in the selection. Difference and P(better) are against "
        f"the default; {summary['metric']} of the validation split."
    )


def _why_unconfirmed(summary: Summary) -> str:
    if not scored(summary):
        return "Nothing to confirm: no trial has a score that counts."
    if summary["explicit_grid"]:
        return (
            "Not asked for: a grid runs what was listed. search.confirm.top=3 "
            "search.confirm.seeds=5 confirms its best."
        )
    return "Not done yet: until then the best score is the luckiest one as well."


def _arm(arm: verdict.Arm) -> list[Any]:
    interval = f"{formatting.score(arm['low'])} to {formatting.score(arm['high'])}"
    difference = "" if arm["difference"] is None else f"{arm['difference']:+.4f}"
    chance = arm["p_better"]
    better = formatting.chance(chance).removeprefix("= ") if is_number(chance) else ""
    good = sum(is_number(score) for score in arm["scores"])
    seeds = str(good) if good == len(arm["scores"]) else f"{good} of {len(arm['scores'])}"
    mean = formatting.score(arm["mean"])
    return [verdict.arm_name(arm), mean, interval, difference, better, seeds]


def advice(summary: Summary) -> Section:
    """Return the advice in words, each with its evidence."""
    found = advise(summary)
    if not found:
        return Section("Advice", nothing(_silence(summary)))
    items = [element("li", element("b", a.text), element("p", a.evidence)) for a in found]
    return Section("Advice", element("ol", items, class_="advice"))


def _silence(summary: Summary) -> str:
    if not scored(summary):
        return "None: there are no scores to speak from."
    noise = "" if findings.noise(summary) else " No setting ran over several seeds."
    return f"None: nothing in the numbers is stronger than chance would make it.{noise}"
