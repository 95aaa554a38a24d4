"""How a run is getting on: status.json."""

import os
import socket
from pathlib import Path
from typing import Any

from tunesmith.runtime.mask_secrets import mask_text
from tunesmith.runs.safe_io import read_json, write_json


def write_status(run: Path, state: str, syncs_folder: bool = True, **facts: Any) -> None:
    """Write status.json: running, interrupted, failed or finished; other facts stay as they were.

    Facts are `step`, `error` (its one line), `identity` (of the config), `test_uses` (how often
    its test data had been looked at when it was done) and what else is known.
    """
    if "error" in facts and facts["error"] is not None:
        facts["error"] = mask_text(str(facts["error"]))
    process = {"pid": os.getpid(), "host": socket.gethostname(), "state": state}
    old = {key: value for key, value in read_status(run).items() if key != "error"}
    write_json(run / "status.json", {**old, **facts, **process}, syncs_folder)


def read_status(run: Path) -> dict[str, Any]:
    """Return what status.json holds, {} where there is none."""
    return read_json(run / "status.json")
