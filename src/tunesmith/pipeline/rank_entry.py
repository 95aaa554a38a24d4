"""A further process of a run on several devices: python -P -m tunesmith.pipeline.rank_entry"""

import json
import logging
import sys
import traceback

from tunesmith.errors import INTERRUPTED, Interrupted, explain, is_debugging
from tunesmith.runtime.fast_import import fast_import


def main() -> None:
    """Train as standard input says: what `launched_ranks` writes there."""
    payload = json.load(sys.stdin)
    sys.path[:] = payload["path"]  # so that the user's own code is found where the first found it
    with fast_import():
        from tunesmith.pipeline.train import train_as_rank

    logging.disable(logging.WARNING)  # the first process says it
    try:
        train_as_rank(payload)
    except Interrupted:
        raise SystemExit(INTERRUPTED) from None
    except Exception as error:
        told = explain(error)
        if is_debugging():
            traceback.print_exc()
        print("\n".join(told.lines), file=sys.stderr)
        raise SystemExit(told.exit_code) from None


if __name__ == "__main__":
    main()
