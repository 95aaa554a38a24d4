"""What every executor promises, as tests: subclass `ExecutorConformance` in a test file."""

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

from tunesmith.reporting.trial_results import CRASH
from tunesmith.search.executors.base import Executor
from tunesmith.search.trial import Result, Segment

LONG = ["trainer.max_epochs=1000", "callbacks.checkpoint.every_n_steps=1"]


class ExecutorConformance:
    """Say how the executor is made, of one worker; pytest runs the rest, with real trainings."""

    seconds = 120.0  # that a small training may take, the start of a worker included

    def make_executor(self) -> Executor:
        raise NotImplementedError

    def config_of(self, overrides: list[str]) -> dict[str, Any]:
        """Return the resolved config of these overrides, of a training of a few steps."""
        raise NotImplementedError

    def test_a_segment_comes_back_with_its_score_and_leaves_a_run(self) -> None:
        with self._executor() as (executor, folder):
            first = self._segment(folder, 0)
            results = [self._ended(executor.submit(s)) for s in (first, replace(first, attempt=1))]
            for attempt, result in enumerate(results):  # the second finds that all is done
                assert (result.trial, result.attempt, result.state) == (0, attempt, "done")
                assert result.score is not None and result.step == result.total_steps > 0
            assert results[0].history == results[1].history
            assert (Path(first.directory) / "metrics.json").is_file()
            assert [status.segment for status in executor.worker_status()] == [None]

    def test_a_faulty_segment_fails_for_good_and_the_next_one_runs(self) -> None:
        with self._executor() as (executor, folder):
            config = self.config_of([])
            config["data"]["train_file"] = str(folder / "nothing.csv")
            faulty = replace(self._segment(folder, 0), config=config)
            result = self._ended(executor.submit(faulty))
            assert result.state == "failed" and result.error
            assert self._ended(executor.submit(self._segment(folder, 1))).state == "done"

    def test_a_stopped_segment_comes_back_interrupted_and_goes_on(self) -> None:
        with self._executor() as (executor, folder):
            long, waiting = self._segment(folder, 0, LONG), self._segment(folder, 1)
            futures = [executor.submit(long), executor.submit(waiting)]
            self._wait_until(lambda: _trains(long))
            executor.stop()
            for result in map(self._ended, futures):
                assert (result.state, result.failure) == ("interrupted", None), result.error
            assert not (Path(waiting.directory) / "status.json").exists()
            assert self._ended(executor.submit(waiting)).state == "done"

    def test_a_killed_segment_is_a_crash_and_the_next_one_runs(self) -> None:
        with self._executor() as (executor, folder):
            long = self._segment(folder, 0, LONG)
            future = executor.submit(long)
            self._wait_until(lambda: _trains(long))
            running = [(s.segment.key, s.since) for s in executor.worker_status() if s.segment]
            assert [key for key, _ in running] == [long.key]
            assert all(since is not None for _, since in running)
            executor.kill(long)
            result = self._ended(future)
            assert (result.state, result.failure) == ("interrupted", CRASH) and result.error
            assert self._ended(executor.submit(self._segment(folder, 1))).state == "done"

    @contextlib.contextmanager
    def _executor(self) -> Iterator[tuple[Executor, Path]]:
        with tempfile.TemporaryDirectory() as folder, self.make_executor() as executor:
            executor.check(Path(folder))
            yield executor, Path(folder)

    def _segment(self, folder: Path, trial: int, overrides: list[str] | None = None) -> Segment:
        config, where = self.config_of(overrides or []), str(folder / f"trials/{trial:04d}")
        return Segment(trial, 0, 0, 1.0, 0, where, config, overrides or [], {})

    def _ended(self, future: "Future[Result]") -> Result:
        return future.result(timeout=self.seconds)

    def _wait_until(self, holds: Callable[[], bool]) -> None:
        until = time.monotonic() + self.seconds
        while not holds():
            assert time.monotonic() < until, "nothing has begun"
            time.sleep(0.05)


def _trains(segment: Segment) -> bool:
    return (Path(segment.directory) / "checkpoints" / "last.ckpt").is_file()
