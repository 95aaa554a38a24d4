"""Where a run writes and where it starts from, and what is recorded of it there."""

import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from tunesmith import runs
from tunesmith.config import (
    config_diff,
    config_hash,
    read_run_config,
    redact_config,
    refuse_masked,
)
from tunesmith.config.hydra_internals import plain_yaml
from tunesmith.config.interpolation import Config, leaves
from tunesmith.config.run_config import RunConfig
from tunesmith.errors import INTERRUPTED, ConfigError, Interrupted, ModelError, TunesmithError
from tunesmith.pipeline.inputs import RunInputs
from tunesmith.runtime import environment
from tunesmith.runtime.mask_secrets import mask_text
from tunesmith.runtime.processes import exit_on_sigterm
from tunesmith.training import checkpoint_io, distributed
from tunesmith.training.hardware import Hardware
from tunesmith.training.tracking import loggers_in_run

log = logging.getLogger(__name__)

KEEP = "callbacks.checkpoint.keep=all keeps them"

# What the saved config says more exactly than the composed one.
FILLED_IN = (
    ("data", "label_from"),
    ("data", "max_length"),
    ("trainer", "precision"),
    ("trainer", "num_threads"),
)
NO_HPARAMS = {"paths", "logger", "callbacks", "resume", "ckpt_path", "trust"}


@dataclass(frozen=True)
class RunContext:
    """Where a run writes and where it starts from."""

    directory: Path
    resumed: bool
    checkpoint: Path | None  # full training state to go on from
    hparams: Mapping[str, Any] = field(default_factory=dict)  # of its HPARAMS row in TensorBoard
    group: str = ""  # runs of one group share a row
    changes_settings: bool = False  # its checkpoint may be of other rates than its config has

    @property
    def continues_own(self) -> bool:
        """Tell whether the checkpoint is this run's own, not one that it starts from."""
        own = self.directory / "checkpoints"
        return self.checkpoint is not None and self.checkpoint.parent.absolute() == own.absolute()


@dataclass(frozen=True)
class ConfigRecord:
    """What is written down of a config: secrets are masked."""

    redacted: Mapping[str, Any]
    config_hash: str
    overrides: Sequence[str]

    @classmethod
    def of(cls, composed: Config, overrides: Sequence[str]) -> "ConfigRecord":
        shown = [mask_text(override) for override in overrides]
        return cls(redact_config(composed), config_hash(composed), shown)

    @property
    def hparams(self) -> dict[str, Any]:
        """What the hyperparameters' table shows: dotted names, without what belongs elsewhere."""
        return {
            path: value
            for path, value in leaves(dict(self.redacted))
            if value != {} and NO_HPARAMS.isdisjoint(path.split("."))
        }


# The run directory


def resolve_resume(composed: DictConfig, overrides: list[str]) -> tuple[DictConfig, Path | None]:
    """Find the run to go on with and check that it is the same run."""
    if composed.resume is None:
        return composed, None
    if composed.resume == "auto":
        return composed, _newest_unfinished(composed)
    directory = runs.resolve(Path(composed.resume))
    runs.check_format(directory)
    saved = OmegaConf.create(read_run_config(directory, composed.trust))
    free = ("resume=", "trust=", "paths.", "trainer.pause_at_step=")
    own_loggers = [text for text in overrides if text.lstrip("+~").startswith("logger")]
    if not [text for text in overrides if not text.startswith(free) and text not in own_loggers]:
        saved.logger = composed.logger if own_loggers else _loggers_of(saved, directory)
        values: Any = OmegaConf.to_container(saved)
        fix = "repeat its own command, with this resume"
        refuse_masked(values, f"resume={directory}", fix)
        saved.resume, saved.trainer.pause_at_step = composed.resume, composed.trainer.pause_at_step
        saved.paths = composed.paths
        return saved, directory
    if runs.read_status(directory).get("identity") != config_hash(composed):
        message = f"another config: {_differing(saved, composed)}"
        raise ConfigError("RESUME-CONFIG", f"resume={composed.resume}", message)
    return composed, directory


def _loggers_of(saved: DictConfig, directory: Path) -> dict[str, Any]:
    """Return a run's loggers that write into its directory; a stranger's send nothing elsewhere."""
    kept, strange = loggers_in_run(saved.logger)
    if strange:
        what = "%s: a stored run does not say where to log: without %s; logger=%s takes it"
        log.warning(what, directory, ", ".join(strange), strange[0])
    return kept


def _newest_unfinished(composed: DictConfig) -> Path | None:
    """Return the run that resume=auto goes on with; say why where it begins a new one."""
    home, identity = Path(composed.paths.runs), config_hash(composed)
    found = runs.unfinished(home, identity)
    if found is None:
        folder = home / composed.name
        newest = [run for run in runs.find(folder) if not runs.is_finished(run)][-1:]
        why = _why_another(newest[0], composed) if newest else f"{folder} has no unfinished one"
        level = logging.WARNING if newest else logging.INFO
        log.log(level, "resume=auto begins a new run: %s", why)
    return found


def _why_another(newest: Path, composed: DictConfig) -> str:
    """Say why the newest unfinished run is not the one that the command asks for."""
    try:
        runs.check_format(newest)
        saved = OmegaConf.create(read_run_config(newest, composed.trust))
    except TunesmithError as error:
        return f"{newest}: {error.what}"
    return f"{newest} has another config: {_differing(saved, composed)}"


def _differing(saved: DictConfig, composed: DictConfig) -> str:
    """Name the first keys that two configs differ in, but for what a run fills in."""
    for group, key in FILLED_IN:
        saved[group][key] = composed[group][key]
    return "; ".join(config_diff(saved, composed)[:3])


