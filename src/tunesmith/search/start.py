"""From a command line with -m to a study: everything is checked, then its directory is opened."""

import contextlib
import logging
import os
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from tunesmith import runs
from tunesmith.config import instantiate
from tunesmith.config.composer import Composer
from tunesmith.errors import INTERRUPTED, Interrupted, SafetyError
from tunesmith.reporting import write_report
from tunesmith.reporting.results import StudyEnd, StudyResults, StudySpec, TestScores
from tunesmith.runtime.processes import exit_on_sigterm
from tunesmith.search.confirmation import confirm
from tunesmith.search.confirmation.confirmation_runs import NoScoreError
from tunesmith.search.executors.base import Executor
from tunesmith.search.final_output import (
    raise_if_it_failed,
    results_of,
    say_the_end,
    winner_facts,
    write_best,
    write_unended,
)
from tunesmith.search.live_table import LiveTable
from tunesmith.search.space.space import Space
from tunesmith.search.storage.saved_study import note_of_lost_trials
from tunesmith.search.storage.study_db import FILE, StudyDatabase
from tunesmith.search.study import frozen_config
from tunesmith.search.study.open_study import opened, spec_of
from tunesmith.search.study.parse_request import (
    checked,
    config_name_of,
    folder_of,
    sources_of,
)
from tunesmith.search.study.search_loop import SearchLoop
from tunesmith.search.study.segments import ConfigOf
from tunesmith.search.study.settings import Settings
from tunesmith.search.trial import Result
from tunesmith.training.tracking import loggers_in_run

log = logging.getLogger(__name__)

SHARE_OF_BUDGET = 0.55  # what the search may use of it before confirmation takes the rest


def start(cfg: DictConfig, arguments: Sequence[str], loader: Any) -> StudyResults:
    """Search as the config says; return the results. Raises every mistake before anything runs."""
    folder = folder_of(cfg)
    if folder.exists():  # it may be a stranger's
        runs.refuse_ways_out(folder)
    conf, config_dir = sources_of(loader)
    known = (folder / FILE).exists()
    compose = (
        frozen_config.frozen(folder, config_name_of(cfg))
        if known
        else Composer(conf, config_dir, config_name_of(cfg))
    )
    space, settings = checked(cfg, arguments, loader, compose)
    runs.check_writable(Path(cfg.paths.runs))
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    leave = exit_on_sigterm(INTERRUPTED, lambda: None)  # until there is something to save
    with leave, _private_files(), runs.lock(folder), runs.setup_log(folder):
        if not known:
            compose = frozen_config.freeze(folder, conf, config_dir, config_name_of(cfg))
        return _run(cfg, folder, space, settings, compose)


