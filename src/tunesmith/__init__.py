"""Tunesmith: train one BERT-family encoder well, and find what trains it best.

    run = tunesmith.train(["data=files", "data.train_file=reviews.csv"])
    study = tunesmith.search(["search=asha", "space=finetune"])
    model = tunesmith.load("runs/default/2026-11-27_10-00-00-ab12")

and the classes to derive your own from: Task (TextTask where a model reads texts), Column,
Policy, Sampler, Executor.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tunesmith.data.columns import Column
    from tunesmith.inference.finished_run import FinishedRun, load
    from tunesmith.search.api import Study, train
    from tunesmith.search.executors.base import Executor
    from tunesmith.search.policies.base import Policy
    from tunesmith.search.samplers.base import Sampler
    from tunesmith.tasks.base import Task
    from tunesmith.tasks.bases.text_task import TextTask

__version__ = "0.1.0"
__all__ = [
    "Column",
    "Executor",
    "FinishedRun",
    "Policy",
    "Sampler",
    "Study",
    "Task",
    "TextTask",
    "load",
    "search",
    "train",
]

# Imported when first asked for: torch comes with some, and `tunesmith --help` must not wait.
_MODULES = {
    "Column": "data.columns",
    "Executor": "search.executors.base",
    "FinishedRun": "inference.finished_run",
    "Policy": "search.policies.base",
    "Sampler": "search.samplers.base",
    "Study": "search.api",
    "Task": "tasks.base",
    "TextTask": "tasks.bases.text_task",
    "load": "inference.finished_run",
    "train": "search.api",
}


def __getattr__(name: str) -> Any:
    if name == "search":  # the package itself is the function: see there
        return importlib.import_module("tunesmith.search")
    if name in _MODULES:
        return getattr(importlib.import_module(f"tunesmith.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'tunesmith' has no attribute {name!r}")
