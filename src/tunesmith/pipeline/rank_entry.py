"""A further process of a run on several devices: python -P -m tunesmith.pipeline.rank_entry"""

import json
import logging
import sys

from tunesmith.errors import INTERRUPTED, Interrupted
from tunesmith.runtime.fast_import import gc_paused_for_import


def main() -> None:
    """Train as standard input says: what `run.ranks` writes there."""
    told = json.load(sys.stdin)
    sys.path[:] = told["path"]  # so that the user's own code is found where the first found it
    with gc_paused_for_import():
        from tunesmith.pipeline.train import train_beside

    logging.disable(logging.WARNING)  # the first process says it
    try:
        train_beside(told)
    except Interrupted:
        raise SystemExit(INTERRUPTED) from None


if __name__ == "__main__":
    main()
