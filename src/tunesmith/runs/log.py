"""train.log and the warnings on the screen."""

import contextlib
import logging
import os
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tunesmith.runtime.mask_secrets import mask_text
from tunesmith.errors import printable
from tunesmith.runs.safe_io import unwritable

NOISE = ("lightning", "lightning.pytorch", "lightning.fabric", "pytorch_lightning", "datasets")


@contextlib.contextmanager
def setup_log(run: Path) -> Iterator[None]:
    """Send Python's logging to run/train.log, warnings to stderr as well; quiet the libraries."""
    root, before = logging.getLogger(), logging.getLogger().level
    try:
        handlers: list[logging.Handler] = [_LogFile(run / "train.log"), _Stderr(logging.WARNING)]
    except OSError as error:
        raise unwritable(run, error) from error
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)
    quiet_libraries()
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.setLevel(before)
        for handler in handlers:
            root.removeHandler(handler)
            handler.close()


def quiet_libraries() -> None:
    """Let the libraries say warnings only, without their tips and advertisements."""
    for name in NOISE:
        logger = logging.getLogger(name)
        for handler in list(logger.handlers):
            logger.removeHandler(handler)
        logger.setLevel(logging.WARNING)  # tips and advertisements are information
        logger.propagate = True
    said_by_lightning = (
        ".*does not have many workers",
        ".*is smaller than the logging interval",
        ".*isinstance.treespec, LeafSpec",  # its own use of torch, not the user's
        ".*`srun` command is available",  # a search submits its trials by itself
    )
    for message in said_by_lightning:
        warnings.filterwarnings("ignore", message=message)
    import datasets
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    datasets.disable_progress_bars()


class _Lines(logging.Formatter):
    """Each line printable, so that no label drives a terminal, and without secrets."""

    def format(self, record: logging.LogRecord) -> str:
        lines = super().format(record).split("\n")
        return "\n".join(mask_text(printable(line)) for line in lines)


class _LogFile(logging.FileHandler):
    """train.log; a full disk costs the log, not the run."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "a", encoding="utf-8", errors="backslashreplace")
        self.setFormatter(_Lines("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        self._broken = False

    def _open(self) -> Any:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        descriptor = os.open(self.baseFilename, flags, 0o600)
        return os.fdopen(descriptor, "a", encoding="utf-8", errors="backslashreplace")

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        if not self._broken:
            self._broken = True
            print(f"warning: {self.baseFilename} is not written any more", file=sys.stderr)


class _Stderr(logging.Handler):
    """Warnings on stderr as it is now: a progress bar puts itself in its place."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.setFormatter(_Lines("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        if record.name == "py.warnings":  # "file:line: Category: message\n  source line"
            text = re.sub(r"^.*?: (\w+): ", "", text.split("\n")[0])
        with contextlib.suppress(OSError, ValueError):  # closed: `2>&1 | head`
            print(f"{record.levelname.lower()}: {text}", file=sys.stderr)
