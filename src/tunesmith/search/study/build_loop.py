"""What a search is made of: the config that its trials begin with, their executor, its loop."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from tunesmith.config import instantiate
from tunesmith.config.composer import Composer
from tunesmith.errors import SafetyError
from tunesmith.search.executors.base import Executor
from tunesmith.search.space.space import Space
from tunesmith.search.storage.study_db import StudyDatabase
from tunesmith.search.study.search_loop import SearchLoop
from tunesmith.search.study.segments import ConfigOf
from tunesmith.search.study.settings import Settings
from tunesmith.training.tracking import loggers_in_run


def base_config(cfg: DictConfig, folder: Path, space: Space, compose: Composer) -> DictConfig:
    """Return what all trials begin with; raises SafetyError where it writes elsewhere."""
    base = compose(list(space.fixed))
    if base.paths != cfg.paths:  # a search writes to the caches that paths name
        where, what = str(folder / "conf"), "names other folders to write to than this command"
        raise SafetyError(
            "UNSAFE-PATH", where, what, "type paths.cache=DIR, or begin another study"
        )
    for name in loggers_in_run(base.logger)[1]:
        if base.logger[name] != cfg.logger.get(name):
            what = f"logger.{name} is another one than this command's"
            fix = "set its keys on the command line, or begin another study"
            raise SafetyError("UNSAFE-LOGGER", str(folder / "conf"), what, fix)
    return base


def build_loop(
    folder: Path,
    space: Space,
    settings: Settings,
    database: StudyDatabase,
    executor: Executor,
    config_of: ConfigOf,
    base: DictConfig,
    compose: Composer,
) -> SearchLoop:
    """Return the search of a study as its store has it."""
    objective = database.facts.objective
    return SearchLoop(
        folder,
        settings,
        space,
        settings.make_sampler(space),
        settings.make_policy(),
        database,
        executor,
        config_of,
        mode="max" if objective is None else objective.mode,
        seeds=_seeds(space, settings, base.seed),
        default=None if settings.lists_points else _default(space, base, compose),
    )


def new_executor(cfg: DictConfig, base: DictConfig) -> Executor:
    """Return the executor of a config, for trials that begin with `base`."""
    found = instantiate.instantiate(OmegaConf.to_container(cfg.executor), trust=cfg.trust)
    assert isinstance(found, Executor)
    if base.trainer.num_threads is not None:
        found.use_threads(base.trainer.num_threads)
    return found


def config_maker(compose: Composer, threads: int, folder: Path) -> ConfigOf:
    """Return what makes a trial's config of its overrides; `threads` are those of a worker."""
    return lambda overrides: _trial_config(compose, overrides, threads, folder)


def _trial_config(
    compose: Composer, overrides: Sequence[str], threads: int, folder: Path
) -> dict[str, Any]:
    """Return a trial's config: as typed, without the test split, with its share of the machine."""
    cfg = compose(overrides)
    cfg.test, cfg.callbacks.progress = False, False
    if cfg.trainer.num_threads is None:
        cfg.trainer.num_threads = threads
    cfg.study = folder.name
    plain: Any = OmegaConf.to_container(cfg, resolve=True)
    return plain


def _seeds(space: Space, settings: Settings, seed: int) -> list[int]:
    return list(space.seeds) or [seed + i for i in range(settings.replicates)]


def first_choices(space: Space, compose: Composer) -> list[str]:
    """Return the first choice of each listed group that leaves out its default.

    No trial has that default, and it may not fit the rows: a grid of two other tasks.
    """
    groups = [dimension for dimension in space.dimensions if dimension.is_group]
    defaults = compose.choices(space.fixed) if groups else {}
    others = [group for group in groups if not group.contains(defaults.get(group.key))]
    return space.overrides({group.key: group.choices[0] for group in others})


def _default(space: Space, base: DictConfig, compose: Composer) -> dict[str, Any]:
    """Return what the default config has on the dimensions, where that is a value of them."""
    params: dict[str, Any] = {}
    choices = compose.choices(space.fixed)
    for dimension in space.parents_first:
        if dimension.is_group:
            value = choices.get(dimension.key)
        else:
            value = OmegaConf.select(base, dimension.key)
        active = space.active({**params, dimension.key: value})
        if dimension in active and dimension.contains(value):
            params[dimension.key] = value
    return params
