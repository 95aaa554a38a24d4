"""The top of the report: what was found, how sure that is, and what it was chosen from."""

from collections.abc import Iterator
from typing import NamedTuple

from tunesmith.reporting import findings, formatting, next_steps, verdict
from tunesmith.reporting.results import Arm, StudyResults
from tunesmith.reporting.trial_results import TrialResult


class Number(NamedTuple):
    """A large figure, and what it is."""

    value: str
    label: str
    words: str
    is_first: bool = False  # the one that can be trusted most


def facts(study: StudyResults) -> list[str]:
    """Return what was searched for, how, and how long."""
    how = f"policy {study.policy}, sampler {study.sampler}"
    trials = formatting.count(len(study.trials), "trial")
    return [study.metric, how, trials, formatting.duration(study.seconds)]


def numbers(study: StudyResults) -> list[Number]:
    """Return the best score with its label, the confirmed and the test score, and the cost."""
    arms = {arm.trial: arm for arm in study.arms}
    winner = arms.get(study.winner) if study.winner is not None else None
    shown = [_best(study, trial, winner is None) for trial in study.scored[:1]]
    if winner is not None:
        shown.append(_confirmed(winner))
    return [*shown, *_tested(study), _cost(study)]


def _best(study: StudyResults, trial: TrialResult, is_first: bool) -> Number:
    rung = trial.rung
    partial = rung is not None and rung < study.last_rung
    at = f", after {study.rung_name(rung)} of the training" if partial else ""
    way = "higher is better" if study.sign > 0 else "lower is better"
    words = f"{study.metric} of trial {trial.number}{at}; {way}"
    return Number(formatting.score(trial.score), study.split_words, words, is_first)


def _confirmed(arm: Arm) -> Number:
    interval = f"{formatting.score(arm.low)} to {formatting.score(arm.high)}"
    seeds = formatting.count(len(arm.scores), "fresh seed")
    words = "; ".join(filter(None, (f"{verdict.INTERVAL} {interval}", verdict.better(arm))))
    label = f"{arm.name}, mean of {seeds}, validation"
    return Number(formatting.score(arm.mean), label, words, True)


def _tested(study: StudyResults) -> Iterator[Number]:
    if study.test is not None:
        uses = f"test set used {formatting.count(study.test.uses, 'time')}"
        words = f"{study.trial_name(study.test.trial)}; {uses}"
        for name, value in study.test.scores.items():
            yield Number(formatting.score(value), name, words)


def _cost(study: StudyResults) -> Number:
    total, _, states = study.counted.partition(": ")
    share = ""
    whole = sum(trial.total_steps for trial in study.trials)  # over all seeds
    if whole and study.last_rung:
        share = f"; {study.steps / whole:.0%} of the steps of as many full trainings"
    words = f"{states}{share}{_estimated(study)}"
    return Number(formatting.duration(study.seconds), total, words)


def _estimated(study: StudyResults) -> str:
    """Return what an ended search was told to take, beside what it took."""
    told = study.estimate
    if told is None or told.seconds is None or study.stopped_by in (None, "signal"):
        return ""
    return f"; estimated {formatting.duration(told.seconds)} before it ran"


def settings(study: StudyResults) -> list[tuple[str, str]]:
    """Return the settings that the verdict names; of a schedule those of each stage."""
    trial = _named(study)
    if trial is None:
        return []
    stages = study.stages_of(trial.number)
    keys = [key for key in study.keys if key in trial.params]
    if len(stages) < 2:
        return [(key, formatting.setting(trial.params[key])) for key in keys]
    return [(key, ", ".join(_in_stage(study, *stage, key) for stage in stages)) for key in keys]


def _in_stage(study: StudyResults, rung: int, trial: TrialResult, key: str) -> str:
    value = formatting.setting(trial.params[key]) if key in trial.params else "the default"
    return f"{value} to {study.rung_name(rung)}"


def command(study: StudyResults) -> str:
    """Return the command that trains these settings."""
    trial = _named(study)
    if trial is None:
        return " ".join(next_steps.of_the_winner(study))
    return next_steps.by_hand(study, trial.number)


def _named(study: StudyResults) -> TrialResult | None:
    return study.by_number(study.winner if study.winner is not None else study.best)


def why_unconfirmed(study: StudyResults) -> str:
    """Return why no setting ran again over fresh seeds."""
    if not study.scored:
        return "Nothing to confirm: no trial has a score that counts."
    if study.explicit_grid:
        return (
            "Not asked for: a grid runs what was listed. search.confirm.top=3 "
            "search.confirm.seeds=5 confirms its best."
        )
    return "Not done yet: until then the best score is the luckiest one as well."


def silence(study: StudyResults) -> str:
    """Return why there is no advice."""
    if not study.scored:
        return "None: there are no scores to speak from."
    noise = "" if findings.noise(study) else " No setting ran over several seeds."
    return f"None: nothing in the numbers is stronger than chance would make it.{noise}"
