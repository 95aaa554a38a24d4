"""What `search` says, read into plain values."""

from dataclasses import dataclass
from typing import Any

from tunesmith.search.units import BYTES, SECONDS, amount


@dataclass(frozen=True)
class Settings:
    """The `search` group; durations in seconds, sizes in bytes."""

    sampler: str
    policy: str
    trials: int | None
    replicates: int
    seed: int
    rungs: tuple[float, ...]
    reduction_factor: int
    min_results_per_rung: int
    initial_points: tuple[dict[str, Any], ...]
    budget: float | None
    timeout: float | None
    max_disk: float | None
    max_failures: int | None
    retries: int
    confirm_top: int
    confirm_seeds: int

    @property
    def is_grid(self) -> bool:
        """An explicit grid runs exactly what was listed: no default, no confirmation unasked."""
        return self.sampler == "grid"


def settings_from(search: dict[str, Any]) -> Settings:
    """Read the group; raises ConfigError for an amount that is none."""
    from tunesmith.search.policies.rungs import parse_rungs

    plain = {k: v for k, v in search.items() if k not in ("confirm", "_target_")}
    plain |= {
        "rungs": parse_rungs(search["rungs"]),
        "initial_points": tuple(search["initial_points"]),
        "budget": amount("search.budget", search["budget"], SECONDS, "30min"),
        "timeout": amount("search.timeout", search["timeout"], SECONDS, "2h"),
        "max_disk": amount("search.max_disk", search["max_disk"], BYTES, "20GB"),
        "confirm_top": search["confirm"]["top"],
        "confirm_seeds": search["confirm"]["seeds"],
    }
    return Settings(**plain)
