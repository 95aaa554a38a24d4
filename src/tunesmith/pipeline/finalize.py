"""The end of a run: the best weights, the model on disk, the test, the scores."""

import logging
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig

from tunesmith import runs
from tunesmith.data.prepare.media import without_files
from tunesmith.errors import ModelError
from tunesmith.models.encoder import save
from tunesmith.pipeline.components import Parts, build_data
from tunesmith.pipeline.run_context import Place
from tunesmith.training import checkpoint_io
from tunesmith.training.checkpoint_callback import CheckpointCallback
from tunesmith.training.evaluation import evaluate
from tunesmith.training.hardware import Hardware
from tunesmith.training.lightning_module import TaskModule, log_scalars

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trained:
    """A run at the end of its training: all that is needed to finish it."""

    cfg: DictConfig
    machine: Hardware
    parts: Parts
    place: Place
    module: TaskModule
    checkpoints: CheckpointCallback
    loggers: list[Logger]


def finish(trained: Trained) -> dict[str, float]:
    """Take the best weights, save the model, test it, and write metrics.json last."""
    directory, parts = trained.place.directory, trained.parts
    module, checkpoints = trained.module, trained.checkpoints
    best = directory / "checkpoints" / "best.ckpt"
    if checkpoints.best_step is None:
        raise ModelError("TRAIN-BEST", checkpoints.monitor, "was never a number: nothing is best")
    module.load_state_dict(checkpoint_io.read(best)["state_dict"])
    save_model(module, directory / "model")
    scores = dict(checkpoints.best_scores)
    if trained.cfg.test and "test" in parts.rows.splits and "test" not in parts.rows.hidden_labels:
        scores |= _test(trained)
    elif "test" in parts.rows.hidden_labels:
        log.warning("test has hidden labels (-1): predict only, not evaluate")
    baseline = _baseline(trained, scores)
    _warn_if_nothing_was_learnt(checkpoints, baseline)
    write_metrics(directory, module, checkpoints, scores, baseline, parts.rows.hashes)
    return scores


def _baseline(trained: Trained, scores: Mapping[str, float]) -> dict[str, float]:
    """Score the answers that need no reading, on the splits that were scored."""
    task, splits = trained.module.task, trained.parts.rows.splits
    found: dict[str, float] = {}
    for split, prefix in (("validation", "val"), ("test", "test")):
        if split in splits and f"{prefix}/{task.monitor}" in scores:
            rows = without_files(splits[split]).to_list()
            answers = task.trivial(splits["train"], rows)
            with warnings.catch_warnings():  # a constant has no correlation: that is the point
                warnings.simplefilter("ignore")
                reached = task.score(answers, rows) if answers else {}
            found |= {f"{prefix}/{name}": value for name, value in reached.items()}
    return found


def _warn_if_nothing_was_learnt(
    checkpoints: CheckpointCallback, baseline: Mapping[str, float]
) -> None:
    best, trivial = checkpoints.best, baseline.get(checkpoints.monitor, math.nan)
    if best is not None and (best <= trivial if checkpoints.mode == "max" else best >= trivial):
        what = "%s %.4f is no better than the answer that reads nothing (%.4f)"
        log.warning(what, checkpoints.monitor, best, trivial)


def write_metrics(
    directory: Path,
    module: TaskModule,
    checkpoints: CheckpointCallback,
    scores: Mapping[str, float] | None = None,
    baseline: Mapping[str, float] | None = None,
    rows: Mapping[str, str] | None = None,
) -> None:
    """Write metrics.json, which says that the run is complete; by default with no test scores.

    `baseline` is what the task's trivial answers score, `rows` the hash of each split's rows.
    """
    record = {
        "monitor": checkpoints.monitor,
        "mode": checkpoints.mode,
        "best": checkpoints.best,
        "best_step": checkpoints.best_step,
        "steps": module.total_steps,
        "scores": checkpoints.best_scores if scores is None else scores,
        "baseline": baseline or {},
        "rows": rows or {},
    }
    runs.write_status(directory, state="finished", step=checkpoints.saved_steps["last.ckpt"])
    runs.write_json(directory / "metrics.json", record)


def _test(trained: Trained) -> dict[str, float]:
    cfg, parts = trained.cfg, trained.parts
    module, checkpoints = trained.module, trained.checkpoints
    single = replace(trained.machine, devices=1, num_nodes=1, strategy="auto")
    data = build_data(cfg, parts, module.task, single)
    evaluation = evaluate(
        module.task,
        data.evaluation_loader("test"),
        data.encoded["test"],
        module.rows["test"],
        single,
        module.learnt_languages,
    )
    scores = evaluation.scores_of("test")
    log_scalars(trained.loggers, scores, checkpoints.best_step or 0)
    for logger in trained.loggers:
        logger.finalize("success")
    uses = runs.count_test_use(Path(cfg.paths.runs), parts.rows.hashes["test"])
    if uses > 1:
        log.warning("test set used %d times: the best of many looks is lucky", uses)
    runs.write_status(trained.place.directory, state="running", test_uses=uses)
    return scores


def save_model(module: TaskModule, folder: Path) -> None:
    """Write the weights for plain transformers, and what else the task has learnt beside them."""
    task = module.task
    extra = {k: v for k, v in task.state_dict().items() if not task.lies_apart(k)}
    besides = task.besides()
    save(task.model, task.tokenizer, folder, labels=task.labels, extra=extra, besides=besides)
