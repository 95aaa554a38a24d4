"""Which dimensions matter: PED-ANOVA (Watanabe et al., 2023), computed by Optuna."""

import warnings
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from tunesmith.reporting import findings, formatting
from tunesmith.reporting.html.svg import WIDTH, Figure, Pictures, picture, shape
from tunesmith.reporting.results import SearchedDimension, StudyResults
from tunesmith.reporting.trial_results import TrialResult, is_number

LEAST = 10  # trials; with fewer the order is noise
BEST = 8  # trials at least that the best are compared by: a tenth of few is one or two
NEARLY_ALL = 0.9  # of the trials: a default may have no number where others have one
ROW = 40.0

Pair = tuple[TrialResult, float]
Space = list[SearchedDimension]


def importance(study: StudyResults) -> Pictures:
    """Return how much each dimension moves a trial into the best ones."""
    # Those promoted to a higher rung are alike already: what made them so no longer shows.
    rung, pairs = findings.comparable(study, len(study.scored))
    if len(pairs) < LEAST:
        why = f"Needs {LEAST} trials with a score at one rung, there are {len(pairs)}: with fewer "
        return Pictures(why=f"{why}the order of the dimensions is noise.")
    shares = importances(study, pairs)
    if not shares:
        return Pictures(why="No dimension varied in all trials, or all trials scored alike.")
    words = f"Share in what separates the best trials from all, over {len(pairs)} trials"
    words += f"{study.at_rung(rung)} (PED-ANOVA). It tells what mattered within these ranges."
    if len(pairs) < 30:
        words += " Of so few trials only large differences mean anything."
    left_out = [d.key for d in study.space if d.key not in shares]
    if left_out:
        words += f" Left out, as not set in all trials or never varied: {_keys(left_out)}."
    return Pictures([Figure("by dimension", words, _bars(shares, words))])


def importances(study: StudyResults, pairs: Sequence[Pair]) -> dict[str, float]:
    """Return dimension -> share of the importance, the largest first, summing to 1."""
    import optuna

    space, pairs = _comparable(study.space, pairs)
    if not space:
        return {}
    quiet = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _asked(optuna, space, pairs, study.sign)
    finally:
        optuna.logging.set_verbosity(quiet)


def _asked(optuna: Any, space: Space, pairs: Sequence[Pair], sign: int) -> dict[str, float]:
    distributions = {d.key: _distribution(optuna, d, pairs) for d in space}
    study = optuna.create_study(direction="maximize")  # in memory, thrown away
    study.add_trials(
        optuna.trial.create_trial(
            params={key: _value(trial.params[key], distributions[key]) for key in distributions},
            distributions=distributions,
            value=sign * score,
        )
        for trial, score in pairs
    )
    best = min(0.5, max(0.1, BEST / len(pairs)))
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=best)
    found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {key: value for key, value in found.items() if is_number(value)}


def _distribution(optuna: Any, d: SearchedDimension, pairs: Sequence[Pair]) -> Any:
    values = [trial.params[d.key] for trial, _ in pairs]
    if d.kind == "categorical":
        return optuna.distributions.CategoricalDistribution(sorted(set(map(_word, values))))
    # A trial that was put first by hand may lie outside what is searched.
    low, high = min(d.range[0], *values), max(d.range[1], *values)
    if d.kind == "int":
        return optuna.distributions.IntDistribution(int(low), int(high), log=bool(d.log))
    return optuna.distributions.FloatDistribution(float(low), float(high), log=bool(d.log))


def _value(value: Any, distribution: Any) -> Any:
    return _word(value) if hasattr(distribution, "choices") else value


def _word(value: Any) -> str:
    return formatting.setting(value)


def _comparable(space: Space, pairs: Sequence[Pair]) -> tuple[Space, list[Pair]]:
    """Return the dimensions set in nearly all trials that vary, and the trials that have them."""
    common = [d for d in space if sum(d.is_set(t) for t, _ in pairs) >= NEARLY_ALL * len(pairs)]
    kept = [(trial, score) for trial, score in pairs if all(d.is_set(trial) for d in common)]
    varied = [d for d in common if len({_word(t.params[d.key]) for t, _ in kept}) > 1]
    return varied, kept


def _keys(keys: Sequence[str]) -> str:
    return formatting.listed((formatting.shorten(key, 60) for key in keys), 6)


def _bars(shares: dict[str, float], words: str) -> Markup:
    parts: list[Markup] = []
    for row, (key, share) in enumerate(shares.items()):
        y, width = row * ROW, max(share, 0.0) * (WIDTH - 60)
        parts.append(shape("text", formatting.shorten(key, 52), x=2.0, y=y + 14, class_="name"))
        bar = {"x": 2.0, "y": y + 20, "width": max(width, 1.0), "height": 9}
        parts.append(shape("rect", class_="bar first" if row == 0 else "bar", **bar))
        parts.append(shape("text", f"{share:.0%}", x=width + 9, y=y + 29, class_="value"))
    height = ROW * len(shares) + 4
    return picture("importance", "Importance of the dimensions", words, parts, WIDTH, height)