def open_context(
    config: RunConfig, hparams: Mapping[str, Any], directory: Path | None
) -> RunContext:
    """Make the run's directory, or open the one to go on in."""
    if directory is not None:
        checkpoint = checkpoint_io.newest_intact(directory / "checkpoints", log.warning)
        # Stopped before its first checkpoint: it starts where it was to start.
        return RunContext(directory, True, checkpoint or _named_checkpoint(config), hparams)
    checkpoint = _named_checkpoint(config)
    home = Path(config.paths.runs)
    if not distributed.is_launched():
        return RunContext(runs.create(home, config.name), False, checkpoint, hparams)
    directory = runs.shared_directory(home, config.name)
    if distributed.rank() == 0:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    return RunContext(directory, False, checkpoint, hparams)


def _named_checkpoint(config: RunConfig) -> Path | None:
    """Resolve ckpt_path: best or last of the newest run of this name, a run, or a file."""
    named = config.ckpt_path
    if named is None:
        return None
    if "://" in named:
        raise ConfigError("CKPT-URL", f"ckpt_path={named}", "a checkpoint is a local file")
    if named in ("best", "last"):
        paths = sorted((Path(config.paths.runs) / config.name).glob(f"*/checkpoints/{named}.ckpt"))
        if not paths:
            what = f"no run below {config.paths.runs}/{config.name} has one"
            raise ModelError("CKPT-404", f"ckpt_path={named}", what, KEEP)
        path = paths[-1]
    else:
        path = Path(named) / "checkpoints/last.ckpt" if Path(named).is_dir() else Path(named)
    if not path.is_file():
        fix = KEEP if Path(named).is_dir() else ""
        raise ModelError("CKPT-404", f"ckpt_path={named}", "no such file", fix)
    if (path.parent / checkpoint_io.MANIFEST).exists() and not checkpoint_io.is_intact(path):
        raise ModelError("CKPT-CORRUPT", str(path), "does not match its recorded SHA-256")
    return path


@contextmanager
def recording(
    seed: int,
    record: ConfigRecord,
    hardware: Hardware,
    inputs: RunInputs,
    context: RunContext,
) -> Iterator[None]:
    """Lock the run's directory and record what runs in it, and how it ended; rank 0 alone does."""
    with ExitStack() as stack:
        if distributed.rank() == 0:
            stack.enter_context(runs.lock(context.directory))
            stopped = partial(record_sigterm, context.directory)
            stack.enter_context(exit_on_sigterm(INTERRUPTED, stopped))
            stack.enter_context(runs.setup_log(context.directory))
            record_start(seed, record, hardware, inputs, context)
        try:
            yield
        except BaseException as error:
            record_end(context.directory, error)
            raise


def record_start(
    seed: int,
    record: ConfigRecord,
    hardware: Hardware,
    inputs: RunInputs,
    context: RunContext,
) -> None:
    """Record what runs, before it runs."""
    now = environment.describe(
        precision=hardware.precision,
        threads=hardware.threads,
        processes=hardware.processes,
        seed=seed,
    )
    path = context.directory / "environment.json"
    if context.resumed and path.exists():
        changed = environment.differences(json.loads(path.read_text()), now)
        if changed:
            log.warning("bit-exact not promised: %s", "; ".join(changed))
    else:
        # status.json follows: its writing waits for the names of all of them.
        runs.write_json(path, {"format": runs.FORMAT, **now}, syncs_folder=False)
        saved = _saved_config(record.redacted, hardware, inputs)
        runs.write_text(context.directory / "config.yaml", saved, syncs_folder=False)
        overrides = plain_yaml(list(record.overrides))
        runs.write_text(context.directory / "overrides.yaml", overrides, syncs_folder=False)
    step = "the start" if context.checkpoint is None else context.checkpoint.name
    for line in _facts_of_rows(inputs):
        log.info("%s", line)
    if context.resumed:
        log.info("going on with %s from %s", context.directory, step)
    # A resumed run keeps its hash: its saved config is filled in, and would have another.
    identity: dict[str, Any] = {} if context.resumed else {"identity": record.config_hash}
    runs.write_status(context.directory, state="running", started=time.time(), **identity)


def _facts_of_rows(inputs: RunInputs) -> Iterator[str]:
    """Yield what was read, for the log of the run: it is open only now."""
    rows = inputs.rows
    yield "rows: " + ", ".join(f"{split} {len(part)}" for split, part in rows.splits.items())
    if rows.labels is not None:
        more = ", …" if len(rows.labels) > 20 else ""
        yield f"{len(rows.labels)} labels: {', '.join(rows.labels[:20])}{more}"
    yield from rows.notes


def _saved_config(redacted: Mapping[str, Any], hardware: Hardware, inputs: RunInputs) -> str:
    """Return the config with what the data and the machine decided, enough to rebuild the run."""
    data = {**redacted["data"], "max_length": inputs.max_length}
    if inputs.rows.label_from is not None:
        data["label_from"] = inputs.rows.label_from
    machine = {"precision": hardware.precision, "num_threads": hardware.threads}
    trainer = {**redacted["trainer"], **machine}
    return plain_yaml({**redacted, "data": data, "trainer": trainer})


def record_end(directory: Path, error: BaseException) -> None:
    state = "interrupted" if isinstance(error, Interrupted | KeyboardInterrupt) else "failed"
    line = str(error) if isinstance(error, TunesmithError) else f"{type(error).__name__}: {error}"
    runs.write_status(directory, state=state, error=None if state == "interrupted" else line)
    if isinstance(error, Interrupted):
        log.warning("stopped between two steps; go on with resume=%s", directory)


def record_sigterm(directory: Path) -> None:
    if not runs.is_finished(directory):
        record_end(directory, Interrupted())
