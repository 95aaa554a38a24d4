"""What `search` says, read into plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunesmith.config import instantiate
from tunesmith.errors import ConfigError
from tunesmith.search.policies.base import Policy
from tunesmith.search.samplers.base import Sampler
from tunesmith.search.space.space import Space
from tunesmith.search.units import BYTES, SECONDS, amount


@dataclass(frozen=True)
class Settings:
    """The `search` group; durations in seconds, sizes in bytes."""

    sampler: Mapping[str, Any]  # a target and its arguments
    policy: Mapping[str, Any]
    trials: int | None
    replicates: int
    seed: int
    initial_points: tuple[dict[str, Any], ...]
    budget: float | None
    timeout: float | None
    max_disk: float | None
    max_failures: int | None
    retries: int
    patience: int | None
    confirm_top: int
    confirm_seeds: int
    confirm_stop_early: bool

    dry_run: bool = False
    trust: tuple[str, ...] = ()  # packages that may define sampler and policy

    @property
    def lists_points(self) -> bool:
        """An explicit grid runs what was listed: no default config, no confirmation unasked."""
        return instantiate.resolve(self.sampler[instantiate.TARGET], self.trust).lists_points

    def make_policy(self) -> Policy:
        """Build the policy; raises ConfigError for rungs that it cannot use."""
        policy = instantiate.instantiate(self.policy, trust=self.trust)
        return _of_type("search.policy", policy, Policy)

    def make_sampler(self, space: Space) -> Sampler:
        """Build the sampler; raises ConfigError for a space that it cannot propose points of."""
        sampler = instantiate.instantiate(
            self.sampler, trust=self.trust, space=space, seed=self.seed
        )
        return _of_type("search.sampler", sampler, Sampler)

    @property
    def names(self) -> dict[str, str]:
        """Return the short names of sampler and policy, as a report shows them."""
        nodes = {"sampler": self.sampler, "policy": self.policy}
        return {name: _short(node[instantiate.TARGET]) for name, node in nodes.items()}


def _short(target: str) -> str:
    last = target.rpartition(".")[2]
    return last.removesuffix("Sampler").removesuffix("Policy").lower() or last


def _of_type(path: str, value: Any, kind: type[Any]) -> Any:
    if not isinstance(value, kind):
        what = f"{type(value).__name__} is no {kind.__name__} of {kind.__module__}"
        raise ConfigError("CONF-TARGET", path, what)
    return value


def settings_from(search: Mapping[str, Any], trust: Sequence[str] = ()) -> Settings:
    """Read the group; raises ConfigError for an amount that is none."""
    plain = {k: v for k, v in search.items() if k != "confirm"}
    plain |= {
        "initial_points": tuple(search["initial_points"]),
        "budget": amount("search.budget", search["budget"], SECONDS, "30min"),
        "timeout": amount("search.timeout", search["timeout"], SECONDS, "2h"),
        "max_disk": amount("search.max_disk", search["max_disk"], BYTES, "20GB"),
        "confirm_top": search["confirm"]["top"],
        "confirm_seeds": search["confirm"]["seeds"],
        "confirm_stop_early": search["confirm"]["stop_early"],
        "trust": tuple(trust),
    }
    return Settings(**plain)
