"""Importing torch and what stands on it: most of the time that a short run takes."""

import contextlib
import gc
import importlib.util
import logging
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any


@contextlib.contextmanager
def fast_import() -> Iterator[None]:
    """Import in less time what is imported in this block. Does nothing where torch is there.

    The garbage collector is kept away from it for as long as this lives: it would walk a million
    objects again and again and find nothing, in 1.7 of the 14 s that a run takes to its first step.
    Of torchmetrics only the base class is imported, which Lightning needs: another 0.5 s.
    """
    if "torch" in sys.modules:
        yield
        return
    gc.disable()
    try:
        _postpone_torchmetrics()
        yield
    finally:
        gc.freeze()
        gc.enable()


class _Postponed(ModuleType):
    """A package whose `__init__` runs once something of it is asked for that it has not yet."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__all__":
            raise AttributeError(name)
        self.__class__ = ModuleType  # type: ignore[assignment]
        assert self.__spec__ is not None and self.__spec__.loader is not None
        self.__spec__.loader.exec_module(self)
        return getattr(self, name)


def _postpone_torchmetrics() -> None:
    """Import the base classes of torchmetrics without its hundred metrics, and scipy's signals.

    Whoever asks for anything else of the package gets all of it. A version of torchmetrics of
    which this is not true is imported whole.
    """
    spec = importlib.util.find_spec("torchmetrics")
    if spec is None or "torchmetrics" in sys.modules:
        return
    package = importlib.util.module_from_spec(spec)
    package._logger = logging.getLogger("torchmetrics")  # type: ignore[attr-defined]
    package.__class__ = _Postponed
    sys.modules["torchmetrics"] = package
    try:
        importlib.import_module("torchmetrics.utilities")  # before `metric`: they need each other
        about = importlib.import_module("torchmetrics.__about__")
        metric = importlib.import_module("torchmetrics.metric")
        collections = importlib.import_module("torchmetrics.collections")
        package.__version__ = about.__version__  # type: ignore[attr-defined]
        package.Metric = metric.Metric  # type: ignore[attr-defined]
        package.MetricCollection = collections.MetricCollection  # type: ignore[attr-defined]
    except (ImportError, AttributeError):
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchmetrics"]:
            del sys.modules[name]
