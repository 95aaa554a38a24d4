"""The run directory: its making, its lock, its files, and what can be said about it."""

from tunesmith.rundir.cells import scores
from tunesmith.rundir.ending import Command, print_summary, summary
from tunesmith.rundir.files import read_json, write_json, write_text
from tunesmith.rundir.finding import find, is_finished, resolve, unfinished
from tunesmith.rundir.locking import is_held, lock
from tunesmith.rundir.log import quiet_libraries, setup_log
from tunesmith.rundir.making import check_writable, create, shared_directory
from tunesmith.rundir.status import read_status, write_status
from tunesmith.rundir.studies import find_studies, home_of, inside, is_study, runs_of
from tunesmith.rundir.tables import listing, show
from tunesmith.rundir.uses import count_test_use, is_test_set

__all__ = [
    "Command",
    "check_writable",
    "count_test_use",
    "create",
    "find",
    "find_studies",
    "home_of",
    "inside",
    "is_finished",
    "is_held",
    "is_study",
    "is_test_set",
    "listing",
    "lock",
    "print_summary",
    "quiet_libraries",
    "read_json",
    "read_status",
    "resolve",
    "runs_of",
    "scores",
    "setup_log",
    "shared_directory",
    "show",
    "summary",
    "unfinished",
    "write_json",
    "write_status",
    "write_text",
]
