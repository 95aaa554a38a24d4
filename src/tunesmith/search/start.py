"""From a command line with -m to a study: everything is checked, then its directory is opened."""

import contextlib
import logging
import os
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from tunesmith import runs
from tunesmith.config.composer import Composer
from tunesmith.errors import INTERRUPTED, Interrupted
from tunesmith.reporting import write_report
from tunesmith.reporting.results import StudyEnd, StudyResults, TestScores
from tunesmith.runtime.processes import exit_on_sigterm
from tunesmith.search.confirmation import confirm
from tunesmith.search.confirmation.confirmation_runs import NoScoreError
from tunesmith.search.cost.tell import tell_cost
from tunesmith.search.dry_run import dry_run
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
from tunesmith.search.study.build_loop import (
    base_config,
    build_loop,
    config_maker,
    first_choices,
    new_executor,
)
from tunesmith.search.study.open_study import opened, spec_of
from tunesmith.search.study.parse_request import (
    checked,
    config_name_of,
    folder_of,
    sources_of,
)
from tunesmith.search.study.search_loop import SearchLoop
from tunesmith.search.study.settings import Settings
from tunesmith.search.trial import Result

log = logging.getLogger(__name__)

SHARE_OF_BUDGET = 0.55  # what the search may use of it before confirmation takes the rest
SHARE_OF_ALL = 0.85  # what both may use, before the winner is kept


def start(cfg: DictConfig, arguments: Sequence[str], loader: Any) -> StudyResults | None:
    """Search as the config says; return the results, None of a dry run.

    Raises every mistake before anything runs.
    """
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
    if settings.dry_run:
        dry_run(cfg, folder, space, settings, compose)
        return None
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
    base = base_config(cfg, folder, space, compose)
    with new_executor(cfg, base) as executor, exit_on_sigterm(INTERRUPTED, executor.close):
        executor.check(folder.resolve())
        config_of = config_maker(compose, executor.threads, folder)
        choices = first_choices(space, compose) if settings.lists_points else []
        store = opened(folder, space, settings, executor, config_of, choices)
        note = note_of_lost_trials(folder, len(store.records))
        if note is not None:
            log.warning("%s; they are trained again from their checkpoints", note)
        try:
            objective = store.facts.objective
            assert objective is not None  # set when it was opened
            spec = spec_of(folder, settings, space, objective)
            before = store.facts.spec
            if before is not None:
                spec = spec.model_copy(update={"estimate": before.estimate})
            store.set("spec", spec)
            store.set("ended", None)
            loop = build_loop(folder, space, settings, store, executor, config_of, base, compose)
            with (
                _unended(loop),
                _clocked(store, began),
                _signals(loop),
            ):
                spent = store.facts.seconds + time.monotonic() - began
                told, forecast = tell_cost(loop, spent, _end_of_budget(settings, began))
                spec = spec.model_copy(update={"estimate": told})
                store.set("spec", spec)
                with LiveTable(objective.metric, forecast) as loop.watcher:
                    end = _search_and_confirm(loop, began, base.test)
            more = winner_facts(loop, end.winner) | {"seconds": store.facts.seconds}
            if end.stopped_by == "patience":
                more["plateau"] = loop.patience.plateau
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


def _search_and_confirm(loop: SearchLoop, began: float, tests: bool) -> StudyEnd:
    """Search within its share of the budget, confirm within the rest.

    What an earlier start confirmed is of its trials: it stands again if this one confirms them.
    """
    loop.store.set("confirmation", None)
    budget, confirms = loop.settings.budget, loop.settings.confirm_top > 0
    if budget is not None:
        loop.deadline = began + budget * (SHARE_OF_BUDGET if confirms else SHARE_OF_ALL)
    loop.search()
    plateau = loop.patience.plateau if len(loop.records) < loop.target else None
    stopped_by = loop.ended_by or ("patience" if plateau else "trials")
    if stopped_by == "failures":
        return StudyEnd(stopped_by=stopped_by)
    loop.begin_phase(_end_of_budget(loop.settings, began))
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


def _end_of_budget(settings: Settings, began: float) -> float | None:
    return None if settings.budget is None else began + SHARE_OF_ALL * settings.budget


def _test_scores(loop: SearchLoop, winner: int, result: Result | None) -> TestScores | None:
    if result is None or result.state != "done":
        return None
    tested = {k: v for k, v in result.scores.items() if k.startswith("test/")}
    run = Path(confirm.winner_segment(loop, winner).directory)
    uses = int(runs.read_status(run).get("test_uses", 1))
    return TestScores(trial=winner, scores=tested, uses=uses) if tested else None


@contextlib.contextmanager
def _unended(loop: SearchLoop) -> Iterator[None]:
    """Let the files of a study say that it has not ended: an earlier end is no longer true."""
    facts = loop.store.facts
    if loop.records and facts.spec is not None:
        write_unended(loop, facts.spec, None)
    try:
        yield
    except Interrupted:
        assert facts.spec is not None  # set when it was opened
        write_unended(loop, facts.spec, "signal")
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
    """Let SIGTERM or the first Ctrl-C save everything under way; a second Ctrl-C leaves at once."""

    def handle(number: int, frame: Any) -> None:
        if loop.interrupted and number == signal.SIGINT:
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
