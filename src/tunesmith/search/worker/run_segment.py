"""What a worker does: train one segment of a trial, or test the winner's weights."""

import contextlib
import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tunesmith import runs
from tunesmith.config import RunConfig, monitor_of, typed
from tunesmith.errors import Interrupted, explain, is_fault_of_machine
from tunesmith.models.spec import fingerprint
from tunesmith.pipeline.components import Training, build_training
from tunesmith.pipeline.finalize import finalize, write_metrics
from tunesmith.pipeline.inputs import RunInputs, check_runnable, load_inputs, task_class
from tunesmith.pipeline.run_context import ConfigRecord, RunContext, record_end, record_start
from tunesmith.pipeline.run_length import step_at_fraction
from tunesmith.pipeline.train import choose_hardware, fit, launched_ranks
from tunesmith.reporting.trial_results import (
    COLLAPSE,
    DIVERGED,
    MACHINE,
    NAN,
    OUT_OF_MEMORY,
    Validation,
)
from tunesmith.runtime.memory import gpu_memory, peak_memory, release_memory
from tunesmith.search.storage.link_checkpoint import STAGE_ENDS
from tunesmith.search.trial import Result, Segment, result_of
from tunesmith.search.worker.input_cache import InputCache
from tunesmith.search.worker.measure_cost import measure
from tunesmith.tasks.capabilities import ComparesWithGuessing
from tunesmith.training import checkpoint_io, tracking
from tunesmith.training.hardware import Hardware, torch_settings

log = logging.getLogger(__name__)

OF_NO_USE = {
    NAN: "its score was never a number",
    COLLAPSE: "gives every row the same answer, at the loss of guessing",
    DIVERGED: "gives every row the same answer, at a loss far above guessing",
}
KINDS = {"TRAIN-NAN": NAN, "TRAIN-BEST": NAN, "TRAIN-OOM": OUT_OF_MEMORY}
GUESSED = 5_000  # rows that the loss of guessing is taken over, at most


def run_segment(segment: Segment, warm: InputCache) -> Result:
    """Do what the segment says; every failure of it is a result, never an exception.

    Only a signal that ends the worker itself gets through.
    """
    began = time.monotonic()
    try:
        result = DO[segment.kind](segment, warm)
    except Interrupted:
        result = result_of(segment, "interrupted", step=_saved_step(Path(segment.directory)))
    except Exception as error:  # whatever it is, it is this trial's and no other's
        log.debug("segment failed", exc_info=True)
        told = explain(error)
        if is_fault_of_machine(told):  # the next one would meet it too: this one is not to blame
            state, failure = "interrupted", MACHINE
        else:
            state, failure = "failed", KINDS.get(told.code, f"error:{told.code}")
        result = result_of(
            segment, state, failure=failure, error=str(told), exit_code=told.exit_code
        )
    finally:
        tracking.finish()
    result = _timed(result, time.monotonic() - began)
    release_memory()
    return result


@contextlib.contextmanager
def _ready(config: RunConfig, warm: InputCache) -> Iterator[tuple[Hardware, RunInputs]]:
    """Settle the hardware; yield it, and the rows and model of a config that can be trained."""
    hardware = choose_hardware(config)
    with torch_settings(hardware, config.trainer.deterministic):
        inputs = warm.inputs_of(config)
        check_runnable(config, inputs, hardware)
        yield hardware, inputs


def _trained(segment: Segment, warm: InputCache) -> Result:
    config = _up_to(segment.until, segment.config)
    with _ready(config, warm) as (hardware, inputs):
        for stage in _stages_before(segment):
            before = _up_to(*stage)
            trained = _train(before, hardware, warm.inputs_of(before), segment, config)
            _record_end_of_stage(Path(segment.directory), trained.checkpoints.pause_at_step)
            del trained  # the memory of its model is needed
        training = _train(config, hardware, inputs, segment, config)
    return _result(segment, hardware, inputs, training)


