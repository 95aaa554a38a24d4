"""Scores of each language by itself, and how far the others are behind those that were learnt."""

import warnings
from collections.abc import Collection, Mapping, Sequence
from statistics import mean
from typing import Any, ClassVar, Protocol


class Scored(Protocol):
    """What is needed of a task."""

    monitor: ClassVar[str]
    metrics: ClassVar[Mapping[str, str]]

    def score(self, answers: Sequence[Any], rows: Sequence[Any]) -> dict[str, float]: ...


def by_language(
    task: Scored, answers: Sequence[Any], rows: Sequence[Mapping[str, Any]], learnt: Collection[str]
) -> dict[str, float]:
    """Return `accuracy/de` and so on; nothing where there are not two languages.

    `accuracy_gap`, of the monitored metric, is the mean of the languages that were learnt from
    (`learnt`) less the mean of the others: transfer is lossless at 0 (Hu et al., 2020, 4.1).
    """
    languages = sorted({row["language"] for row in rows if row.get("language") is not None})
    if len(languages) < 2:
        return {}
    found = {language: _score(task, answers, rows, language) for language in languages}
    scores = {
        f"{name}/{language}": value
        for language, reached in found.items()
        for name, value in reached.items()
    }
    source = [reached[task.monitor] for language, reached in found.items() if language in learnt]
    others = [found[other][task.monitor] for other in languages if other not in learnt]
    if source and others:
        gap = mean(source) - mean(others)
        scores[f"{task.monitor}_gap"] = -gap if task.metrics[task.monitor] == "min" else gap
    return scores


def _score(
    task: Scored, answers: Sequence[Any], rows: Sequence[Mapping[str, Any]], language: str
) -> dict[str, float]:
    theirs = [i for i, row in enumerate(rows) if row["language"] == language]
    with warnings.catch_warnings():  # a language may lack a class
        warnings.simplefilter("ignore")
        return task.score([answers[i] for i in theirs], [rows[i] for i in theirs])
