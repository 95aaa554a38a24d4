"""Runs on the screen: the table of them all, and all of one."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tunesmith.config import yaml_safety
from tunesmith.config.interpolation import leaves
from tunesmith.errors import TunesmithError, printable
from tunesmith.reporting.terminal.cells import SPLITS, cell, number, scores
from tunesmith.runs.find import closed_folders, find, is_finished, resolve
from tunesmith.runs.lock import is_held
from tunesmith.runs.safe_io import read_json, read_text, trouble_with, trouble_with_json
from tunesmith.runs.status import read_status

CLOSED = "unreadable: permission denied"  # a folder that may not be looked into


def listing(folder: Path) -> RenderableType:
    """Return the table of `tunesmith runs`: every run below a folder, the newest last."""
    runs, closed = find(folder), closed_folders(folder)
    if not runs and not closed:
        return Text(f"no runs below {printable(str(folder))}")
    table = Table(box=box.SIMPLE, pad_edge=False)
    for column in ("run", "state", "steps", "best", "test"):
        table.add_column(column, overflow="fold")
    for run in runs:
        table.add_row(*(cell(value) for value in _summary_of(run, Path(folder))))
    for path in closed:
        table.add_row(cell(path.relative_to(folder)), cell(CLOSED))
    return table


def show(run: Path) -> RenderableType:
    """Return what `tunesmith show RUN` prints: overrides, scores, environment, files."""
    run = resolve(run)
    status, metrics = read_status(run), read_json(run / "metrics.json")
    state = cell(" ".join(str(part) for part in (run, _state(run, status)) if part))
    parts: list[RenderableType] = [state]
    if status.get("error"):
        parts.append(cell(status["error"]))
    overrides = [line.removeprefix("- ") for line in read_text(run / "overrides.yaml").splitlines()]
    parts += [_section("overrides", [[line] for line in overrides if line.strip() != "[]"])]
    parts += [_section("scores", _score_rows(metrics))]
    parts += [_section("environment", _environment(run))]
    parts += [_section("files", _files(run))]
    return Group(*parts)


def _summary_of(run: Path, folder: Path) -> list[Any]:
    status, metrics = read_status(run), read_json(run / "metrics.json")
    monitor, best = metrics.get("monitor"), metrics.get("best")
    monitor, best = monitor or status.get("monitor"), status.get("best") if best is None else best
    tests = [
        f"{name} {number(pair[1])}"
        for name, pair in scores(metrics).items()
        if pair[1] is not None and "/" not in name  # one language's: `show` tells
    ]
    name = run.relative_to(folder) if run != folder else run
    steps = metrics.get("steps", status.get("step", ""))
    shown = f"{monitor} {number(best)}" if monitor else ""
    trouble = _trouble(run)
    state = _state(run, status) if trouble is None else f"unreadable: {trouble}"
    return [name, state, steps, shown, "  ".join(tests)]


def _trouble(run: Path) -> str | None:
    """Say which file of a run cannot be read, and why; None where all can."""
    for name in ("status.json", "metrics.json"):
        if trouble := trouble_with_json(run / name):
            return f"{name} {trouble}"
    config = run / "config.yaml"
    if trouble := trouble_with(config):
        return f"config.yaml {trouble}"
    if not config.exists():
        return "no config.yaml"
    try:
        yaml_safety.scan(config)
    except TunesmithError as error:
        return f"config.yaml: {error.what}"
    return None


def _state(run: Path, status: Mapping[str, Any]) -> str:
    if is_finished(run):
        return "finished"
    state = str(status.get("state", "unfinished"))
    return "killed" if state == "running" and not is_held(run) else state


def _score_rows(metrics: Mapping[str, Any]) -> list[list[Any]]:
    rows = [
        [f"{split}/{name}", number(value)]
        for name, pair in scores(metrics).items()
        for split, value in zip(SPLITS, pair, strict=True)
        if value is not None
    ]
    others = {key: value for key, value in metrics.items() if key not in ("scores", "baseline")}
    plain = [[k, v] for k, v in others.items() if isinstance(v, (str, int, float))]
    return rows + plain


def _section(title: str, rows: Sequence[Sequence[Any]]) -> RenderableType:
    table = Table(box=None, pad_edge=False, show_header=False)
    for row in rows or [["none"]]:
        table.add_row("  ", *(cell(value) for value in row))
    return Group(Text(f"\n{title}", style="bold"), table)


def _environment(run: Path) -> list[list[Any]]:
    rows = [(path, v) for path, v in leaves(read_json(run / "environment.json")) if v != {}]
    return [[path, " ".join(map(str, v)) if isinstance(v, list) else v] for path, v in rows]


def _files(run: Path, most: int = 50) -> list[list[Any]]:
    rows: list[list[Any]] = []
    for path in sorted(run.rglob("*")):
        if path.is_file() and not path.is_symlink() and len(rows) < most:
            rows.append([path.relative_to(run), f"{path.stat().st_size:,} bytes"])
    return rows
