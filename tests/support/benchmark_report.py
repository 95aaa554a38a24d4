"""What every benchmark prints: one JSON object with its numbers and what they were taken on."""

import json
import sys
from pathlib import Path
from statistics import median
from typing import Any

from tunesmith.runtime import environment
from tunesmith.runtime.mask_secrets import mask_arguments

RESULTS = Path(__file__).parents[2] / "runs/benchmarks"


def spread(values: list[float]) -> dict[str, Any]:
    """Return the median of repeats with the smallest and the largest."""
    rounded = [round(value, 4) for value in values]
    return {"median": round(median(values), 4), "min": min(rounded), "max": max(rounded)}


def facts(precision: str = "auto") -> dict[str, Any]:
    """Return the command, the versions and the machine."""
    machine = environment.describe(precision)
    kept = ("packages", "python", "system", "processor", "cores", "threads", "precision", "git")
    command = mask_arguments(["python", *sys.orig_argv[1:]])
    return {"command": command, "machine": {name: machine[name] for name in kept}}


def report(benchmark: str, precision: str = "auto", **numbers: Any) -> None:
    """Print the numbers with versions, processor and command."""
    print(json.dumps({"benchmark": benchmark, **numbers, **facts(precision)}))


def write_results(name: str, results: dict[str, Any], tables: str) -> None:
    """Write numbers as JSON and tables as markdown to runs/benchmarks/; print the tables."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps({**results, **facts()}, indent=1))
    (RESULTS / f"{name}.md").write_text(f"{tables}\n")
    print(f"\n{tables}\n")
