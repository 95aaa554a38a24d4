"""What to do next, in words, each advice with the evidence it rests on."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tunesmith.reporting import findings, formatting, plateau, statistics
from tunesmith.reporting.results import StudyResults
from tunesmith.reporting.trial_results import TrialResult, Validation, is_number

AGREES = 0.3  # Kendall's tau below which a lower rung says little
OFFERED = 10  # the search.patience that is offered
SHARE = 0.1  # of trials that may fail before it is worth a word


class Advice(NamedTuple):
    """One thing worth doing, and why."""

    text: str
    evidence: str


def advise(study: StudyResults) -> list[Advice]:
    """Return what the study's numbers suggest, the most pressing first; often nothing."""
    sources = (
        *(_failures, _edges, _confirm, _more_seeds, _rungs, _overfits, _length, _flat),
        _patience,
    )
    return [advice for source in sources for advice in source(study)]


# --- failures -----------------------------------------------------------------------------

REMEDIES = {
    "nan": "set trainer.precision=32, or lower optimizer.lr",
    "diverged": "lower optimizer.lr, or lengthen scheduler.warmup",
    "collapse": "lower optimizer.lr, train for more steps, or lengthen scheduler.warmup",
    "out of memory": "raise trainer.micro_batches: no result changes; or lower data.batch_size",
    "timeout": "give a trial more time, or shorten it",
    "crash": "look into train.log of the trials",
}


def _failures(study: StudyResults) -> Iterator[Advice]:
    for kind, trials in findings.failures(study).items():
        if study.scored and len(trials) < max(2, SHARE * len(study.trials)):
            continue
        numbers = formatting.listed(trial.number for trial in trials)
        said = f"{len(trials)} of {len(study.trials)} trials failed ({kind}): {numbers}"
        region = _region(study, trials)
        if region is None:
            remedy = REMEDIES.get(kind, "look at its first error")
            yield Advice(f"Trials fail of {kind}: {remedy}.", f"{said}.{_first_error(trials)}")
        else:
            yield Advice(
                f"Trials fail of {kind} where {region.where}: "
                f"leave that out of the space, or {REMEDIES.get(kind, 'look into one of them')}.",
                f"{said}; all of them have {region.where}, as have {region.survivors} "
                f"of the {region.others} others.",
            )


def _first_error(trials: Sequence[TrialResult]) -> str:
    error = next((str(trial.error) for trial in trials if trial.error), "")
    return f" The first: {formatting.shorten(error, 160)}" if error else ""


class _Region(NamedTuple):
    where: str
    survivors: int
    others: int
    chance: float


def _region(study: StudyResults, failed: Sequence[TrialResult]) -> _Region | None:
    """Return the end of a dimension where these trials fail, unless luck could have put it so."""
    numbers = {trial.number for trial in failed}
    others = [trial for trial in study.trials if trial.number not in numbers]
    regions = [
        region
        for dimension in study.space
        if dimension.kind != "categorical"
        for region in _ends(dimension.key, failed, others)
    ]
    best = min(regions, key=lambda region: region.chance, default=None)
    return best if best and best.chance * max(len(regions), 1) < findings.CHANCE else None


def _ends(
    key: str, failed: Sequence[TrialResult], others: Sequence[TrialResult]
) -> Iterator[_Region]:
    bad, good = _values(key, failed), _values(key, others)
    if len(bad) < len(failed) or not good:
        return
    for sign, bound in ((">=", min(bad)), ("<=", max(bad))):
        inside = sum(value >= bound if sign == ">=" else value <= bound for value in good)
        chance = statistics.chance_inside(len(bad), len(bad) + inside, len(bad) + len(good))
        yield _Region(f"{key} {sign} {formatting.setting(bound)}", inside, len(good), chance)


def _values(key: str, trials: Sequence[TrialResult]) -> list[float]:
    return [t.params[key] for t in trials if is_number(t.params.get(key))]


# --- the space ----------------------------------------------------------------------------


def _edges(study: StudyResults) -> Iterator[Advice]:
    for edge in findings.edges(study).values():
        way, end = ("above", "upper") if edge.side == "high" else ("below", "lower")
        best = {3: "three", 4: "four", 5: "five"}.get(len(edge.values), len(edge.values))
        yield Advice(
            f"Widen {edge.key} {way} {formatting.setting(edge.bound)}: "
            "the best values lie at the edge of what was searched.",
            f"The {best} best trials have {edge.key} {edge.spelled}; "
            f"the {end} bound is {formatting.setting(edge.bound)}. Luck alone shows that in less "
            f"than {findings.CHANCE:.0%} of studies.",
        )


# --- luck ---------------------------------------------------------------------------------


def _confirm(study: StudyResults) -> Iterator[Advice]:
    count = findings.tried(study)
    if study.confirmation or study.explicit_grid or count < 2:
        return
    # A search that came to its end was confirmed if that was asked for; one cut off may yet be.
    whole = study.stopped_by in ("trials", "patience")
    if not whole and "search.confirm.top=0" not in study.command:
        return
    yield Advice(
        "Confirm the best trials against the default over fresh seeds: "
        "search.confirm.top=3 search.confirm.seeds=5.",
        f"Nothing was confirmed, and the best of {count} equal trials looks "
        f"{findings.luck(count):.2f} σ better than it is, by luck alone.",
    )


