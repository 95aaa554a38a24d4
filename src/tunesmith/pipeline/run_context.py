"""Where a run writes and where it starts from, and what is recorded of it there."""

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from tunesmith import config, runs
from tunesmith.errors import ConfigError, Interrupted, ModelError, TunesmithError
from tunesmith.pipeline.components import Parts
from tunesmith.runtime import environment
from tunesmith.training import checkpoint_io, distributed
from tunesmith.training.hardware import Hardware

log = logging.getLogger(__name__)

# What the saved config says more exactly than the composed one.
FILLED_IN = (
    ("data", "labels"),
    ("data", "max_length"),
    ("trainer", "precision"),
    ("trainer", "num_threads"),
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


# The run directory


def resumed(cfg: DictConfig, overrides: list[str]) -> tuple[DictConfig, Path | None]:
    """Find the run to go on with and check that it is the same run."""
    if cfg.resume is None:
        return cfg, None
    if cfg.resume == "auto":
        return cfg, runs.unfinished(Path(cfg.paths.runs), config.config_hash(cfg))
    directory = runs.resolve(Path(cfg.resume))
    stored = OmegaConf.create(config.read_saved_config(directory / "config.yaml", trust=cfg.trust))
    if not [
        o
        for o in overrides
        if not o.startswith(("resume=", "trust=", "paths.", "trainer.pause_at_step="))
    ]:
        stored.resume, stored.trainer.pause_at_step = cfg.resume, cfg.trainer.pause_at_step
        stored.paths = cfg.paths
        return stored, directory
    if runs.read_status(directory).get("identity") != config.config_hash(cfg):
        for group, key in FILLED_IN:
            stored[group][key] = cfg[group][key]
        differ = "; ".join(config.config_diff(stored, cfg)[:3])
        raise ConfigError("RESUME-CONFIG", f"resume={cfg.resume}", f"another config: {differ}")
    return cfg, directory


def place_of(cfg: DictConfig, directory: Path | None) -> Place:
    if directory is not None:
        checkpoint = checkpoint_io.newest_intact(directory / "checkpoints", log.warning)
        # Stopped before its first checkpoint: it starts where it was to start.
        return Place(directory, True, checkpoint or _named_checkpoint(cfg))
    checkpoint = _named_checkpoint(cfg)
    if distributed.is_launched() and distributed.rank() != 0:
        return Place(runs.shared_directory(Path(cfg.paths.runs), cfg.name), False, checkpoint)
    if distributed.is_launched():
        made = runs.shared_directory(Path(cfg.paths.runs), cfg.name)
        made.mkdir(parents=True, exist_ok=True, mode=0o700)
        return Place(made, False, checkpoint)
    return Place(runs.create(Path(cfg.paths.runs), cfg.name), False, checkpoint)


def _named_checkpoint(cfg: DictConfig) -> Path | None:
    """Resolve ckpt_path: best or last of the newest run of this name, a run, or a file."""
    named = cfg.ckpt_path
    if named is None:
        return None
    if "://" in named:
        raise ConfigError("CKPT-URL", f"ckpt_path={named}", "a checkpoint is a local file")
    if named in ("best", "last"):
        found = sorted((Path(cfg.paths.runs) / cfg.name).glob(f"*/checkpoints/{named}.ckpt"))
        if not found:
            raise ModelError(
                "CKPT-404", f"ckpt_path={named}", f"no run below {cfg.paths.runs}/{cfg.name}"
            )
        path = found[-1]
    else:
        path = Path(named) / "checkpoints/last.ckpt" if Path(named).is_dir() else Path(named)
    if not path.is_file():
        raise ModelError("CKPT-404", f"ckpt_path={named}", "no such file")
    if (path.parent / checkpoint_io.MANIFEST).exists() and not checkpoint_io.is_intact(path):
        raise ModelError("CKPT-CORRUPT", str(path), "does not match its recorded SHA-256")
    return path


def write_down(
    cfg: DictConfig, overrides: list[str], machine: Hardware, parts: Parts, place: Place
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
        runs.write_json(path, now)
        runs.write_text(place.directory / "config.yaml", _saved_config(cfg, machine, parts))
        shown = [environment.redact_text(override) for override in overrides]
        runs.write_text(place.directory / "overrides.yaml", OmegaConf.to_yaml(shown))
    step = "the start" if place.checkpoint is None else place.checkpoint.name
    if place.resumed:
        log.info("going on with %s from %s", place.directory, step)
    # A resumed run keeps its identity: its stored config is filled in, and would hash to another.
    identity = {} if place.resumed else {"identity": config.config_hash(cfg)}
    runs.write_status(place.directory, state="running", started=time.time(), **identity)


def _saved_config(cfg: DictConfig, machine: Hardware, parts: Parts) -> str:
    """Return the config with what the data and the machine decided, enough to rebuild the run."""
    plain = config.redact_config(cfg)
    plain["data"]["labels"] = parts.rows.labels
    plain["data"]["max_length"] = parts.max_length
    plain["trainer"] |= {"precision": machine.precision, "num_threads": machine.threads}
    return OmegaConf.to_yaml(OmegaConf.create(plain))


def record_end(directory: Path, error: BaseException) -> None:
    state = "interrupted" if isinstance(error, Interrupted | KeyboardInterrupt) else "failed"
    line = str(error) if isinstance(error, TunesmithError) else f"{type(error).__name__}: {error}"
    runs.write_status(directory, state=state, error=None if state == "interrupted" else line)
    if isinstance(error, Interrupted):
        log.warning("stopped between two steps; go on with resume=%s", directory)


def record_leaving(directory: Path) -> None:
    if not runs.is_finished(directory):
        record_end(directory, Interrupted())
