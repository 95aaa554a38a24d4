"""The runs of a confirmation, in blocks of seeds: each is trained once and remembered."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tunesmith import runs
from tunesmith.errors import StudyError
from tunesmith.reporting.trial_results import COLLAPSE, DIVERGED, NAN
from tunesmith.search.confirmation.sequential import Plan, Scores, expected_blocks, next_step
from tunesmith.search.storage.checkpoint_budget import delete_checkpoints
from tunesmith.search.study.search_loop import SearchLoop
from tunesmith.search.trial import Result, Segment

log = logging.getLogger(__name__)

DEFAULT = -1  # number of the default config where it is no trial: in an explicit grid
CONFIRM = "confirm"  # folder of a study, and how the key of a run's result begins
OF_TRAINING = (NAN, DIVERGED, COLLAPSE)  # failures that another try only repeats


class NoScoreError(StudyError):
    """No run of the confirmation came to its end with a score: there is nothing to compare."""

    def __init__(self, study: Path, why: str) -> None:
        self.why = why
        fix = f"mend that; the same command tries again: study={study.name}"
        super().__init__("STUDY-CONFIRM", str(study / CONFIRM), self.why, fix)


def train(
    loop: SearchLoop,
    overrides: Mapping[int, list[str]],
    default: int,
    seeds: Sequence[int],
    plan: Plan,
) -> Scores | None:
    """Train arms over seeds, block by block, until `plan` knows; a row ends where its arm did.

    What an earlier start has trained is read. None where the budget ended before. Raises
    NoScoreError where no arm has a score.
    """
    known: dict[tuple[int, int], Result] = {}
    scores: dict[int, list[float | None]] = {trial: [] for trial in overrides}
    while not (step := next_step(scores, default, plan)).is_over:
        new = seeds[len(scores[default]) : step.seeds]
        block = [(trial, seed) for seed in new for trial in step.trials]
        later = sum(expected_blocks(len(step.trials) - 1, plan, step.seeds))
        results = _train_block(loop, block, overrides, seeds, later)
        if results is None:
            log.warning("the budget ended before the confirmation did: nothing is confirmed")
            return None
        known |= results
        for trial in step.trials:
            scores[trial] += [_score(results[trial, seed]) for seed in new]
    if all(score is None for row in scores.values() for score in row):
        first = _error(next(iter(known.values())))
        why = f"no run of the confirmation has a score, the first: {first}"
        raise NoScoreError(loop.folder, why)
    return scores


def _train_block(
    loop: SearchLoop,
    block: Sequence[tuple[int, int]],
    overrides: Mapping[int, list[str]],
    seeds: Sequence[int],
    later: int,
) -> dict[tuple[int, int], Result] | None:
    """Train trials on seeds, or read what an earlier start has trained; None for a budget's end.

    A fault that passes (a full disk, a lost worker) is not kept, so that another start tries
    again. `later` trainings are expected after these.
    """
    known = {pair: result for pair in block if (result := _retained(loop, *pair)) is not None}
    missing = [pair for pair in block if pair not in known]
    segments = [arm(loop, *pair, overrides[pair[0]]) for pair in missing]

    def take(segment: Segment, result: Result) -> None:
        if _is_final(result):
            loop.store.add_result(_key(segment.trial, segment.seed), result)
            tidy(loop, [segment.trial], seeds)

    results = loop.train(segments, take, later)
    if loop.ended_by is not None and any(result.state == "interrupted" for result in results):
        return None
    _log_progress(results)
    known |= dict(zip(missing, results, strict=True))
    return {pair: known[pair] for pair in block}


def ended_runs(loop: SearchLoop) -> Iterator[Result]:
    """Yield the results of runs that came to their end, those of earlier starts too."""
    for key, result in loop.store.facts.results.items():
        if key.startswith(f"{CONFIRM} ") and result.state == "done":
            yield result


def arm(loop: SearchLoop, trial: int, seed: int, overrides: Sequence[str]) -> Segment:
    """Return the training of one setting over one fresh seed."""
    return loop.segments.whole(trial, seed, overrides, directory(loop, trial, seed))


def directory(loop: SearchLoop, trial: int, seed: int) -> Path:
    """Return the run directory of an arm's seed."""
    name = "default" if trial == DEFAULT else f"{trial:04d}"
    return loop.folder / CONFIRM / f"{name}-seed-{seed}"


def tidy(
    loop: SearchLoop, trials: Sequence[int], seeds: Sequence[int], winner: bool = True
) -> None:
    """Delete the checkpoints of finished arms; one run of each that may win keeps its own."""
    for trial in trials:
        folders = [
            directory(loop, trial, s) for s in seeds if _retained(loop, trial, s) is not None
        ]
        needed = next(filter(_is_whole, [*_own(loop, trial), *folders]), None) if winner else None
        for run in folders:
            if run != needed:
                delete_checkpoints(run)
    loop.disk.shrink(loop.records, loop.last_rung)


def _own(loop: SearchLoop, trial: int) -> Iterator[Path]:
    """Yield the run of a trial in the search whose weights are used where it wins."""
    if trial != DEFAULT:
        yield loop.segments.directory(loop.records[trial], loop.records[trial].seeds[0])


def _is_whole(run: Path) -> bool:
    return runs.is_finished(run) and (run / "checkpoints" / "best.ckpt").exists()


def _key(trial: int, seed: int) -> str:
    return f"{CONFIRM} {trial} {seed}"


def _retained(loop: SearchLoop, trial: int, seed: int) -> Result | None:
    """Return the result that needs no other try, or None."""
    found = loop.store.facts.results.get(_key(trial, seed))
    return found if found is not None and _is_final(found) else None


def _is_final(result: Result) -> bool:
    return result.state == "done" or (result.state == "failed" and result.failure in OF_TRAINING)


def _score(result: Result) -> float | None:
    """Return its score; one that collapsed has a number, and is of no use."""
    return result.score if result.state == "done" and result.failure is None else None


def _error(result: Result) -> str:
    return str(result.error or result.failure or "unknown")


def _log_progress(results: Sequence[Result]) -> None:
    lost = [result for result in results if not _is_final(result)]
    if lost:
        what = "%d of the confirmation's runs failed, and are tried again at the next start: %s"
        log.warning(what, len(lost), _error(lost[0]))
