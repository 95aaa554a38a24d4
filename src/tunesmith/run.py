"""The whole program: config -> rows -> model -> task -> trainer -> scores and a model on disk."""

import json
import logging
import math
import sys
import time
import warnings
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightning as L
from omegaconf import DictConfig, OmegaConf

from tunesmith import config, environment, rundir
from tunesmith.build import (
    Parts,
    build_data,
    build_module,
    build_task,
    build_trainer,
    check_plan,
    prepare,
)
from tunesmith.data.module import DataModule
from tunesmith.errors import ConfigError, Interrupted, ModelError, TunesmithError, raise_all
from tunesmith.models.encoder import save
from tunesmith.training import launch, storage
from tunesmith.training.checkpoints import Checkpoints, Stopped
from tunesmith.training.machine import Machine, choose, settled
from tunesmith.training.module import Module
from tunesmith.training.signals import StopOnSignal, leaving

log = logging.getLogger(__name__)

# What the saved config says more exactly than the composed one.
FILLED_IN = (
    ("data", "labels"),
    ("data", "max_length"),
    ("trainer", "precision"),
    ("trainer", "threads"),
)


@dataclass(frozen=True)
class Place:
    """Where a run writes and where it starts from."""

    directory: Path
    resumed: bool
    checkpoint: Path | None  # full training state to go on from
    hparams: Mapping[str, Any] | None = None  # of its HPARAMS row; None: the whole config
    group: str = ""  # runs of one group share a row

    @property
    def goes_on(self) -> bool:
        """Tell whether the checkpoint is this run's own, not one that it starts from."""
        own = self.directory / "checkpoints"
        return self.checkpoint is not None and self.checkpoint.parent.absolute() == own.absolute()


@dataclass(frozen=True)
class Training:
    """A run put together: everything is loaded, no step is taken."""

    trainer: L.Trainer
    module: Module
    data: DataModule
    checkpoints: Checkpoints
    fixed: list[Any]  # modules that stay in eval mode


@dataclass(frozen=True)
class Trained:
    """A run at the end of its training: all that is needed to finish it."""

    cfg: DictConfig
    machine: Machine
    parts: Parts
    place: Place
    module: Module
    checkpoints: Checkpoints


def run(cfg: DictConfig) -> float | None:
    """Train, test and save, as the config says; return the best monitored validation score."""
    overrides = _overrides()
    cfg, directory = _resumed(cfg, overrides)
    raise_all(config.check(cfg))
    if directory is not None and rundir.is_finished(directory):
        print(f"{directory} is already finished")
        return _recorded_score(directory)
    machine = choose_machine(cfg)
    rundir.check_writable(Path(cfg.paths.runs))
    with settled(machine, cfg.trainer.deterministic):
        parts = prepare(cfg)
        check_plan(cfg, parts, machine)
        place = _place(cfg, directory)
        return _run_in(cfg, overrides, machine, parts, place)


def choose_machine(cfg: DictConfig) -> Machine:
    """Settle device, precision and threads by the `trainer` group."""
    names = ("accelerator", "devices", "num_nodes", "strategy", "precision", "threads")
    return choose(**{name: cfg.trainer[name] for name in names})


def _run_in(
    cfg: DictConfig, overrides: list[str], machine: Machine, parts: Parts, place: Place
) -> float | None:
    directory = place.directory
    with ExitStack() as stack:
        if launch.rank() == 0:
            stack.enter_context(rundir.lock(directory))
            stack.enter_context(leaving(lambda: _leave(directory)))
            stack.enter_context(rundir.setup_log(directory))
            write_down(cfg, overrides, machine, parts, place)
        try:
            with ranks(cfg, overrides, machine, place):
                module, checkpoints = train(cfg, machine, parts, place)
            if launch.rank() != 0:
                return None
            scores = finish(Trained(cfg, machine, parts, place, module, checkpoints))
            rundir.print_summary(rundir.read_json(directory / "metrics.json"), directory)
        except BaseException as error:
            record_end(directory, error)
            raise
    return scores[checkpoints.monitor]


# Training


def train(
    cfg: DictConfig, machine: Machine, parts: Parts, place: Place
) -> tuple[Module, Checkpoints]:
    """Fit from the start or from a checkpoint; return at the end of training."""
    training = assemble(cfg, machine, parts, place)
    fit(training, place)
    return training.module, training.checkpoints


