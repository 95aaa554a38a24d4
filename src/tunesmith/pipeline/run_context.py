"""Where a run writes and where it starts from, and what is recorded of it there."""

import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from tunesmith import runs
from tunesmith.config import config_diff, config_hash, read_saved_config, redact_config
from tunesmith.errors import ConfigError, Interrupted, ModelError, TunesmithError
from tunesmith.pipeline.inputs import RunInputs
from tunesmith.runtime import environment
from tunesmith.training import checkpoint_io, distributed
from tunesmith.training.hardware import Hardware
from tunesmith.training.signals import exit_on_sigterm

log = logging.getLogger(__name__)

# What the saved config says more exactly than the composed one.
FILLED_IN = (
    ("data", "labels"),
    ("data", "max_length"),
    ("trainer", "precision"),
    ("trainer", "num_threads"),
)


@dataclass(frozen=True)
class RunContext:
    """Where a run writes and where it starts from."""

    directory: Path
    resumed: bool
    checkpoint: Path | None  # full training state to go on from
    hparams: Mapping[str, Any] | None = None  # of its HPARAMS row; None: the whole config
    group: str = ""  # runs of one group share a row

    @property
    def continues_own(self) -> bool:
        """Tell whether the checkpoint is this run's own, not one that it starts from."""
        own = self.directory / "checkpoints"
        return self.checkpoint is not None and self.checkpoint.parent.absolute() == own.absolute()


# The run directory


def resolve_resume(config: DictConfig, overrides: list[str]) -> tuple[DictConfig, Path | None]:
    """Find the run to go on with and check that it is the same run."""
    if config.resume is None:
        return config, None
    if config.resume == "auto":
        return config, runs.unfinished(Path(config.paths.runs), config_hash(config))
    directory = runs.resolve(Path(config.resume))
    saved = OmegaConf.create(read_saved_config(directory / "config.yaml", trust=config.trust))
    if not [
        o
        for o in overrides
        if not o.startswith(("resume=", "trust=", "paths.", "trainer.pause_at_step="))
    ]:
        saved.resume, saved.trainer.pause_at_step = config.resume, config.trainer.pause_at_step
        saved.paths = config.paths
        return saved, directory
    if runs.read_status(directory).get("identity") != config_hash(config):
        for group, key in FILLED_IN:
            saved[group][key] = config[group][key]
        differ = "; ".join(config_diff(saved, config)[:3])
        raise ConfigError("RESUME-CONFIG", f"resume={config.resume}", f"another config: {differ}")
    return config, directory


def open_context(config: DictConfig, directory: Path | None) -> RunContext:
    """Make the run's directory, or open the one to go on in."""
    if directory is not None:
        checkpoint = checkpoint_io.newest_intact(directory / "checkpoints", log.warning)
        # Stopped before its first checkpoint: it starts where it was to start.
        return RunContext(directory, True, checkpoint or _named_checkpoint(config))
    checkpoint = _named_checkpoint(config)
    home = Path(config.paths.runs)
    if not distributed.is_launched():
        return RunContext(runs.create(home, config.name), False, checkpoint)
    directory = runs.shared_directory(home, config.name)
    if distributed.rank() == 0:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    return RunContext(directory, False, checkpoint)


def _named_checkpoint(config: DictConfig) -> Path | None:
    """Resolve ckpt_path: best or last of the newest run of this name, a run, or a file."""
    named = config.ckpt_path
    if named is None:
        return None
    if "://" in named:
        raise ConfigError("CKPT-URL", f"ckpt_path={named}", "a checkpoint is a local file")
    if named in ("best", "last"):
        paths = sorted((Path(config.paths.runs) / config.name).glob(f"*/checkpoints/{named}.ckpt"))
        if not paths:
            raise ModelError(
                "CKPT-404", f"ckpt_path={named}", f"no run below {config.paths.runs}/{config.name}"
            )
        path = paths[-1]
    else:
        path = Path(named) / "checkpoints/last.ckpt" if Path(named).is_dir() else Path(named)
    if not path.is_file():
        raise ModelError("CKPT-404", f"ckpt_path={named}", "no such file")
    if (path.parent / checkpoint_io.MANIFEST).exists() and not checkpoint_io.is_intact(path):
        raise ModelError("CKPT-CORRUPT", str(path), "does not match its recorded SHA-256")
    return path


@contextmanager
def recording(
    config: DictConfig,
    overrides: Sequence[str],
    hardware: Hardware,
    inputs: RunInputs,
    context: RunContext,
) -> Iterator[None]:
    """Lock the run's directory and record what runs in it, and how it ended; rank 0 alone does."""
    with ExitStack() as stack:
        if distributed.rank() == 0:
            stack.enter_context(runs.lock(context.directory))
            stack.enter_context(exit_on_sigterm(lambda: record_sigterm(context.directory)))
            stack.enter_context(runs.setup_log(context.directory))
            record_start(config, overrides, hardware, inputs, context)
        try:
            yield
        except BaseException as error:
            record_end(context.directory, error)
            raise


def record_start(
    config: DictConfig,
    overrides: Sequence[str],
    hardware: Hardware,
    inputs: RunInputs,
    context: RunContext,
) -> None:
    """Record what runs, before it runs."""
    now = environment.describe(
        precision=hardware.precision,
        threads=hardware.threads,
        processes=hardware.processes,
        seed=config.seed,
    )
    path = context.directory / "environment.json"
    if context.resumed and path.exists():
        changed = environment.differences(json.loads(path.read_text()), now)
        if changed:
            log.warning("bit-exact not promised: %s", "; ".join(changed))
    else:
        runs.write_json(path, now)
        saved = _saved_config(config, hardware, inputs)
        runs.write_text(context.directory / "config.yaml", saved)
        shown = [environment.redact_text(override) for override in overrides]
        runs.write_text(context.directory / "overrides.yaml", OmegaConf.to_yaml(shown))
    step = "the start" if context.checkpoint is None else context.checkpoint.name
    if context.resumed:
        log.info("going on with %s from %s", context.directory, step)
    # A resumed run keeps its hash: its saved config is filled in, and would have another.
    identity = {} if context.resumed else {"identity": config_hash(config)}
    runs.write_status(context.directory, state="running", started=time.time(), **identity)


def _saved_config(config: DictConfig, hardware: Hardware, inputs: RunInputs) -> str:
    """Return the config with what the data and the machine decided, enough to rebuild the run."""
    plain = redact_config(config)
    plain["data"]["labels"] = inputs.rows.labels
    plain["data"]["max_length"] = inputs.max_length
    plain["trainer"] |= {"precision": hardware.precision, "num_threads": hardware.threads}
    return OmegaConf.to_yaml(OmegaConf.create(plain))


def record_end(directory: Path, error: BaseException) -> None:
    state = "interrupted" if isinstance(error, Interrupted | KeyboardInterrupt) else "failed"
    line = str(error) if isinstance(error, TunesmithError) else f"{type(error).__name__}: {error}"
    runs.write_status(directory, state=state, error=None if state == "interrupted" else line)
    if isinstance(error, Interrupted):
        log.warning("stopped between two steps; go on with resume=%s", directory)


def record_sigterm(directory: Path) -> None:
    if not runs.is_finished(directory):
        record_end(directory, Interrupted())