def _more_seeds(study: StudyResults) -> Iterator[Advice]:
    noise, best = findings.noise(study), study.finalists[:5]
    decided = study.confirmation is not None and study.confirmation.clearly_better
    if noise is None or decided or len(best) < 3:
        return
    gap = abs(best[0].known_score - best[-1].known_score)
    if noise.of_a_score > gap:
        mean = "" if noise.each == 1 else f" of a mean over {noise.each} seeds"
        yield Advice(
            "More seeds, not more trials: search.replicates or search.confirm.seeds.",
            f"Seed noise (σ = {formatting.score(noise.of_a_score)}{mean}, from {noise.seeds} "
            f"scores of the {noise.source}) is larger than the gap between the first "
            f"{len(best)} trials ({formatting.score(gap)}).",
        )


def _flat(study: StudyResults) -> Iterator[Advice]:
    noise, curve = findings.noise(study), findings.budget_curve(study)
    rung, _ = findings.comparable(study)
    # Scores of a lower rung are of those promoted to it: alike already, and of other noise.
    if noise is None or len(curve) < 10 or rung < study.last_rung:
        return
    half = len(curve) // 2
    gain = abs(curve[-1] - curve[half - 1])
    if gain < noise.of_a_score / 4:
        yield Advice(
            "More trials in this space will hardly help: change the space, or stop here.",
            f"Going from {half} to {len(curve)} trials raised the expected best score by "
            f"{formatting.score(gain)}, a fraction of the seed noise "
            f"(σ = {formatting.score(noise.of_a_score)}).",
        )


def _patience(study: StudyResults) -> Iterator[Advice]:
    asked = any(word.startswith("search.patience=") for word in study.command)
    if asked or study.explicit_grid or study.stopped_by not in ("trials", "budget"):
        return
    found = plateau.first_plateau(study, OFFERED)
    if found is None or found.target - found.trials < max(OFFERED, found.target / 3):
        return
    gain, noise = formatting.score(found.gain), formatting.score(found.noise)
    yield Advice(
        f"Stop when it knows: search.patience={OFFERED} ends such a search after about "
        f"{found.trials} of {found.target} trials.",
        f"After {found.trials} the next {OFFERED} were expected to raise the best score by {gain} "
        f"at most, less than the noise of one (σ = {noise}, from the {found.source}).",
    )


# --- rungs and curves ---------------------------------------------------------------------


def _rungs(study: StudyResults) -> Iterator[Advice]:
    for pair in findings.rung_pairs(study):
        if pair.tau is not None and len(pair.points) >= 8 and pair.tau < AGREES:
            low, high = study.rung_name(pair.low), study.rung_name(pair.high)
            kept = ",".join("1" if r >= 1 else formatting.rung(r) for r in study.rungs[pair.high :])
            yield Advice(
                f"Scores at rung {low} say little about those at {high}: start higher, "
                f"search.policy.rungs=[{kept}].",
                f"Kendall's τ between the two is {pair.tau:.2f} over {len(pair.points)} trials.",
            )


def _overfits(study: StudyResults) -> Iterator[Advice]:
    best = study.scored[:1]
    for trial in best:
        points = [(p.loss, p) for p in trial.history if is_number(p.loss)]
        if not points:
            continue
        least, low = min(points, key=lambda point: point[0])
        after = [(loss, point) for loss, point in points if point.step > low.step]
        if len(after) < 2 or not _rises(least, low, after):
            continue
        end, last = after[-1]
        if _still_gains(trial.best_step, low.step, last.step):
            continue
        losses = f"{least:.3f} at step {low.step}, {end:.3f} at the end"
        yield Advice(
            f"Validation loss rises from step {low.step} while training loss falls: "
            "stop earlier, or raise dropout or weight decay.",
            f"Trial {trial.number}, the best: validation loss {losses}; training loss "
            f"{low.train_loss:.3f} and {last.train_loss:.3f}.",
        )


def _rises(least: float, low: Validation, after: Sequence[tuple[float, Validation]]) -> bool:
    end, last = after[-1]
    if not is_number(low.train_loss) or not is_number(last.train_loss):
        return False
    rises = end > 1.1 * least and min(loss for loss, _ in after) > least
    return rises and last.train_loss < low.train_loss


def _still_gains(best: int | None, low: int, end: int) -> bool:
    """Where the score rises on, the loss shows overconfidence, not a model that gets worse."""
    return best is not None and best - low > 0.5 * (end - low)


def _length(study: StudyResults) -> Iterator[Advice]:
    trained = [t for t in study.scored if t.rung == study.last_rung and t.horizon]
    if len({trial.score for trial in trained}) < 2:
        return  # none is better than the rest: which came first is their number alone
    best = trained[:5]
    ends = [t.best_step / t.horizon for t in best if t.best_step is not None]
    if len(ends) < 3:
        return
    shares = ", ".join(f"{end:.0%}" for end in ends)
    said = f"The best validation of the first {len(ends)} trials came after {shares} of the steps"
    if max(ends) <= 0.5:
        yield Advice("Train shorter: trainer.max_epochs can be halved.", f"{said}.")
    elif sorted(ends)[len(ends) // 2] >= 0.95:
        gains = [gain for t in best if (gain := _late_gain(t, study.sign)) is not None]
        gain = sorted(gains)[len(gains) // 2] if gains else 0.0
        if gain > 0.15:
            text = "Train longer: scores still rise at the end (trainer.max_epochs)."
            yield Advice(text, f"{said}, and {gain:.0%} of the whole rise in the last quarter.")


def _late_gain(trial: TrialResult, sign: int) -> float | None:
    """Return what share of the rise of the score came in the last quarter of the steps."""
    points = [(p.step, sign * p.score) for p in trial.history if is_number(p.score)]
    early = [score for step, score in points if step <= 0.75 * trial.horizon]
    if len(points) < 4 or not early:
        return None
    rise = max(score for _, score in points) - points[0][1]
    return (max(score for _, score in points) - max(early)) / rise if rise > 0 else None