def assemble(cfg: DictConfig, machine: Machine, parts: Parts, place: Place) -> Training:
    """Load the weights and put the run together; read the checkpoint that it goes on from."""
    task, adaptation = build_task(cfg, parts)
    data = build_data(cfg, parts, task, machine)
    module = build_module(cfg, parts, task, adaptation, data.steps_per_epoch, machine)
    state = storage.read(place.checkpoint) if place.checkpoint is not None else None
    trainer = build_trainer(
        cfg,
        machine,
        place.directory,
        module,
        data,
        resumed_step=_resumed_step(place, state),
        hparams=place.hparams,
        group=place.group,
    )
    checkpoints = next(c for c in trainer.callbacks if isinstance(c, Checkpoints))  # type: ignore[attr-defined]
    if state is not None:
        _take_over(checkpoints, state, place, module, data.train_rows)
    return Training(trainer, module, data, checkpoints, adaptation.fixed)


def _resumed_step(place: Place, state: Mapping[str, Any] | None) -> int | None:
    """Return the step after which everything is logged anew; None in a new directory."""
    if state is not None:
        return int(state["global_step"])
    return 0 if place.resumed else None  # killed before its first checkpoint: from the start again


def fit(training: Training, place: Place) -> None:
    """Train to the end; raises Interrupted where it stops before, between two steps."""
    trainer, module = training.trainer, training.module
    if training.checkpoints.finished:
        return
    module.task.train()
    for fixed in training.fixed:
        fixed.eval()
    signals = StopOnSignal(lambda: setattr(module, "stop_requested", True))
    trainer.callbacks.append(signals)  # type: ignore[attr-defined]
    checkpoint = str(place.checkpoint) if place.checkpoint else None
    with signals, suppress(Stopped):
        trainer.fit(module, datamodule=training.data, ckpt_path=checkpoint)


def _take_over(
    checkpoints: Checkpoints, state: Mapping[str, Any], place: Place, module: Module, rows: str
) -> None:
    """Read what the checkpoint says of the run; a new run starts its own record of the best.

    `rows` names the rows that this run trains on: a checkpoint of others is refused.
    """
    where = str(place.checkpoint)
    known = next((v for k, v in state["callbacks"].items() if k.startswith("Checkpoints")), None)
    if known is None:
        raise ModelError("CKPT-CORRUPT", where, "not a checkpoint of a run")
    own = {name: value.shape for name, value in module.state_dict().items()}
    if own != {name: getattr(value, "shape", None) for name, value in state["state_dict"].items()}:
        raise ModelError("CKPT-MODEL", where, "is of another model")
    if state.get("rows", rows) != rows:
        what = "the train rows are not those it saw"
        raise ModelError("RESUME-DATA", where, what, f"model.path={where} takes its weights alone")
    if place.goes_on:
        checkpoints.load_state_dict(known)
        return
    checkpoints.starts_anew = module.starts_anew = True
    module.check_optimizer(state, where)
    if state["global_step"] >= module.total_steps:
        raise ConfigError(
            "TRAIN-0",
            f"ckpt_path={place.checkpoint}",
            f"is at step {state['global_step']}, this run ends at {module.total_steps}",
            "raise trainer.max_epochs",
        )


def ranks(cfg: DictConfig, overrides: list[str], machine: Machine, place: Place) -> Any:
    """Start the other processes of this machine, unless something else has."""
    if machine.devices == 1 or launch.is_launched():
        return ExitStack()
    payload = {
        "config": OmegaConf.to_container(cfg, resolve=True),
        "overrides": overrides,
        "directory": str(place.directory),
        "resumed": place.resumed,
        "checkpoint": str(place.checkpoint) if place.checkpoint else None,
        "path": sys.path,
    }
    # -P: a torch.py where one stands must not be imported; this process's own path is told.
    command = [sys.executable, "-P", "-c", "from tunesmith.run import other_rank; other_rank()"]
    return launch.other_ranks(machine.devices, command, json.dumps(payload))


def other_rank() -> None:
    """Run as a further process of a run, told by standard input what the first one decided."""
    told = json.load(sys.stdin)
    sys.path[:] = told["path"]  # so that the user's own code is found where the first found it
    cfg = OmegaConf.create(told["config"])
    machine = choose_machine(cfg)
    checkpoint = Path(told["checkpoint"]) if told["checkpoint"] else None
    place = Place(Path(told["directory"]), told["resumed"], checkpoint)
    logging.disable(logging.WARNING)  # the first process says it
    with settled(machine, cfg.trainer.deterministic):
        try:
            train(cfg, machine, prepare(cfg), place)
        except Interrupted:
            raise SystemExit(75) from None


