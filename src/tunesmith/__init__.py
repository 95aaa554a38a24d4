"""Tunesmith: train one BERT-family encoder well, and find what trains it best."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tunesmith.inference.finished_run import load

__version__ = "0.1.0"
__all__ = ["load"]


def __getattr__(name: str) -> Any:
    if name == "load":  # torch comes with it: `tunesmith --help` must not wait for that
        from tunesmith.inference.finished_run import load

        return load
    raise AttributeError(f"module 'tunesmith' has no attribute {name!r}")
