"""What a search leaves when it ends: its winner, the last table, the exit code."""

import contextlib
from pathlib import Path
from typing import Any

from tunesmith import config
from tunesmith.config.composer import Composer
from tunesmith.errors import StudyError
from tunesmith.reporting import formatting, write_report
from tunesmith.reporting.results import StudyEnd, StudyResults, StudySpec
from tunesmith.search.confirmation import confirm, export_winner
from tunesmith.search.confirmation.confirmation_runs import NoScoreError
from tunesmith.search.storage.summary import build_results
from tunesmith.search.storage.trial_record import Record, lineage
from tunesmith.search.study.search_loop import SearchLoop


def winner_facts(loop: SearchLoop, winner: int | None) -> dict[str, Any]:
    """Return where the winner's run is, and the overrides that train it again."""
    if winner is None:
        return {}
    segment = confirm.winner_segment(loop, winner)
    masked = [config.mask_override(text) for text in segment.overrides]
    where = str(Path(segment.directory).relative_to(loop.folder))
    return {"winner_directory": where, "winner_overrides": masked}


def results_of(loop: SearchLoop, spec: StudySpec, end: StudyEnd) -> StudyResults:
    """Return the results of a study that is open."""
    return build_results(loop.folder, loop.records, spec, end, loop.store.facts.confirmation)


def write_unended(loop: SearchLoop, spec: StudySpec, stopped_by: str | None) -> None:
    """Write the files of a study that has no winner yet: what was found so far."""
    end = StudyEnd(stopped_by=stopped_by, seconds=loop.store.facts.seconds)
    write_report.write(results_of(loop, spec, end), loop.folder)


def write_best(loop: SearchLoop, compose: Composer, winner: int | None) -> None:
    """Write experiment/best.yaml: --config-dir STUDY experiment=best trains the winner again."""
    if winner is None:
        (loop.folder / export_winner.FILE).unlink(missing_ok=True)  # an earlier winner's
        return
    note = ""
    if winner == confirm.DEFAULT:
        overrides = loop.segments.overrides(loop.space.fixed, loop.seeds[0])
    else:
        record = loop.records[winner]
        overrides = loop.segments.overrides(record.overrides, record.seeds[0])
        note = _stages(loop, record)
    threads = loop.segments.config_of(overrides)["trainer"]["num_threads"]
    export_winner.write_experiment(loop.folder, compose, overrides, threads, note)


def _stages(loop: SearchLoop, record: Record) -> str:
    """Return the stages of a winner that changed its settings in mid-run, as comments."""
    stages = lineage(record, loop.records, loop.policy.rungs)
    if len(stages) < 2:
        return ""
    head = export_winner.SCHEDULE.format(study=loop.folder, trial=record.number)
    lines = [f"#   to {formatting.rung(until)}: {_typed(loop, one)}\n" for until, one in stages]
    return head + "".join(lines)


def _typed(loop: SearchLoop, record: Record) -> str:
    words = " ".join(map(config.mask_override, loop.space.overrides(record.params)))
    return f"{' '.join(words.split())} (trial {record.number})"


def say_the_end(results: StudyResults) -> None:
    """Print the last table of a study."""
    from rich.console import Console

    from tunesmith.reporting.terminal.final_table import final

    with contextlib.suppress(BrokenPipeError):
        Console(highlight=False).print(final(results))


def raise_if_it_failed(loop: SearchLoop, end: StudyEnd) -> None:
    """Leave with exit code 7 where more trials failed than may, or all, or all of the end."""
    if end.unconfirmed is not None:
        raise NoScoreError(loop.folder, end.unconfirmed)
    failed = [record for record in loop.records if record.has_failed]
    limit = loop.settings.max_failures
    if not failed or (len(failed) < len(loop.records) and (limit is None or len(failed) <= limit)):
        return
    what = f"{len(failed)} of {len(loop.records)} trials failed, the first: {failed[0].error}"
    raise StudyError("STUDY-FAILED", str(loop.folder), what)
