"""What a study found, in a few honest sentences: terminal and report say the same."""

from typing import NamedTuple

from tunesmith.reporting import findings, formatting
from tunesmith.reporting.results import Arm, Plateau, StudyResults
from tunesmith.reporting.trial_results import COLLAPSE, DIVERGED, TrialResult, is_number

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


def lines(study: StudyResults) -> list[str]:
    """Return the verdict as lines of a terminal."""
    said = verdict(study)
    found = [best_line(study), f"{said.title}: {said.reason}" if said.reason else said.title]
    found += [luck(study), *map(arm_line, study.arms), stopped_early(study), test_line(study)]
    found += [stop(study), *stage_lines(study)]
    return [line for line in found if line]


def stage_lines(study: StudyResults) -> list[str]:
    """Return the settings of a winner, or a best trial, that changed them in mid-run: by stage."""
    number = study.winner if study.winner is not None else study.best
    stages = study.stages_of(number)
    if len(stages) < 2:
        return []
    return [
        f"trial {number} is a schedule: its settings change in mid-run",
        *(f"  to {study.rung_name(rung)}: {_settings(trial)}" for rung, trial in stages),
    ]


def _settings(trial: TrialResult) -> str:
    words = [f"{key}={formatting.setting(value)}" for key, value in trial.params.items()]
    return f"{' '.join(words)} (trial {trial.number})"


def stop(study: StudyResults) -> str:
    """Return why it ended; nothing where it came to its end."""
    if study.plateau is not None:
        return _plateau(study.plateau)
    return STOPS.get(study.stopped_by, "") if study.trials else ""


def _plateau(plateau: Plateau) -> str:
    gain, noise = formatting.score(plateau.gain), formatting.score(plateau.noise)
    return (
        f"Stopped by search.patience={plateau.patience} after {plateau.trials} of {plateau.target} "
        f"trials: {plateau.patience} more are expected to raise the best score by {gain} at most, "
        f"less than the noise of one (σ = {noise}, from the {plateau.source})."
    )


def verdict(study: StudyResults) -> Verdict:
    """Return the winner, "the default stays", or why there is neither."""
    confirmation = study.confirmation
    if not study.scored:
        return _without_scores(study)
    if study.stopped_by in UNFINISHED:
        best = study.scored[0].number
        why = "the study is unfinished, and names no winner before its end"
        return Verdict(f"Trial {best} is the best so far", why)
    if confirmation is None:
        return _unconfirmed(study)
    reason = confirmation.reason
    winner = study.by_number(confirmation.winner)
    if confirmation.clearly_better and winner is not None and not winner.is_default:
        return Verdict(f"Trial {winner.number} wins", reason)
    if winner is not None and not winner.is_default:
        return Verdict(f"Trial {winner.number} is used", reason)
    return Verdict("The default stays", "; ".join(filter(None, (reason, _closest(study)))))


LEARNT_NOTHING = {COLLAPSE: "collapsed", DIVERGED: "diverged"}


def _without_scores(study: StudyResults) -> Verdict:
    kinds = set(findings.failures(study))
    if not kinds & set(LEARNT_NOTHING):
        return Verdict("No trial has a score", study.counted)
    if kinds <= set(LEARNT_NOTHING) and all(trial.is_degenerate for trial in study.trials):
        words = " or ".join(LEARNT_NOTHING[kind] for kind in sorted(kinds))
        why = "each gave every row the same answer, so none is the best; the advice says more"
        return Verdict(f"Every trial {words}", why)
    found = ", ".join(f"{len(t)} {kind}" for kind, t in findings.failures(study).items())
    return Verdict("No trial has learnt anything", found)


def _closest(study: StudyResults) -> str:
    known = [arm for arm in study.arms if is_number(arm.p_better) and not arm.is_default]
    best = max(known, key=lambda arm: arm.p_better or 0.0, default=None)
    return f"{best.name} came closest, {better(best)}" if best else ""


def _unconfirmed(study: StudyResults) -> Verdict:
    name = f"Trial {study.scored[0].number} is the best seen"
    if study.explicit_grid:
        return Verdict(name, "a grid runs what was listed; nothing was confirmed over fresh seeds")
    if why := study.unconfirmed:
        return Verdict(name, f"not called a winner: {why}")
    return Verdict(name, "not confirmed over fresh seeds, so not called a winner")


def best_line(study: StudyResults) -> str:
    """Return the best score with the label that it must carry."""
    trials = study.scored
    if not trials:
        return ""
    score = formatting.score(trials[0].score)
    start = f"best {study.metric} {score}, trial {trials[0].number}"
    rung = trials[0].rung
    if rung is not None and rung < study.last_rung:
        start += f", at rung {study.rung_name(rung)} of the training"
    return f"{start}: {study.split_words}"


def luck(study: StudyResults) -> str:
    """Return how much the best of so many trials owes to luck, where that can be said."""
    count = findings.tried(study)
    if count < 2:
        return ""
    times, noise = findings.luck(count), findings.noise(study)
    start = f"the best of {count} equal trials looks {times:.2f} σ too good by luck alone"
    if noise is None:
        return f"{start}; σ is unknown, no setting ran over several seeds"
    if not noise.sigma:
        return f"{start}; over seeds these scores show no noise (from the {noise.source})"
    amount, sigma = (formatting.score(x) for x in (times * noise.of_a_score, noise.of_a_score))
    over = "over seeds" if noise.each == 1 else f"of a mean over {noise.each} seeds"
    return f"{start}: about {amount} here (σ = {sigma} {over}, from the {noise.source})"


def arm_line(arm: Arm) -> str:
    """Return mean, interval and P(better than the default) of one confirmed setting."""
    interval = f"[{formatting.score(arm.low)}, {formatting.score(arm.high)}]"
    seeds = formatting.count(len(arm.scores), "seed")
    text = f"{arm.name}: {formatting.score(arm.mean)}, {INTERVAL} {interval}"
    dropped = f"dropped: {arm.dropped}" if arm.dropped else ""
    return ", ".join(filter(None, (text, seeds, better(arm), dropped)))


def stopped_early(study: StudyResults) -> str:
    """Return how many trainings a confirmation took that ended before its last seed."""
    confirmation = study.confirmation
    if confirmation is None or confirmation.trainings == confirmation.most_trainings:
        return ""
    took = f"{confirmation.trainings} of at most {confirmation.most_trainings} trainings"
    return (
        f"the confirmation knew enough after {took}; means, intervals and P(better) are not "
        "adjusted for that"
    )


def better(arm: Arm) -> str:
    """Return how probable it is that these settings are better than the default."""
    chance = arm.p_better
    return f"P(better than the default) {formatting.chance(chance)}" if is_number(chance) else ""


def test_line(study: StudyResults) -> str:
    """Return the test score, with how often this test split has been used."""
    test = study.test
    if not test:
        return ""
    scores = ", ".join(f"{name} {formatting.score(value)}" for name, value in test.scores.items())
    uses = formatting.count(test.uses, "time")
    return f"{scores}, {study.trial_name(test.trial)} (test set used {uses})"