# The end


def finish(trained: Trained) -> dict[str, float]:
    """Take the best weights, save the model, test it, and write metrics.json last."""
    directory, parts = trained.place.directory, trained.parts
    module, checkpoints = trained.module, trained.checkpoints
    best = directory / "checkpoints" / "best.ckpt"
    if checkpoints.best_step is None:
        raise ModelError("TRAIN-BEST", checkpoints.monitor, "was never a number: nothing is best")
    module.load_state_dict(storage.read(best)["state_dict"])
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
            rows = splits[split].to_list()
            answers = task.trivial(splits["train"], rows)
            with warnings.catch_warnings():  # a constant has no correlation: that is the point
                warnings.simplefilter("ignore")
                reached = task.score(answers, rows) if answers else {}
            found |= {f"{prefix}/{name}": value for name, value in reached.items()}
    return found


def _warn_if_nothing_was_learnt(checkpoints: Checkpoints, baseline: Mapping[str, float]) -> None:
    best, trivial = checkpoints.best, baseline.get(checkpoints.monitor, math.nan)
    if best is not None and (best <= trivial if checkpoints.mode == "max" else best >= trivial):
        what = "%s %.4f is no better than the answer that reads nothing (%.4f)"
        log.warning(what, checkpoints.monitor, best, trivial)


