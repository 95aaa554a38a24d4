"""How a study goes on: the commands worth typing after it, to be copied as they are."""

import shlex
from collections.abc import Sequence
from typing import NamedTuple

from tunesmith.errors import printable
from tunesmith.reporting.results import StudyResults


class Command(NamedTuple):
    """A command as words that a shell takes, and what it is for."""

    purpose: str
    words: list[str]

    @property
    def line(self) -> str:
        return " ".join(self.words)


def next_ones(study: StudyResults) -> list[Command]:
    """Return what is worth typing next: the best again, a trial again, the search further."""
    found, where = [], str(study.directory)
    shown = study.winner if study.winner is not None else study.best
    if shown is not None and not _has_no_winner(study) and not _is_schedule(study, shown):
        best = ["python", "train.py", "--config-dir", where, "experiment=best"]
        found.append(Command("train the best settings again", quoted(best)))
    if shown is not None and study.by_number(shown) is not None:
        found.append(Command(f"repeat trial {shown} to the bit", _replay(study, shown)))
    if study.command:
        found += _further(study)
    return found


def _has_no_winner(study: StudyResults) -> bool:
    """Say whether the study ended so that it wrote no experiment/best.yaml."""
    return bool(study.unconfirmed) or study.stopped_by == "failures"


def _further(study: StudyResults) -> list[Command]:
    """The study's own command, under its own name, goes on where it is."""
    words, name = study.command, [f"study={study.study}"]
    unnamed = [word for word in words if not word.startswith("study=")]
    if study.stopped_by == "signal":
        return [Command("go on where it was stopped", quoted([*unnamed, *name]))]
    if study.unconfirmed:
        return [Command("try the confirmation again", quoted([*unnamed, *name]))]
    kept = [word for word in unnamed if not word.startswith("search.budget=")]
    if study.stopped_by == "budget":
        return [Command("go on without a limit of time", quoted([*kept, *name]))]
    if study.stopped_by == "patience":
        kept = [word for word in unnamed if not word.startswith("search.patience=")]
        whole = quoted([*kept, *name, "search.patience=null"])
        return [Command("go on to all trials", whole)]
    has_generations = any(trial.parent is not None for trial in study.trials)
    if study.explicit_grid or has_generations or not study.scored:
        return []
    kept = [word for word in kept if not word.startswith("search.trials=")]
    more = f"search.trials={2 * len(study.trials)}"
    return [Command("go on with twice as many trials", quoted([*kept, *name, more]))]


def by_hand(study: StudyResults, number: int) -> str:
    """Return the command that trains this trial's settings as a run of its own.

    A schedule of settings is no run: it is repeated, stage by stage.
    """
    if _is_schedule(study, number):
        return " ".join(_replay(study, number))
    trial = study.by_number(number)
    return " ".join(quoted(["python", "train.py", *(trial.overrides if trial else [])]))


def of_the_winner(study: StudyResults) -> list[str]:
    """Return the command that trains the winner's settings, one that is no trial too."""
    if study.winner is not None and _is_schedule(study, study.winner):
        return _replay(study, study.winner)
    if study.winner_overrides is None:
        return []
    return quoted(["python", "train.py", *study.winner_overrides])


def _is_schedule(study: StudyResults, number: int) -> bool:
    return len(study.stages_of(number)) > 1


def _replay(study: StudyResults, number: int) -> list[str]:
    return quoted(["tunesmith", "replay", str(study.directory), str(number)])


def quoted(words: Sequence[str]) -> list[str]:
    """Return words as a shell takes them, on one line and without control characters."""
    return [printable(shlex.quote(word)) for word in words]