def _up_to(until: float, config: Mapping[str, Any]) -> RunConfig:
    # In the config every rank reads it. Only encoded rows tell how many steps there are.
    pause = float(until) if until < 1 else None
    return typed(config).with_options("trainer", pause_at_step=pause)


def _stages_before(segment: Segment) -> Sequence[tuple[float, Mapping[str, Any]]]:
    """Return the stages that a run has not come to the end of, by the step of its checkpoint.

    One too many does no harm: it ends at once.
    """
    folder = Path(segment.directory) / "checkpoints"
    if not segment.stages or checkpoint_io.newest_intact(folder, log.debug) is None:
        return segment.stages
    known = checkpoint_io.read_manifest(folder)
    names = [name for name in ("last.ckpt", "previous.ckpt") if name in known]
    step = min((known[name]["step"] for name in names), default=0)
    ends = runs.read_status(folder.parent).get(STAGE_ENDS, [])
    return segment.stages[sum(end <= step for end in ends) :]


def _record_end_of_stage(directory: Path, step: int | None) -> None:
    ends = runs.read_status(directory).get(STAGE_ENDS, [])
    if step not in ends:
        known: dict[str, Any] = {STAGE_ENDS: [*ends, step]}
        runs.write_status(directory, "paused", **known)


def _train(
    config: RunConfig, hardware: Hardware, inputs: RunInputs, segment: Segment, recorded: RunConfig
) -> Training:
    """Train in the segment's directory, which is a run directory, from where it stands.

    `recorded` is what is written down: the config of the last stage.
    """
    directory = Path(segment.directory)
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    with runs.lock(directory), runs.setup_log(directory):
        begun = (directory / "config.yaml").exists()
        checkpoint = checkpoint_io.newest_intact(directory / "checkpoints", log.warning)
        context = RunContext(
            directory,
            begun,
            checkpoint,
            segment.hparams or {},
            segment.name,
            changes_settings=bool(segment.stages),
        )
        record = ConfigRecord.of(recorded.model_dump(), segment.overrides)
        record_start(config.seed, record, hardware, inputs, context)
        try:
            with launched_ranks(config, hardware, context):
                training = build_training(config, inputs, context, hardware)
                _fit(training, context, training.checkpoints.pause_at_step)
            if training.checkpoints.finished:
                hashes = inputs.rows.hashes
                write_metrics(directory, training, rows=hashes)
        except BaseException as error:
            record_end(directory, error)
            raise
    return training


def _fit(training: Training, context: RunContext, end: int | None) -> None:
    """Train on; where the segment ends the run pauses, which is no interruption."""
    try:
        fit(training, context)
    except Interrupted:
        if end is None or training.trainer.global_step < end:
            if end is not None and training.checkpoints.validated_step >= end:
                return  # this was done before: its result was lost with a worker
            raise
        runs.write_status(context.directory, state="paused", step=training.trainer.global_step)


def _checked(segment: Segment, warm: InputCache) -> Result:
    """Read the rows and the model of the study's own config; say what they are, what decides."""
    config = typed(segment.config)
    with _ready(config, warm) as (_, inputs):
        rows = {name: len(rows) for name, rows in inputs.rows.splits.items()}
        read = {"rows": inputs.rows.fingerprint, "model": fingerprint(inputs.model)}
    metric, mode = monitor_of(config, task_class(config))
    return result_of(segment, "done", metric=metric, mode=mode, rows=rows, inputs=read)


def _measured(segment: Segment, warm: InputCache) -> Result:
    """Train a few steps of a config, to say what its trainings will take."""
    config = typed(segment.config)
    with _ready(config, warm) as (hardware, inputs):
        cost = measure(config, inputs, hardware, Path(segment.directory))
    gpu = gpu_memory()
    peaks = {"memory": peak_memory(), "gpu_memory": gpu.peak if gpu is not None else 0}
    return result_of(segment, "done", cost=cost.model_copy(update=peaks))


