"""Hold your own task, policy, sampler or executor to what ours promise.

In a test file of yours:

    from tunesmith.testing import PolicyConformance

    class TestHalf(PolicyConformance):
        def make_policy(self):
            return Half(rungs=[0.5, 1])

and `pytest` runs every promise of `Policy` on it.
"""

from collections.abc import Sequence
from typing import Any

from tunesmith.search.executors import executor_conformance
from tunesmith.search.policies.policy_conformance import PolicyConformance
from tunesmith.search.samplers.sampler_conformance import SamplerConformance
from tunesmith.tasks import task_conformance
from tunesmith.tasks.base import Task

__all__ = ["ExecutorConformance", "PolicyConformance", "SamplerConformance", "TaskConformance"]


class TaskConformance(task_conformance.TaskConformance):
    """Say by `overrides` what you would type after `python train.py`; pytest runs the rest."""

    overrides: Sequence[str]
    most_rows = 16

    def make_task(self, seed: int) -> Task:
        from tunesmith.pipeline.components import build_task

        config, inputs = self._loaded(seed)
        return build_task(config, inputs)[0]

    def rows(self) -> list[dict[str, Any]]:
        _, inputs = self._loaded(0)
        rows: list[dict[str, Any]] = inputs.rows.splits["train"].to_list()
        return rows[: self.most_rows]

    def _loaded(self, seed: int) -> Any:
        from tunesmith.config import resolved
        from tunesmith.config.composer import Composer
        from tunesmith.pipeline.inputs import load_inputs

        config = resolved(Composer()([*self.overrides, f"seed={seed}"]))
        return config, load_inputs(config)


class ExecutorConformance(executor_conformance.ExecutorConformance):
    """Say by `overrides` what you would type: a run of seconds; pytest trains it, and stops it."""

    overrides: Sequence[str]

    def config_of(self, overrides: Sequence[str]) -> dict[str, Any]:
        from tunesmith.config.composer import Composer

        return Composer().plain([*self.overrides, *overrides])
