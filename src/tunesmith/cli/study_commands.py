"""The commands on a study: report, studies, best, replay."""

import argparse
import logging
import sys
from pathlib import Path
from typing import Any

from tunesmith.errors import ModelError, printable

log = logging.getLogger(__name__)


def add_commands(commands: Any) -> None:
    """Add them to the parser of `tunesmith`."""
    report = _on_a_study(commands, "report", "write a study's report anew, show its table", _report)
    report.add_argument("--excel-safe", action="store_true", help="summary.csv for a spreadsheet")

    studies = commands.add_parser("studies", help="a table of searches and what they found")
    studies.add_argument("folder", nargs="?", type=Path, default=Path("runs"))
    studies.set_defaults(run_command=_studies)

    best = _on_a_study(commands, "best", "the command that trains a study's winner", _best)
    best.add_argument("--yaml", action="store_true", help="its experiment/best.yaml instead")

    replay = _on_a_study(commands, "replay", "repeat a trial of a study to the bit", _replay)
    replay.add_argument("trial", type=int, metavar="N", help="the number of the trial")
    replay.add_argument("--trust", action="append", default=[], metavar="PACKAGE")


def _on_a_study(commands: Any, name: str, text: str, command: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.add_argument("study", metavar="STUDY", help="the directory of a study")
    parser.set_defaults(run_command=command)
    return parser


def _report(options: argparse.Namespace) -> None:
    from rich.console import Console

    from tunesmith.reporting import write_report
    from tunesmith.reporting.terminal import final_table
    from tunesmith.search.storage import saved_study

    made = saved_study.results_of(options.study)
    note = saved_study.note_of_lost_trials(Path(options.study), len(made.trials))
    if note is not None:
        log.warning("%s", note)
    write_report.write(made, Path(options.study), options.excel_safe)
    Console(highlight=False).print(final_table.final(made))


def _studies(options: argparse.Namespace) -> None:
    from rich.console import Console

    from tunesmith.reporting.terminal import studies
    from tunesmith.search.storage import saved_study

    Console(highlight=False).print(studies.listing(options.folder, saved_study.results_of))


def _best(options: argparse.Namespace) -> None:
    from tunesmith import runs
    from tunesmith.reporting import next_steps
    from tunesmith.runs.safe_io import read_text
    from tunesmith.search.storage import saved_study

    study = saved_study.results_of(options.study)
    words = next_steps.of_the_winner(study)
    if not words:
        fix = f"tunesmith report {options.study}"
        raise ModelError("STUDY", str(options.study), "has no winner", fix)
    if not options.yaml:
        print(" ".join(words))
        return
    text = read_text(runs.inside(Path(options.study), "experiment/best.yaml"))
    if not text:
        raise ModelError("STUDY", str(options.study), "has no experiment/best.yaml")
    for line in text.splitlines():
        print(printable(line))


def _replay(options: argparse.Namespace) -> None:
    """Leave with exit code 1 where a seed of the trial came out otherwise."""
    from tunesmith.search.replay import replay

    replayed = replay(options.study, options.trial, options.trust)
    for one in replayed:
        print(printable(f"trial {options.trial}, {one.line}"))
    print(printable(f"in {replayed[0].directory}"))
    if any(one.difference is not None for one in replayed):
        sys.exit(1)
