"""A warm worker process: one JSON line in, a segment; one out, its result; until the input ends.

    python -P -m tunesmith.search.worker

Imports, rows and base weights are paid for once. What segments print goes to stderr: the pipe
belongs to the results.
"""

import gc
import json
import logging
import os
import sys
from typing import IO, Any

from tunesmith.runtime.fast_import import fast_import
from tunesmith.runtime.processes import die_with_parent


def main() -> None:
    """Serve the process that started this one, until it closes the pipe or dies."""
    die_with_parent()
    answers = _own_output()
    setup = json.loads(sys.stdin.readline())
    _prepare(setup)
    with fast_import():
        from tunesmith.search.trial import Segment
        from tunesmith.search.worker.input_cache import InputCache
        from tunesmith.search.worker.run_segment import run_segment

    gc.collect()
    gc.freeze()  # what is imported stays: the collector need not look at it after each trial
    warm = InputCache()
    _tell(answers, event="ready", pid=os.getpid())
    for line in sys.stdin:
        segment = Segment(**json.loads(line))
        _tell(answers, event="started", trial=segment.trial, attempt=segment.attempt)
        _tell(answers, event="result", result=run_segment(segment, warm).model_dump())


def _prepare(setup: dict[str, Any]) -> None:
    """Take this worker's share of the machine, before anything looks at it."""
    if setup.get("cores"):
        os.sched_setaffinity(0, setup["cores"])
    if setup["gpus"]:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, setup["gpus"]))
    sys.path[:] = setup["path"]  # the user's own code is found where the command found it
    logging.getLogger().setLevel(logging.WARNING)


def _own_output() -> IO[str]:
    """Keep the pipe to the controller; let everything else that prints go to stderr."""
    pipe = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return pipe


def _tell(answers: IO[str], **message: Any) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