@contextlib.contextmanager
def _private_files() -> Iterator[None]:
    """Let this process and its workers make files that their owner alone can read."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def _run(
    cfg: DictConfig, folder: Path, space: Space, settings: Settings, compose: Composer
) -> StudyResults:
    began = time.monotonic()
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
    with _executor(cfg) as executor, exit_on_sigterm(INTERRUPTED, executor.close):
        executor.check(folder.resolve())
        if base.trainer.num_threads is not None:
            executor.use_threads(base.trainer.num_threads)
        config_of = _config_of(compose, executor.threads, folder)
        choices = _first_choices(space, compose) if settings.lists_points else []
        store = opened(folder, space, settings, executor, config_of, choices)
        note = note_of_lost_trials(folder, len(store.records))
        if note is not None:
            log.warning("%s; they are trained again from their checkpoints", note)
        try:
            objective = store.facts.objective
            assert objective is not None  # set when it was opened
            spec = spec_of(folder, settings, space, objective)
            store.set("spec", spec)
            store.set("ended", None)
            loop = SearchLoop(
                folder,
                settings,
                space,
                settings.make_sampler(space),
                settings.make_policy(),
                store,
                executor,
                config_of,
                mode=objective.mode,
                seeds=_seeds(space, settings, base.seed),
                default=None if settings.lists_points else _default(space, base, compose),
            )
            with (
                _unended(loop, spec),
                _clocked(store, began),
                LiveTable(objective.metric) as loop.watcher,
                _signals(loop),
            ):
                end = _search_and_confirm(loop, began, base.test)
            more = winner_facts(loop, end.winner) | {"seconds": store.facts.seconds}
            end = end.model_copy(update=more)
            store.set("ended", end)
            made = results_of(loop, spec, end)
            write_report.write(made, folder)
            write_best(loop, compose, end.winner)
            say_the_end(made)
            raise_if_it_failed(loop, end)
        finally:
            store.close()
    return made


def _executor(cfg: DictConfig) -> Executor:
    found = instantiate.instantiate(OmegaConf.to_container(cfg.executor), trust=cfg.trust)
    assert isinstance(found, Executor)
    return found


def _search_and_confirm(loop: SearchLoop, began: float, tests: bool) -> StudyEnd:
    """Search within its share of the budget, confirm within the rest.

    What an earlier start confirmed is of its trials: it stands again if this one confirms them.
    """
    loop.store.set("confirmation", None)
    budget, confirms = loop.settings.budget, loop.settings.confirm_top > 0
    if budget is not None:
        loop.deadline = began + budget * (SHARE_OF_BUDGET if confirms else 0.85)
    loop.search()
    stopped_by = loop.ended_by or "trials"
    if stopped_by == "failures":
        return StudyEnd(stopped_by=stopped_by)
    loop.begin_phase(None if budget is None else began + 0.85 * budget)
    try:
        confirmation = confirm.confirm_best(loop)
    except NoScoreError as error:
        return StudyEnd(stopped_by=stopped_by, unconfirmed=error.why)
    winner = confirm.winner_of(loop, confirmation)
    if winner is None:
        return StudyEnd(stopped_by=stopped_by)
    loop.begin_phase(None)  # the winner's model is what the budget was for
    result = confirm.keep_winner(loop, winner, confirmation is not None and tests)
    test = _test_scores(loop, winner, result) if confirmation is not None else None
    return StudyEnd(stopped_by=stopped_by, winner=winner, test=test)


def _test_scores(loop: SearchLoop, winner: int, result: Result | None) -> TestScores | None:
    if result is None or result.state != "done":
        return None
    tested = {k: v for k, v in result.scores.items() if k.startswith("test/")}
    run = Path(confirm.winner_segment(loop, winner).directory)
    uses = int(runs.read_status(run).get("test_uses", 1))
    return TestScores(trial=winner, scores=tested, uses=uses) if tested else None


def _config_of(compose: Composer, threads: int, folder: Path) -> ConfigOf:
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


def _first_choices(space: Space, compose: Composer) -> list[str]:
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


@contextlib.contextmanager
def _unended(loop: SearchLoop, spec: StudySpec) -> Iterator[None]:
    """Let the files of a study say that it has not ended: an earlier end is no longer true."""
    if loop.records:
        write_unended(loop, spec, None)
    try:
        yield
    except Interrupted:
        write_unended(loop, spec, "signal")
        raise


@contextlib.contextmanager
def _clocked(database: StudyDatabase, began: float) -> Iterator[None]:
    """Add this session's seconds to the study's, however it ends short of a kill."""
    try:
        yield
    finally:
        spent = database.facts.seconds + time.monotonic() - began
        database.set("seconds", spent)


@contextlib.contextmanager
def _signals(loop: SearchLoop) -> Iterator[None]:
    """Let the first SIGTERM or Ctrl-C save everything under way; the second leaves at once."""

    def handle(number: int, frame: Any) -> None:
        if loop.interrupted:
            loop.executor.close()
            os._exit(128 + number)
        loop.interrupt()

    before = {n: signal.signal(n, handle) for n in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    except Interrupted:
        log.warning("stopped; go on with study=%s", loop.folder.name)
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
