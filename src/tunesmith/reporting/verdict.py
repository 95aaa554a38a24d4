"""What a study found, in a few honest sentences: terminal and report say the same."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from tunesmith.reporting import findings, formatting
from tunesmith.reporting.results import (
    COLLAPSE,
    DIVERGED,
    Summary,
    by_number,
    counted,
    is_degenerate,
    is_number,
    rung_name,
    scored,
    split_words,
    trial_name,
)

Arm = Mapping[str, Any]


INTERVAL = "95% interval"  # of a mean over seeds; alpha is the level of the test, not of this


class Verdict(NamedTuple):
    """The one sentence that matters, and why."""

    title: str
    reason: str


STOPS = {
    None: "Under way: more may be found.",
    "budget": "Stopped by its budget of time.",
    "failures": "Stopped: too many trials failed.",
    "signal": "Interrupted; the same command goes on.",
}
UNFINISHED = (None, "signal")


def lines(summary: Summary) -> list[str]:
    """Return the verdict as lines of a terminal."""
    said = verdict(summary)
    found = [best_line(summary), f"{said.title}: {said.reason}" if said.reason else said.title]
    found += [luck(summary), *map(arm_line, arms(summary)), test_line(summary)]
    found.append(stop(summary))
    return [line for line in found if line]


def stop(summary: Summary) -> str:
    """Return why it ended; nothing where it came to its end."""
    return STOPS.get(summary["stopped_by"], "") if summary["trials"] else ""


def verdict(summary: Summary) -> Verdict:
    """Return the winner, "the default stays", or why there is neither."""
    confirmation = summary["confirmation"]
    if not scored(summary):
        return _without_scores(summary)
    if summary["stopped_by"] in UNFINISHED:
        best = scored(summary)[0]["number"]
        why = "the study is unfinished, and names no winner before its end"
        return Verdict(f"Trial {best} is the best so far", why)
    if confirmation is None:
        return _unconfirmed(summary)
    reason = str(confirmation["reason"] or "")
    winner = by_number(summary, confirmation["winner"])
    if confirmation["clearly_better"] and winner is not None and not winner["is_default"]:
        return Verdict(f"Trial {winner['number']} wins", reason)
    if winner is not None and not winner["is_default"]:
        return Verdict(f"Trial {winner['number']} is used", reason)
    return Verdict("The default stays", "; ".join(filter(None, (reason, _closest(summary)))))


LEARNT_NOTHING = {COLLAPSE: "collapsed", DIVERGED: "diverged"}


def _without_scores(summary: Summary) -> Verdict:
    kinds, trials = set(findings.failures(summary)), summary["trials"]
    if not kinds & set(LEARNT_NOTHING):
        return Verdict("No trial has a score", counted(summary))
    if kinds <= set(LEARNT_NOTHING) and all(map(is_degenerate, trials)):
        words = " or ".join(LEARNT_NOTHING[kind] for kind in sorted(kinds))
        why = "each gave every row the same answer, so none is the best; the advice says more"
        return Verdict(f"Every trial {words}", why)
    found = ", ".join(f"{len(t)} {kind}" for kind, t in findings.failures(summary).items())
    return Verdict("No trial has learnt anything", found)


def _closest(summary: Summary) -> str:
    known = [arm for arm in arms(summary) if is_number(arm["p_better"]) and not arm["is_default"]]
    best = max(known, key=lambda arm: arm["p_better"], default=None)
    return f"{arm_name(best)} came closest, {better(best)}" if best else ""


def _unconfirmed(summary: Summary) -> Verdict:
    name = f"Trial {scored(summary)[0]['number']} is the best seen"
    if summary["explicit_grid"]:
        return Verdict(name, "a grid runs what was listed; nothing was confirmed over fresh seeds")
    if why := summary.get("unconfirmed"):
        return Verdict(name, f"not called a winner: {why}")
    return Verdict(name, "not confirmed over fresh seeds, so not called a winner")


def best_line(summary: Summary) -> str:
    """Return the best score with the label that it must carry."""
    trials = scored(summary)
    if not trials:
        return ""
    score = formatting.score(trials[0]["score"])
    start = f"best {summary['metric']} {score}, trial {trials[0]['number']}"
    rung = trials[0]["rung"]
    if rung is not None and rung < len(summary["rungs"]) - 1:
        start += f", at rung {rung_name(summary, rung)} of the training"
    return f"{start}: {split_words(summary)}"


def luck(summary: Summary) -> str:
    """Return how much the best of so many trials owes to luck, where that can be said."""
    count = findings.tried(summary)
    if count < 2:
        return ""
    times, noise = findings.luck(count), findings.noise(summary)
    start = f"the best of {count} equal trials looks {times:.2f} σ too good by luck alone"
    if noise is None:
        return f"{start}; σ is unknown, no setting ran over several seeds"
    if not noise.sigma:
        return f"{start}; over seeds these scores show no noise (from the {noise.source})"
    amount, sigma = (formatting.score(x) for x in (times * noise.of_a_score, noise.of_a_score))
    over = "over seeds" if noise.each == 1 else f"of a mean over {noise.each} seeds"
    return f"{start}: about {amount} here (σ = {sigma} {over}, from the {noise.source})"


def arms(summary: Summary) -> list[Arm]:
    """Return the settings that were confirmed, the default last."""
    found = (summary["confirmation"] or {}).get("arms", [])
    return sorted(found, key=lambda arm: arm["is_default"])


def arm_name(arm: Arm) -> str:
    return "default" if arm["is_default"] else f"trial {arm['trial']}"


def arm_line(arm: Arm) -> str:
    """Return mean, interval and P(better than the default) of one confirmed setting."""
    interval = f"[{formatting.score(arm['low'])}, {formatting.score(arm['high'])}]"
    seeds = formatting.count(len(arm["scores"]), "seed")
    text = f"{arm_name(arm)}: {formatting.score(arm['mean'])}, {INTERVAL} {interval}"
    return ", ".join(filter(None, (text, seeds, better(arm))))


def better(arm: Arm) -> str:
    """Return how probable it is that these settings are better than the default."""
    chance = arm["p_better"]
    return f"P(better than the default) {formatting.chance(chance)}" if is_number(chance) else ""


def test_line(summary: Summary) -> str:
    """Return the test score, with how often this test split has been used."""
    test = summary["test"]
    if not test:
        return ""
    scores = ", ".join(
        f"{name} {formatting.score(value)}" for name, value in test["scores"].items()
    )
    uses = formatting.count(test["uses"], "time")
    return f"{scores}, {trial_name(summary, test['trial'])} (test set used {uses})"