def write_metrics(
    directory: Path,
    module: Module,
    checkpoints: Checkpoints,
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
    rundir.write_status(directory, state="finished", step=checkpoints.saved_steps["last.ckpt"])
    rundir.write_json(directory / "metrics.json", record)


def _test(trained: Trained) -> dict[str, float]:
    cfg, parts = trained.cfg, trained.parts
    module, checkpoints = trained.module, trained.checkpoints
    single = replace(trained.machine, devices=1, num_nodes=1, strategy="auto")
    data = build_data(cfg, parts, module.task, single)
    tester = build_trainer(
        cfg,
        single,
        trained.place.directory,
        module,
        data,
        resumed_step=checkpoints.saved_steps["last.ckpt"],
    )
    tester.test(module, datamodule=data, verbose=False)
    module.write(module.scores, checkpoints.best_step or 0)
    for logger in tester.loggers:
        logger.finalize("success")
    uses = rundir.count_test_use(Path(cfg.paths.runs), parts.rows.hashes["test"])
    if uses > 1:
        log.warning("test set used %d times: the best of many looks is lucky", uses)
    rundir.write_status(trained.place.directory, state="running", test_uses=uses)
    return dict(module.scores)


def save_model(module: Module, folder: Path) -> None:
    """Write the weights for plain transformers, and what else the task has learnt beside them."""
    extra = {k: v for k, v in module.task.state_dict().items() if not k.startswith("model.")}
    save(module.task.model, module.task.tokenizer, folder, labels=module.task.labels, extra=extra)


# The run directory


def _resumed(cfg: DictConfig, overrides: list[str]) -> tuple[DictConfig, Path | None]:
    """Find the run to go on with and check that it is the same run."""
    if cfg.resume is None:
        return cfg, None
    if cfg.resume == "auto":
        return cfg, rundir.unfinished(Path(cfg.paths.runs), config.identity(cfg))
    directory = rundir.resolve(Path(cfg.resume))
    stored = OmegaConf.create(config.read_stored(directory / "config.yaml", trust=cfg.trust))
    if not [
        o for o in overrides if not o.startswith(("resume=", "trust=", "paths.", "trainer.stop_at"))
    ]:
        stored.resume, stored.trainer.stop_at_step = cfg.resume, cfg.trainer.stop_at_step
        stored.paths = cfg.paths
        return stored, directory
    if rundir.read_status(directory).get("identity") != config.identity(cfg):
        for group, key in FILLED_IN:
            stored[group][key] = cfg[group][key]
        differ = "; ".join(config.differences(stored, cfg)[:3])
        raise ConfigError("RESUME-CONFIG", f"resume={cfg.resume}", f"another config: {differ}")
    return cfg, directory


def _place(cfg: DictConfig, directory: Path | None) -> Place:
    if directory is not None:
        checkpoint = storage.newest_intact(directory / "checkpoints", log.warning)
        # Stopped before its first checkpoint: it starts where it was to start.
        return Place(directory, True, checkpoint or _named_checkpoint(cfg))
    checkpoint = _named_checkpoint(cfg)
    if launch.is_launched() and launch.rank() != 0:
        return Place(rundir.shared_directory(Path(cfg.paths.runs), cfg.name), False, checkpoint)
    if launch.is_launched():
        made = rundir.shared_directory(Path(cfg.paths.runs), cfg.name)
        made.mkdir(parents=True, exist_ok=True, mode=0o700)
        return Place(made, False, checkpoint)
    return Place(rundir.create(Path(cfg.paths.runs), cfg.name), False, checkpoint)


def _named_checkpoint(cfg: DictConfig) -> Path | None:
    """Resolve ckpt_path: best or last of the newest run of this name, a run, or a file."""
    named = cfg.ckpt_path
    if named is None:
        return None
    if "://" in named:
        raise ConfigError("CKPT-URL", f"ckpt_path={named}", "a checkpoint is a local file")
    if named in ("best", "last"):
        runs = sorted((Path(cfg.paths.runs) / cfg.name).glob(f"*/checkpoints/{named}.ckpt"))
        if not runs:
            raise ModelError(
                "CKPT-404", f"ckpt_path={named}", f"no run below {cfg.paths.runs}/{cfg.name}"
            )
        path = runs[-1]
    else:
        path = Path(named) / "checkpoints/last.ckpt" if Path(named).is_dir() else Path(named)
    if not path.is_file():
        raise ModelError("CKPT-404", f"ckpt_path={named}", "no such file")
    if (path.parent / storage.MANIFEST).exists() and not storage.is_intact(path):
        raise ModelError("CKPT-CORRUPT", str(path), "does not match its recorded SHA-256")
    return path


def write_down(
    cfg: DictConfig, overrides: list[str], machine: Machine, parts: Parts, place: Place
) -> None:
    """Record what runs, before it runs."""
    now = environment.describe(
        precision=machine.precision,
        threads=machine.threads,
        processes=machine.processes,
        seed=cfg.seed,
    )
    path = place.directory / "environment.json"
    if place.resumed and path.exists():
        changed = environment.differences(json.loads(path.read_text()), now)
        if changed:
            log.warning("bit-exact not promised: %s", "; ".join(changed))
    else:
        rundir.write_json(path, now)
        rundir.write_text(place.directory / "config.yaml", _saved_config(cfg, machine, parts))
        shown = [environment.redact_text(override) for override in overrides]
        rundir.write_text(place.directory / "overrides.yaml", OmegaConf.to_yaml(shown))
    step = "the start" if place.checkpoint is None else place.checkpoint.name
    if place.resumed:
        log.info("going on with %s from %s", place.directory, step)
    # A resumed run keeps its identity: its stored config is filled in, and would hash to another.
    identity = {} if place.resumed else {"identity": config.identity(cfg)}
    rundir.write_status(place.directory, state="running", started=time.time(), **identity)


def _saved_config(cfg: DictConfig, machine: Machine, parts: Parts) -> str:
    """Return the config with what the data and the machine decided, enough to rebuild the run."""
    plain = config.redacted(cfg)
    plain["data"]["labels"] = parts.rows.labels
    plain["data"]["max_length"] = parts.max_length
    plain["trainer"] |= {"precision": machine.precision, "threads": machine.threads}
    return OmegaConf.to_yaml(OmegaConf.create(plain))


def record_end(directory: Path, error: BaseException) -> None:
    state = "interrupted" if isinstance(error, Interrupted | KeyboardInterrupt) else "failed"
    line = str(error) if isinstance(error, TunesmithError) else f"{type(error).__name__}: {error}"
    rundir.write_status(directory, state=state, error=None if state == "interrupted" else line)
    if isinstance(error, Interrupted):
        log.warning("stopped between two steps; go on with resume=%s", directory)


def _leave(directory: Path) -> None:
    if not rundir.is_finished(directory):
        record_end(directory, Interrupted())


def _recorded_score(directory: Path) -> float | None:
    return json.loads((directory / "metrics.json").read_text())["best"]


def _overrides() -> list[str]:
    from hydra.core.hydra_config import HydraConfig

    if not HydraConfig.initialized():
        return []
    # As typed: reading them would resolve ${oc.env:TOKEN}, and they are written down.
    return list(OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False))  # type: ignore[arg-type]
