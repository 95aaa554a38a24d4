"""Searches for hyperparameters. The package is also the function `tunesmith.search(overrides)`."""

import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class _Search(types.ModuleType):
    """A module that can be called: the name stands for both."""

    def __call__(self, overrides: Sequence[str], config_dir: str | Path | None = None) -> Any:
        from tunesmith.search import api

        return api.search(overrides, config_dir)


sys.modules[__name__].__class__ = _Search
