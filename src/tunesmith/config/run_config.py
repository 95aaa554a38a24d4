"""The whole config of a run as one typed value, and the type of each of its keys."""

import functools
from collections.abc import Mapping
from typing import Any

from pydantic import Field

from tunesmith.config.search_options import SearchOptions
from tunesmith.data.options import DataOptions
from tunesmith.models.options import ModelOptions
from tunesmith.runtime.options import (
    AnyMapping,
    FolderName,
    Key,
    LocalPath,
    Options,
    Packages,
    PathText,
    Seed,
    keys_of,
)
from tunesmith.training.options import CallbackOptions, TrainerOptions

Node = dict[str, Any]  # a group: a `_target_` and its arguments

TARGET_GROUPS = (
    "task",
    "loss",
    "adapt",
    "optimizer",
    "scheduler",
    "search.sampler",
    "search.policy",
    "executor",
)
LOGGERS = "logger"  # holds any number of nodes with a target


class PathOptions(Options):
    """Where a run writes."""

    runs: PathText = Field(description="The folder below which every run writes.")
    cache: PathText = Field(description="The folder of encoded data, which all runs share.")


class RunConfig(Options):
    """The whole config of a run; a group with a `_target_` stays a plain mapping."""

    name: FolderName = Field(description="The run directory is <paths.runs>/<name>/<time>-<id>.")
    study: FolderName | None = Field(
        description="-m: the name of the search; the same name goes on with it."
    )
    seed: Seed = Field(
        description="The seed of head, data order and dropout; data.split.seed is the split's."
    )
    test: bool = Field(
        description="true: the best checkpoint is scored on the test split at the end."
    )
    resume: LocalPath | None = Field(
        description="RUN goes on in that directory; auto: the newest unfinished run of this config."
    )
    ckpt_path: LocalPath | None = Field(
        description="best, last or a file: a new run that starts from that checkpoint."
    )
    trust: Packages = Field(
        description="Your own packages that a config may name, as in optimizer._target_=mine.Lion."
    )
    space: AnyMapping = Field(
        description="-m: what is varied, besides what the command line varies."
    )
    paths: PathOptions
    data: DataOptions
    model: ModelOptions
    trainer: TrainerOptions
    callbacks: CallbackOptions
    search: SearchOptions
    task: Node
    loss: Node
    adapt: Node
    optimizer: Node
    scheduler: Node
    executor: Node
    logger: dict[str, Node]

    def with_options(self, group: str, **changes: Any) -> "RunConfig":
        """Return the config with other options of a plain group."""
        return self.model_copy(update={group: getattr(self, group).model_copy(update=changes)})


def node_of(values: Mapping[str, Any], group: str) -> Any:
    """Return what a config has for a group, such as search.policy; None where it has nothing."""
    node: Any = values
    for name in group.split("."):
        node = node.get(name) if isinstance(node, Mapping) else None
    return node


def target_group(path: str) -> str | None:
    """Return the group with a target that a key is below, or that it is."""
    return next((g for g in TARGET_GROUPS if path == g or path.startswith(f"{g}.")), None)


@functools.cache
def plain_keys() -> Mapping[str, Key]:
    """Return the keys of the groups without a target, by their paths."""
    nodes = (*TARGET_GROUPS, LOGGERS)
    return {key.path: key for key in keys_of(RunConfig) if key.path not in nodes}
