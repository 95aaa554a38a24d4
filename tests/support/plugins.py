"""Samplers and policies as their yaml files name them."""

from collections.abc import Sequence
from typing import Any

from omegaconf import OmegaConf

from tunesmith.config import CONF, instantiate
from tunesmith.search.policies.base import Policy
from tunesmith.search.samplers.base import Sampler
from tunesmith.search.space.space import Space


def names(group: str) -> list[str]:
    return sorted(file.stem for file in (CONF / "search" / group).glob("*.yaml"))


def node(group: str, name: str, **options: Any) -> dict[str, Any]:
    """Return the node of a packaged sampler or policy; only the options that it has are set."""
    file = CONF / "search" / group / f"{name}.yaml"
    packaged: dict[str, Any] = OmegaConf.to_container(OmegaConf.load(file))  # type: ignore[assignment]
    return packaged | {key: value for key, value in options.items() if key in packaged}


def make_sampler(name: str, space: Space, seed: int) -> Sampler:
    return instantiate.instantiate(node("sampler", name), space=space, seed=seed)


def make_policy(
    name: str, rungs: Sequence[Any], reduction_factor: int, min_results_per_rung: int = 5
) -> Policy:
    options = {"reduction_factor": reduction_factor, "min_results_per_rung": min_results_per_rung}
    return instantiate.instantiate(node("policy", name, rungs=list(rungs), **options))
