"""A study's store is opened: as the study it has always been, or not at all."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tunesmith import environment
from tunesmith.errors import ConfigError, TunesmithError
from tunesmith.sweep.differences import differences
from tunesmith.sweep.executors.base import Executor
from tunesmith.sweep.settings import Settings
from tunesmith.sweep.space import Space
from tunesmith.sweep.store import FILE, Store
from tunesmith.sweep.trial import Result, Segment

ConfigOf = Callable[[Sequence[str]], dict[str, Any]]
MAY_CHANGE = ("trials", "budget", "timeout", "max_disk", "max_failures", "retries")


def opened(
    folder: Path, space: Space, executor: Executor, config_of: ConfigOf
) -> tuple[Store, str, str]:
    """Open the store; of a new study ask a worker first what decides, and whether all is there."""
    if (folder / FILE).exists():
        store = Store(folder, folder.name, "max", space.dimensions)
        if "objective" in store.attributes:
            return store, *store.attributes["objective"]
        store.close()
        (folder / FILE).unlink()  # killed before it was a study
    config = config_of(list(space.fixed))
    segment = Segment(-1, 0, 0, 1.0, 0, str(folder), config, list(space.fixed), None, kind="check")
    found = executor.submit(segment).result()
    if found.state != "done":
        raise CheckError(found)
    store = Store(folder, folder.name, found.mode, space.dimensions)
    store.set("objective", [found.metric, found.mode])
    return store, found.metric, found.mode


class CheckError(TunesmithError):
    """What a worker found wrong with the study's own config, as it said it."""

    def __init__(self, found: Result) -> None:
        self.said = found.error or "the worker that was to check the study died"
        self.exit_code = found.exit_code or 1
        super().__init__("STUDY-CHECK", "", self.said)

    def __str__(self) -> str:
        return self.said


def keep_identity(store: Store, space: Space, settings: Settings, folder: Path) -> None:
    """Write down what the study is, or refuse to go on with another one under its name.

    Raises ConfigError with the differences. What decides, and its direction, follow from what
    is fixed and from the frozen config: the space has them.
    """
    fixed = {k: v for k, v in vars(settings).items() if k not in MAY_CHANGE and "confirm" not in k}
    now: dict[str, Any] = {
        "space": space.identity(),
        "settings": {k: list(v) if isinstance(v, tuple) else v for k, v in fixed.items()},
    }
    before = store.attributes.get("identity")
    if before is None:
        store.set("identity", now)
        return
    changes = differences(before["space"], now["space"])
    changes += [
        f"search.{key}: {before['settings'][key]} -> {value}"
        for key, value in now["settings"].items()
        if before["settings"].get(key) != value
    ]
    if changes:
        what = f"is another study: {'; '.join(changes[:4])}"
        raise ConfigError("STUDY-OTHER", f"study={folder.name}", what, "choose another name")


def spec_of(
    folder: Path, settings: Settings, space: Space, metric: str, mode: str
) -> dict[str, Any]:
    """Return what the study was asked: it stands in the store, so that it can be told anew."""
    return {
        "study": folder.name,
        "command": _command(),
        "metric": metric,
        "mode": mode,
        "sampler": settings.sampler,
        "policy": settings.policy,
        "reduction_factor": settings.reduction_factor,
        "seed": settings.seed,
        "explicit_grid": settings.is_grid,
        "target": settings.trials,
        "rungs": list(settings.rungs),
        "space": [dimension.plain() for dimension in space.dimensions],
    }


def _command() -> list[str]:
    """Return what was typed, as one can type it again."""
    program, *words = environment.redact(sys.argv)
    is_script = Path(program).suffix == ".py" and Path(program).name != "cli.py"
    return ["python", program, *words] if is_script else ["tunesmith", "train", *words]
