"""What a search leaves when it ends: its winner, the last table, the exit code."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunesmith import config
from tunesmith.errors import StudyError
from tunesmith.reporting import write_report
from tunesmith.search.confirmation import confirm, export_winner
from tunesmith.search.confirmation.confirmation_runs import NoScoreError
from tunesmith.search.storage import summary
from tunesmith.search.study import frozen_config
from tunesmith.search.study.study import Study


def winner_facts(study: Study, winner: int | None) -> dict[str, Any]:
    """Return where the winner's run is, and the overrides that train it again."""
    if winner is None:
        return {"winner_directory": None, "winner_overrides": None}
    segment = confirm.winner_segment(study, winner)
    masked = [config.mask_override(text) for text in segment.overrides]
    where = str(Path(segment.directory).relative_to(study.folder))
    return {"winner_directory": where, "winner_overrides": masked}


def summarize(study: Study, spec: Mapping[str, Any], ended: Mapping[str, Any]) -> dict[str, Any]:
    """Return the summary of a study under way; see `made_of`."""
    return summary.build_summary(study.folder, study.records, study.store.attributes, spec, ended)


def write_unended(study: Study, spec: Mapping[str, Any], stopped_by: str | None) -> None:
    """Write the files of a study that has no winner yet: what was found so far."""
    seconds = study.store.attributes.get("seconds", 0.0)
    ended = {**summary.UNENDED, "stopped_by": stopped_by, "seconds": seconds}
    write_report.write(summarize(study, spec, ended), study.folder)


def write_best(study: Study, compose: frozen_config.Composer, winner: int | None) -> None:
    """Write experiment/best.yaml: --config-dir STUDY experiment=best trains the winner again."""
    if winner is None:
        (study.folder / export_winner.FILE).unlink(missing_ok=True)  # an earlier winner's
        return
    if winner == confirm.DEFAULT:
        overrides = study.segments.overrides(study.space.fixed, study.seeds[0])
    else:
        record = study.records[winner]
        overrides = study.segments.overrides(record.overrides, record.seeds[0])
    threads = study.segments.config_of(overrides)["trainer"]["num_threads"]
    export_winner.write_experiment(study.folder, compose, overrides, threads)


def say_the_end(summary: Mapping[str, Any]) -> None:
    """Print the last table of a summary."""
    from rich.console import Console

    from tunesmith.reporting.terminal.final_table import final

    with contextlib.suppress(BrokenPipeError):
        Console(highlight=False).print(final(summary))


def raise_if_it_failed(study: Study, ended: Mapping[str, Any]) -> None:
    """Leave with exit code 7 where more trials failed than may, or all, or all of the end."""
    if why := ended.get("unconfirmed"):
        raise NoScoreError(study.folder, why)
    failed = [record for record in study.records if record.has_failed]
    limit = study.settings.max_failures
    if not failed or (len(failed) < len(study.records) and (limit is None or len(failed) <= limit)):
        return
    what = f"{len(failed)} of {len(study.records)} trials failed, the first: {failed[0].error}"
    raise StudyError("STUDY-FAILED", str(study.folder), what)
