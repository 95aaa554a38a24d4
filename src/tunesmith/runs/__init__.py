"""The run directory: its making, its lock, its files."""

from tunesmith.runs.safe_io import read_json, write_json, write_text
from tunesmith.runs.find import (
    FORMAT,
    check_format,
    closed_folders,
    find,
    is_finished,
    refuse_ways_out,
    resolve,
    unfinished,
)
from tunesmith.runs.lock import is_held, lock
from tunesmith.runs.log import quiet_libraries, setup_log
from tunesmith.runs.create import check_writable, create, shared_directory
from tunesmith.runs.status import read_status, write_status
from tunesmith.runs.study_dirs import find_studies, home_of, inside, is_study, runs_of
from tunesmith.runs.test_use_log import count_test_use, is_test_set

__all__ = [
    "FORMAT",
    "check_format",
    "check_writable",
    "count_test_use",
    "closed_folders",
    "create",
    "find",
    "find_studies",
    "home_of",
    "inside",
    "is_finished",
    "is_held",
    "is_study",
    "is_test_set",
    "lock",
    "quiet_libraries",
    "read_json",
    "read_status",
    "refuse_ways_out",
    "resolve",
    "runs_of",
    "setup_log",
    "shared_directory",
    "unfinished",
    "write_json",
    "write_status",
    "write_text",
]
