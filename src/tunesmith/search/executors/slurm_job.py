"""What a job of SLURM runs: one segment."""

import json
import logging
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunesmith.runtime.atomic_files import written_whole
from tunesmith.search.executors.cluster import run_remotely
from tunesmith.search.trial import Segment, result_of


def run_job(payload: Mapping[str, Any], folder: str, threads: int) -> None:
    """Run a segment in this job, and leave its result where the search looks for it."""
    number = os.environ["SLURM_JOB_ID"]
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    # It is the one task of its job: what starts processes for several devices is Tunesmith.
    for name in ("SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID"):
        os.environ.pop(name, None)
    listen()
    if (Path(folder) / f"{number}.stop").exists():
        result = result_of(Segment(**payload["segment"]), "interrupted").model_dump()
    else:
        result = run_remotely(payload, [])
    with written_whole(Path(folder) / f"{number}.json") as file:
        file.write_text(json.dumps(result), encoding="utf-8")
    logging.shutdown()
    os._exit(0)  # before submitit pickles what nobody reads, and without tearing torch down


def listen() -> None:
    """Leave at SIGTERM until the training takes it; take SLURM's warning, USR2, for one then.

    A warning before that (it may come a minute early) leaves the job the rest of its time.
    """

    def pass_on(number: int, frame: Any) -> None:
        if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
            os.kill(os.getpid(), signal.SIGTERM)

    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGUSR2, pass_on)
