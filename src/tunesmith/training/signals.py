"""SIGTERM and the first Ctrl-C stop a run at its next step; a second Ctrl-C leaves at once."""

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import lightning as L


class StopOnSignal(L.Callback):
    """Calls `request` on the first SIGTERM or SIGINT; leaves with 130 on a SIGINT after it.

    A second SIGTERM says nothing new: SLURM sends it to a task itself, and once more through srun.

    A context manager around `fit`, and a callback in it: Lightning puts a handler of its own
    over ours, which would end the run with exit code 0.
    """

    def __init__(self, request: Callable[[], None]) -> None:
        self.request = request
        self.asked = False
        self.before: dict[int, Any] = {}

    def __enter__(self) -> "StopOnSignal":
        if threading.current_thread() is threading.main_thread():  # signals are its alone
            self.before = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)}
            self._listen()
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
        self.before = {}

    def setup(self, trainer: L.Trainer, module: L.LightningModule, stage: str) -> None:
        # Lightning's own would end a run with 0 if it came before `on_train_start`.
        trainer._signal_connector._sigterm_notifier_fn = _nothing  # type: ignore

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self._listen()

    def _listen(self) -> None:
        for number in self.before:
            signal.signal(number, self._handle)

    def _handle(self, number: int, frame: Any) -> None:
        if self.asked and number == signal.SIGINT:
            os._exit(128 + number)
        self.asked = True
        self.request()


def _nothing(number: int, frame: Any) -> None:
    pass