def _saved(segment: Segment, warm: InputCache) -> Result:
    """Save the best weights of a finished trial as a model; "test" scores its test split too."""
    config = typed({**segment.config, "test": segment.kind == "test"})
    directory = Path(segment.directory)
    hardware = choose_hardware(config)
    with torch_settings(hardware, config.trainer.deterministic):
        inputs = load_inputs(config)
        checkpoint = checkpoint_io.newest_intact(directory / "checkpoints", log.warning)
        context = RunContext(directory, True, checkpoint, {})
        with runs.lock(directory), runs.setup_log(directory):
            training = build_training(config, inputs, context, hardware)
            scores = finalize(config, inputs, context, hardware, training)
    return result_of(segment, "done", scores=scores)


def _result(segment: Segment, hardware: Hardware, inputs: RunInputs, training: Training) -> Result:
    checkpoints = training.checkpoints
    history = [Validation.model_validate(entry) for entry in checkpoints.history]
    total = training.module.total_steps
    end = step_at_fraction(segment.until, total)
    failure = _failure(history, training, inputs) if segment.until >= 1 else None
    if checkpoints.best is None:
        failure = NAN  # never a number: nothing can be best
    facts = {
        "score": _best_until(history, end, checkpoints.mode),
        "best_step": checkpoints.best_step,
        "scores": {k: v for k, v in checkpoints.best_scores.items() if math.isfinite(v)},
        "step": min(end, max((entry.step for entry in history), default=0)),
        "total_steps": total,
        "steps_per_epoch": training.data.steps_per_epoch,
        "history": history,
        "threads": hardware.threads,
        "precision": hardware.precision,
        "rows": {name: len(rows) for name, rows in inputs.rows.splits.items()},
    }
    state = "failed" if failure == NAN else "done"
    error = OF_NO_USE.get(failure or "")
    return result_of(segment, state, failure=failure, error=error, **facts)


def _best_until(history: Sequence[Validation], step: int, mode: str) -> float | None:
    """Return the best score up to a step, so that a rung is judged by what it had seen."""
    scores = [h.score for h in history if h.step <= step and h.score is not None]
    if not scores:
        return None
    return max(scores) if mode == "max" else min(scores)


def _failure(history: Sequence[Validation], training: Training, inputs: RunInputs) -> str | None:
    """Tell a training that ended without having learnt: one answer for every row.

    Collapse leaves the validation loss near that of an answer that reads nothing; divergence
    far above it.
    """
    task = training.module.task
    if not history or not history[-1].constant or not isinstance(task, ComparesWithGuessing):
        return None
    validation = training.module.rows["validation"]
    rows = validation.select(range(min(len(validation), GUESSED))).to_list()
    guessing = task.guessing_loss(inputs.rows.splits["train"], rows)
    if guessing is None:
        return COLLAPSE
    by_shares, by_no_idea = guessing
    loss = history[-1].loss
    if loss is None or loss > 1.5 * max(guessing):
        return DIVERGED
    return COLLAPSE if loss > 0.9 * min(by_shares, by_no_idea) else None


DO = {
    "train": _trained,
    "check": _checked,
    "measure": _measured,
    "test": _saved,
    "save": _saved,
}


def _saved_step(directory: Path) -> int:
    """Return the step from which a run that was stopped goes on; 0 where nothing is saved."""
    try:
        return int(checkpoint_io.read_manifest(directory / "checkpoints")["last.ckpt"]["step"])
    except (OSError, ValueError, KeyError):
        return 0


def _timed(result: Result, seconds: float) -> Result:
    facts = {"seconds": seconds, "memory": peak_memory()}
    if (gpu := gpu_memory()) is not None:
        facts |= {"gpu_memory": gpu.peak, "gpu_total": gpu.total}
    return result.changed(**facts)
