"""search.dry_run=true: what a search would cost is printed, and nothing is left behind."""

import contextlib
import shutil
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from omegaconf import DictConfig

from tunesmith import runs
from tunesmith.config.composer import Composer
from tunesmith.errors import INTERRUPTED
from tunesmith.runtime.processes import exit_on_sigterm
from tunesmith.search.cost.tell import print_cost
from tunesmith.search.executors.base import Executor
from tunesmith.search.space.space import Space
from tunesmith.search.storage import saved_study
from tunesmith.search.storage.study_db import StudyDatabase
from tunesmith.search.study.build_loop import base_config, build_loop, config_maker, new_executor
from tunesmith.search.study.open_study import identity_of, refuse_another
from tunesmith.search.study.settings import Settings


def dry_run(
    cfg: DictConfig, folder: Path, space: Space, settings: Settings, compose: Composer
) -> None:
    """Print what the search would cost from where it stands; leave nothing of it behind.

    A worker measures in a folder below paths.runs, whose disk the search would use.
    """
    began, home = time.monotonic(), Path(cfg.paths.runs)
    base = base_config(cfg, folder, space, compose)
    was_there = home.exists()
    runs.check_writable(home)
    try:
        with (
            TemporaryDirectory(prefix=".dry-run-", dir=home) as parent,
            new_executor(cfg, base) as executor,
            exit_on_sigterm(INTERRUPTED, lambda: _end(executor, Path(parent))),
        ):
            copy = Path(parent) / folder.name
            copy.mkdir()
            saved_study.copy_database(folder, copy)
            store = StudyDatabase(copy, space.dimensions)
            try:
                refuse_another(folder, store.facts.identity, identity_of(space, settings))
                config_of = config_maker(compose, executor.threads, copy)
                loop = build_loop(copy, space, settings, store, executor, config_of, base, compose)
                print_cost(loop, store.facts.seconds + time.monotonic() - began)
            finally:
                store.close()
    finally:
        if not was_there:
            with contextlib.suppress(OSError):
                home.rmdir()


def _end(executor: Executor, folder: Path) -> None:
    executor.close()
    shutil.rmtree(folder, ignore_errors=True)
