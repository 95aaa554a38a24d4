"""A whole search told before it runs: trials, segments, confirmation, time, disk, memory."""

from collections import Counter
from collections.abc import Iterator
from statistics import fmean

from tunesmith.reporting import formatting
from tunesmith.reporting.results import Estimate
from tunesmith.search.cost.cost_model import CostModel
from tunesmith.search.cost.play_through import COPIES, Running, play_often
from tunesmith.search.cost.time_left import Correction, confirmation_seconds

PLAYS = 40  # times that the search is played through; the mean counts
UNKNOWN = "the time is known once segments have ended (not measured: a queue, or several devices)"


def estimate(
    model: CostModel, running: list[Running] | None = None, before: float = 0.0
) -> Estimate:
    """Return what a search costs from where it stands to its end.

    `running` are segments that are handed out first, `before` the seconds that it has taken.
    """
    shape, standings = model.shape, model.loop.standings
    cold = max((cost.worker_seconds for cost in model.measured.values()), default=0.0)
    model.mean(lambda workload: workload.whole)  # composes, and times that
    handover = Correction(extra=model.handover)
    plays, share = play_often(
        PLAYS, shape, model.of_trial, handover.seconds, standings, running or (), cold
    )
    rungs = range(len(shape.policy.rungs))
    segments = [round(share * fmean(p.segments[rung] for p in plays)) for rung in rungs]
    candidates = min(shape.confirm_top, shape.trials)
    runs = (candidates + 1) * shape.confirm_seeds if shape.confirm_top else 0
    trials = share * fmean(p.seconds for p in plays)
    confirmation = confirmation_seconds(shape, plays, handover)
    winner = winner_seconds(model)
    estimated = Estimate(
        trials=shape.trials,
        segments=segments,
        confirmation_runs=runs,
        workers=shape.workers,
        seconds=None,
    )
    if not model.is_measured:
        return estimated
    checkpoints = share * fmean(p.checkpoints for p in plays) + shape.workers * COPIES
    rest, budget = trials + confirmation + winner, model.loop.settings.budget
    return estimated.model_copy(
        update={
            "steps": round(share * fmean(p.steps for p in plays)),
            "validations": round(share * fmean(p.validations for p in plays)),
            "seconds": before + (rest if budget is None else min(rest, budget)),
            "unlimited_seconds": before + rest,
            "trial_seconds": trials,
            "confirmation_seconds": confirmation,
            "winner_seconds": winner,
            "disk": round(_disk(model, checkpoints, shape.trials, runs)),
            "memory": max(cost.memory for cost in model.measured.values()),
            "gpu_memory": max(cost.gpu_memory for cost in model.measured.values()),
        }
    )


def winner_seconds(model: CostModel) -> float:
    """Return what testing and saving the winner takes: it is restored, and scored once more."""
    if not model.is_measured:
        return 0.0
    return model.mean(lambda w: w.start + w.restore + w.validation + w.checkpoint)


def _disk(model: CostModel, checkpoints: float, trials: int, runs: int) -> float:
    """Return the bytes of a study: its checkpoints at most, and the other files of its runs."""
    size = checkpoints * model.mean_bytes("checkpoint_bytes")
    limit = model.loop.settings.max_disk
    files = (trials * len(model.loop.seeds) + runs) * model.mean_bytes("run_bytes")
    return (size if limit is None else min(size, limit)) + files


def words(estimated: Estimate) -> str:
    """Say an estimate in one line."""
    segments = sum(estimated.segments)
    plan = formatting.count(estimated.trials, "trial")
    plan += f" in {segments} segments" if segments != estimated.trials else ""
    if estimated.confirmation_runs:
        plan += (
            f", then at most {formatting.count(estimated.confirmation_runs, 'confirmation run')}"
        )
    workers = formatting.count(estimated.workers, "worker")
    if estimated.seconds is None:
        return f"{plan} on {workers}; {UNKNOWN}"
    return f"{plan}: {', '.join(_costs(estimated, workers))}"


def _costs(estimated: Estimate, workers: str) -> Iterator[str]:
    parts = {
        "trials": estimated.trial_seconds,
        "confirmation": estimated.confirmation_seconds if estimated.confirmation_runs else None,
        "winner": estimated.winner_seconds,
    }
    spent = estimated.unlimited_seconds - sum(seconds or 0.0 for seconds in parts.values())
    if spent >= 1:
        parts = {"spent before": spent, **parts}
    each = [f"{name} {formatting.duration(s)}" for name, s in parts.items() if s is not None]
    assert estimated.seconds is not None
    limit = ""
    if estimated.seconds < estimated.unlimited_seconds:
        limit = f" by search.budget, without it {formatting.duration(estimated.unlimited_seconds)}"
    time = f"about {formatting.duration(estimated.seconds)} on {workers}{limit}"
    yield f"{time} ({', '.join(each)})"
    yield f"{formatting.size(estimated.disk)} of disk"
    yield f"{formatting.size(estimated.memory)} of memory per worker"
    if estimated.gpu_memory:
        yield f"{formatting.size(estimated.gpu_memory)} of GPU memory"


def details(estimated: Estimate, model: CostModel) -> Iterator[str]:
    """Say what an estimate is made of, a line each."""
    rungs = model.loop.policy.rungs
    if len(rungs) > 1:
        counts = Counter(dict(enumerate(estimated.segments)))
        each = [f"{counts[i]} to {formatting.rung(rung)}" for i, rung in enumerate(rungs)]
        yield f"segments: {', '.join(each)}"
    if estimated.steps is not None and estimated.validations is not None:
        validations = formatting.count(estimated.validations, "validation")
        yield f"trials: {formatting.count(estimated.steps, 'step')}, {validations}"
    for kind, cost in model.measured.items():
        step = cost.step_seconds + cost.token_seconds * cost.tokens
        of = f" {kind}" if len(model.measured) > 1 else ""
        size = formatting.size(cost.checkpoint_bytes)
        facts = [
            f"a step {_short(step)} (batch {cost.batch_size}, {cost.tokens:,.0f} tokens)",
            f"a validation {_short(cost.validation_seconds)}",
            f"a checkpoint of {size} {_short(cost.checkpoint_seconds)}",
            f"the start of a segment {_short(cost.start_seconds)}",
            f"of a worker {_short(cost.worker_seconds)}",
        ]
        yield f"measured{of}: {', '.join(facts)}"


def _short(seconds: float) -> str:
    return formatting.duration(seconds) if seconds >= 1 else f"{1000 * seconds:.0f} ms"
