"""Studies without training: a real store and controller over an executor that looks scores up."""

import math
from concurrent.futures import Future
from pathlib import Path

from support.plugins import node
from tunesmith.search.executors.base import Executor, WorkerStatus
from tunesmith.search.space.dimension import Dimension
from tunesmith.search.space.space import Space
from tunesmith.search.storage.study_db import StudyDatabase
from tunesmith.search.storage.study_facts import Objective
from tunesmith.search.study.search_loop import SearchLoop
from tunesmith.search.study.settings import Settings
from tunesmith.search.trial import Segment, result_of

RUNGS = (1 / 9, 1 / 3, 1.0)
HORIZON = 90  # steps of a whole trial
NUMERIC = (
    Dimension("lr", "float", 1e-5, 1e-2, log=True),
    Dimension("warmup", "float", 0.0, 0.2),
)
LISTED = (Dimension("lr", "categorical", None, None, choices=(1e-4, 1e-3, 1e-2)),)


class KilledError(BaseException):
    """The controller died here."""


def surface(params, until: float) -> float:
    """Best at lr=1e-3 without warmup; a longer training is a better one."""
    lr, warmup = params.get("lr", 1e-4), params.get("warmup", 0.1)
    return 1.0 - 0.1 * math.log10(lr / 1e-3) ** 2 - warmup - 0.3 * (1 - until)


class Scripted(Executor):
    """Answers at once, or dies when it is handed its `fatal`-th segment."""

    def __init__(
        self, fatal: int | None = None, score=surface, workers: int = 1, rows: int = 0
    ) -> None:
        self.workers, self.threads = workers, 1
        self.rows = {"validation": rows}
        self.fatal, self.score = fatal, score
        self.submitted: list[Segment] = []

    def submit(self, segment: Segment) -> Future:
        if self.fatal is not None and len(self.submitted) == self.fatal:
            raise KilledError
        self.submitted.append(segment)
        future: Future = Future()
        step = math.ceil(segment.until * HORIZON)
        value = self.score(segment.hparams, segment.until)
        if isinstance(value, float):
            entry = {"step": step, "score": value, "loss": None, "train_loss": None}
            facts = {"score": value, "step": step, "total_steps": HORIZON, "history": [entry]}
            facts["rows"] = self.rows
            future.set_result(result_of(segment, "done", best_step=step, **facts))
        else:
            future.set_result(result_of(segment, "failed", failure=value, error=f"{value} at lr"))
        return future

    def worker_status(self) -> list[WorkerStatus]:
        return []

    def kill(self, segment: Segment) -> None:
        raise AssertionError("nothing runs")

    def stop(self) -> None:
        pass

    def close(self) -> None:
        pass


def settings(
    sampler: str = "tpe", policy: str = "asha", trials: int | None = 9, **more
) -> Settings:
    known = {
        "replicates": 1,
        "seed": 0,
        "initial_points": (),
        "budget": None,
        "timeout": None,
        "max_disk": None,
        "max_failures": None,
        "patience": None,
        "retries": 3,
        "confirm_top": 0,
        "confirm_seeds": 2,
        "confirm_stop_early": True,
    }
    options = {"rungs": list(RUNGS), "reduction_factor": 3, "min_results_per_rung": 3}
    options |= {name: more.pop(name) for name in list(more) if name in options}
    nodes = {"sampler": node("sampler", sampler), "policy": node("policy", policy, **options)}
    return Settings(**nodes, trials=trials, **{**known, **more})


def study(
    folder: Path, executor: Executor, how: Settings, mode: str = "max", seeds=(0,)
) -> SearchLoop:
    """Open the study in `folder`, as a controller that is started does."""
    folder.mkdir(exist_ok=True, parents=True)
    space = Space(LISTED if how.lists_points else NUMERIC)
    store = StudyDatabase(folder, space.dimensions)
    if store.facts.objective is None:
        store.begin(Objective(metric="accuracy", mode=mode))
    return SearchLoop(
        folder,
        how,
        space,
        how.make_sampler(space),
        how.make_policy(),
        store,
        executor,
        lambda overrides: {"trainer": {"devices": 1}, "typed": list(overrides)},
        mode=mode,
        seeds=list(seeds),
        default=None if how.lists_points else {"lr": 1e-4, "warmup": 0.1},
    )


def search(folder: Path, executor: Executor, how: Settings, **more) -> SearchLoop:
    made = study(folder, executor, how, **more)
    try:
        made.search()
    finally:
        made.store.close()
    return made


def decisions(made: SearchLoop) -> list:
    """Return all that a study decided and found: to be compared with another's."""
    return [record.model_dump() for record in made.records]
