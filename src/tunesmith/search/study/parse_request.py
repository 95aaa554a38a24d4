"""What a command line with -m asks for: read and checked whole before anything runs."""

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from tunesmith import config, runs
from tunesmith.config import hydra_internals
from tunesmith.config.composer import Composer
from tunesmith.errors import ConfigError, TunesmithError, raise_all
from tunesmith.search.space.space import Space
from tunesmith.search.study.settings import Settings, settings_from


def folder_of(cfg: DictConfig) -> Path:
    """Return the study's directory: by its name or a new one, or hydra.sweep.dir where given.

    Raises ConfigError for what is no name, and for a folder that holds runs of no study.
    """
    parent, asked = Path(cfg.paths.runs), Path(cfg.hydra.sweep.dir)
    name = cfg.study or f"study-{time.strftime('%Y-%m-%d_%H-%M-%S')}-{os.urandom(2).hex()}"
    if asked != parent:
        if cfg.study not in (None, asked.name):
            what = f"the study's directory is hydra.sweep.dir={asked}"
            raise ConfigError("CONF-NAME", f"study={cfg.study}", what, "give one of them")
        parent, name = asked.parent, asked.name
    raise_all(error for error in [config.check_value("study", name)] if error is not None)
    _refuse_plain_runs(parent / name)
    return parent / name


def _refuse_plain_runs(folder: Path) -> None:
    """Refuse the folder of ordinary runs: in a study `tunesmith runs` would not find them."""
    if not runs.is_study(folder):
        plain = [run for run in runs.find(folder) if (run / "status.json").is_file()]
        if plain:
            what = f"{folder} holds runs that are no trials, {plain[-1].name} for one"
            raise ConfigError("CONF-NAME", f"study={folder.name}", what, "choose another name")


def config_name_of(cfg: DictConfig) -> str:
    """Return the name of the config that the command line starts from."""
    return str(cfg.hydra.job.config_name or "train")


def sources_of(loader: Any) -> tuple[Path, Path | None]:
    """Return the folders of the config files that Hydra reads."""
    found: dict[str, Path] = {}
    for entry in loader.get_search_path().get_path():
        scheme, _, path = str(entry.path).partition("://")
        if scheme == "file":
            found.setdefault(entry.provider, Path(path))
    return found.get("main", config.CONF), found.get("command-line")


def checked(
    cfg: DictConfig, arguments: Sequence[str], loader: Any, compose: Composer
) -> tuple[Space, Settings]:
    """Read the space and the settings; raise all that is wrong with them and what they make."""
    from tunesmith.search.space.check_configs import check_point, check_space
    from tunesmith.search.space.parse import read

    _refuse_launchers(cfg)
    wrong = [*_starts(cfg), *_wrong_control(cfg)]
    plain: Any = OmegaConf.to_container(cfg.search, resolve=True)
    is_listed = _lists_points(plain, cfg.trust)
    space, errors = read(arguments, cfg, loader.get_group_options, adaptive=not is_listed)
    raise_all(wrong + errors + check_space(space, compose))
    settings = settings_from(plain, cfg.trust)
    raise_all(error for point in settings.initial_points for error in check_point(space, point))
    raise_all(settings.make_policy().check(space, cfg))
    settings.make_sampler(space)
    if not settings.lists_points and settings.trials is None:
        raise ConfigError("CONF-TRIALS", "search.trials=null", "how many?", "search.trials=20")
    raise_all(_wrong_patience(settings))
    return space, settings


def _wrong_patience(settings: Settings) -> Iterator[ConfigError]:
    """Yield why search.patience could not end this search."""
    subject = f"search.patience={settings.patience}"
    if settings.patience is None:
        return
    if settings.lists_points:
        fix = "search=random, or search.patience=null"
        yield ConfigError("CONF-PATIENCE", subject, "a grid runs what is listed, in order", fix)
    elif settings.make_policy().finishes_last:
        policy = settings.names["policy"]
        what = f"looks at whole trainings, and search/policy={policy} has none before its end"
        yield ConfigError("CONF-PATIENCE", subject, what, "search/policy=asha")


def _refuse_launchers(cfg: DictConfig) -> None:
    launcher = str(cfg.hydra.launcher._target_)
    if launcher != hydra_internals.BASIC_LAUNCHER:
        what = "trials run on Tunesmith's own executors"
        raise ConfigError("CONF-LAUNCHER", "hydra/launcher", what, "executor=local, ray or slurm")


def _wrong_control(cfg: DictConfig) -> Iterator[TunesmithError]:
    """Yield what is wrong with the search itself: no trial's config has these groups."""
    for error in config.check(cfg):
        if error.where.partition("=")[0].partition(".")[0] in ("search", "executor"):
            yield error


def _starts(cfg: DictConfig) -> Iterator[TunesmithError]:
    """Yield what says where one run starts: a study's trials all start from the model."""
    if cfg.resume is not None:
        fix = "study=NAME: the same command goes on"
        yield ConfigError("CONF-SWEEP", f"resume={cfg.resume}", "is of a run, not a search", fix)
    if cfg.ckpt_path is not None:
        fix = "model.path=RUN: from the weights of a finished run"
        yield ConfigError("CONF-SWEEP", f"ckpt_path={cfg.ckpt_path}", "is of one run", fix)


def _lists_points(search: Any, trust: Sequence[str]) -> bool:
    """Tell whether a search runs exactly what is listed, each trial to its end."""
    try:
        settings = settings_from(search, trust)
        return settings.lists_points and len(settings.make_policy().rungs) == 1
    except (TunesmithError, AttributeError, KeyError, TypeError):
        return False  # its mistakes are reported with all the others
