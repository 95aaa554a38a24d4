"""Samplers by their names in `search.sampler`: each proposes points of a space."""

from tunesmith.errors import ConfigError, did_you_mean
from tunesmith.search.samplers.base import Observation as Observation
from tunesmith.search.samplers.base import Sampler as Sampler
from tunesmith.search.samplers.cmaes import CmaesSampler
from tunesmith.search.samplers.gp import GpSampler
from tunesmith.search.samplers.grid import GridSampler
from tunesmith.search.samplers.qmc import QmcSampler
from tunesmith.search.samplers.random import RandomSampler
from tunesmith.search.samplers.tpe import TpeSampler
from tunesmith.search.space.space import Space

SAMPLERS: dict[str, type[Sampler]] = {
    "grid": GridSampler,
    "random": RandomSampler,
    "qmc": QmcSampler,
    "tpe": TpeSampler,
    "gp": GpSampler,
    "cmaes": CmaesSampler,
}


def sampler(name: str, space: Space, seed: int) -> Sampler:
    """Return a sampler; raise ConfigError for an unknown name, or one not for this space."""
    if name not in SAMPLERS:
        fix = did_you_mean(name, SAMPLERS) or f"there are {', '.join(SAMPLERS)}"
        raise ConfigError("CONF-SAMPLER", f"search.sampler={name}", "no such sampler", fix)
    return SAMPLERS[name](space, seed)
