"""A study's store is opened: as the study it has always been, or not at all."""

import logging
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tunesmith.config.interpolation import leaves
from tunesmith.errors import ConfigError, Interrupted, MachineError, TunesmithError
from tunesmith.reporting.results import SearchedDimension, StudySpec
from tunesmith.reporting.trial_results import CRASH, MACHINE
from tunesmith.runtime.mask_secrets import mask_arguments
from tunesmith.search.executors.base import Executor
from tunesmith.search.space.diff import differences
from tunesmith.search.space.space import Space
from tunesmith.search.storage.study_db import FILE, StudyDatabase
from tunesmith.search.storage.study_facts import Identity, Objective
from tunesmith.search.study.patience import check_noise_is_known
from tunesmith.search.study.segments import ConfigOf
from tunesmith.search.study.settings import Settings
from tunesmith.search.trial import Result, Segment, fault_of_machine

log = logging.getLogger(__name__)

MAY_CHANGE = (
    *("trials", "budget", "timeout", "max_disk", "max_failures", "patience", "retries", "trust"),
    "dry_run",
)
READ = {  # what a worker reads before the search -> how it is said that it is another one
    "rows": "the rows of train or validation have changed",
    "model": "the files of the base model (model.path) have changed",
}


def opened(
    folder: Path,
    space: Space,
    settings: Settings,
    executor: Executor,
    config_of: ConfigOf,
    choices: Sequence[str] = (),
) -> StudyDatabase:
    """Open the store, once a worker has read rows and model: they must be those it began with.

    `choices` are overrides that the worker's config needs besides what is fixed.
    Raises ConfigError for another study of this name, CheckError for what the worker refused.
    """
    now = identity_of(space, settings)
    store = _existing(folder, space)
    try:
        if store is not None:
            refuse_another(folder, store.facts.identity, now)
        found = _checked(folder, [*space.fixed, *choices], executor, config_of, settings.retries)
        seeds = len(space.seeds) or settings.replicates
        check_noise_is_known(settings.patience, found.metric, seeds)
        now = now.model_copy(update={"inputs": dict(found.inputs)})
        if store is None:
            store = StudyDatabase(folder, space.dimensions)
            store.begin(Objective.model_validate({"metric": found.metric, "mode": found.mode}))
        refuse_another(folder, store.facts.identity, now)
        store.set("identity", now)
    except BaseException:
        if store is not None:
            store.close()
        raise
    return store


def _existing(folder: Path, space: Space) -> StudyDatabase | None:
    """Return the store of a study that goes on; one that was killed before it was one is none."""
    if not (folder / FILE).exists():
        return None
    store = StudyDatabase(folder, space.dimensions)
    if store.facts.objective is not None:
        return store
    store.close()
    (folder / FILE).unlink()
    return None


def _checked(
    folder: Path, overrides: list[str], executor: Executor, config_of: ConfigOf, retries: int
) -> Result:
    """Ask a worker what decides, and whether rows and model are there and which they are.

    Another is asked where it died. Raises MachineError where that helps nothing, CheckError for
    what a worker refused, Interrupted where one was told to stop.
    """
    config = config_of(overrides)
    segment = Segment(-1, 0, 0, 1.0, 0, str(folder), config, overrides, None, kind="check")
    for attempt in range(retries + 1):
        found = executor.submit(replace(segment, attempt=attempt)).result()
        if found.state == "done":
            return found
        if found.state != "interrupted" or found.failure != CRASH:
            break
        log.warning("the check of the study: %s", found.error)
    if found.state == "interrupted" and found.failure is None:
        raise Interrupted
    if found.failure == MACHINE:
        raise fault_of_machine(found)
    if found.failure == CRASH:
        what = f"the study could not be checked: {found.error}"
        raise MachineError(
            "ENV-WORKER", "executor", what, "look at the machine's memory and limits"
        )
    raise CheckError(found)


class CheckError(TunesmithError):
    """What a worker found wrong with the study's own config, as it said it."""

    def __init__(self, result: Result) -> None:
        self.said = str(result.error)
        self.exit_code = result.exit_code or 1
        super().__init__("STUDY-CHECK", "", self.said)

    def __str__(self) -> str:
        return self.said


def identity_of(space: Space, settings: Settings) -> Identity:
    """Return what the study is, as far as the command line says it.

    What decides, and its direction, follow from what is fixed and from the frozen config: the
    space has them.
    """
    fixed = {k: v for k, v in vars(settings).items() if k not in MAY_CHANGE and "confirm" not in k}
    plain = {k: list(v) if isinstance(v, tuple) else v for k, v in fixed.items()}
    return Identity(space=space.identity(), settings=dict(leaves(plain)))


def refuse_another(folder: Path, before: Identity | None, now: Identity) -> None:
    """Raise ConfigError with the differences where the study began as another one."""
    if before is None:
        return
    changes = differences(before.space, now.space)
    changes += [
        f"search.{key}: {before.settings.get(key)} -> {value}"
        for key, value in now.settings.items()
        if before.settings.get(key) != value
    ]
    changes += [
        f"{READ[key]} since it began"
        for key, value in now.inputs.items()
        if before.inputs.get(key, value) != value
    ]
    if changes:
        what = f"is another study: {'; '.join(changes[:4])}"
        raise ConfigError("STUDY-OTHER", f"study={folder.name}", what, "choose another name")


def spec_of(folder: Path, settings: Settings, space: Space, objective: Objective) -> StudySpec:
    """Return what the study was asked; the study database keeps it."""
    return StudySpec(
        study=folder.name,
        command=_command(),
        metric=objective.metric,
        mode=objective.mode,
        sampler=settings.names["sampler"],
        policy=settings.names["policy"],
        reduction_factor=settings.policy.get("reduction_factor", 0),
        seed=settings.seed,
        explicit_grid=settings.lists_points,
        rungs=list(settings.make_policy().rungs),
        space=[SearchedDimension.model_validate(d.plain()) for d in space.dimensions],
    )


def _command() -> list[str]:
    """Return what was typed, as one can type it again."""
    program, *words = mask_arguments(sys.argv)
    is_script = Path(program).suffix == ".py" and Path(program).name != "cli.py"
    return ["python", program, *words] if is_script else ["tunesmith", "train", *words]
