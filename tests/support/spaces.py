"""Read spaces as a sweep does, on one composed config."""

import functools

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf, open_dict

from tunesmith import config
from tunesmith.config import hydra_internals, override_parser
from tunesmith.config.composer import Composer
from tunesmith.search.space.check_configs import check_space
from tunesmith.search.space.dimension import Dimension
from tunesmith.search.space.parse import read
from tunesmith.search.space.space import Space

LR = "optimizer.lr"
FROZEN = {
    "adapt": ["full", "frozen"],
    "adapt.layers": {"choices": [1, 2], "when": {"adapt": "frozen"}},
}
CONDITIONAL = Space(
    (
        Dimension("adapt.layers", "categorical", choices=(1, 2), when={"adapt": "frozen"}),
        Dimension(LR, "categorical", choices=(1e-5, 2e-5, 3e-5)),
        Dimension("adapt", "categorical", choices=("full", "frozen"), is_group=True),
        Dimension("scheduler.warmup", "float", 0.0, 0.2, step=0.1, when={"adapt.layers": [2, 3]}),
    )
)


@functools.cache
def composed(*choices):
    with initialize_config_dir(str(config.CONF), version_base="1.3"):
        return compose("train", overrides=list(choices), return_hydra_config=True)


@functools.cache
def loader():
    return hydra_internals.loader(config.CONF)


@functools.cache
def composer():
    return Composer()


def reading(*texts, space=None, choices=(), adaptive=False):
    """Return the space and the mistakes; `space` stands for a yaml, `choices` are groups fixed."""
    cfg = composed(*choices).copy()
    if space is not None:
        with open_dict(cfg):
            cfg.space = OmegaConf.create(space)
    options = functools.cache(loader().get_group_options)
    return read([*choices, *texts], cfg, options, adaptive)


def space_of(*texts, **settings):
    """Return a space without mistakes."""
    space, mistakes = reading(*texts, **settings)
    assert mistakes == []
    return space


def told(*texts, **settings):
    """Return the lines of every mistake that is found without composing."""
    return [str(error) for error in reading(*texts, **settings)[1]]


def told_of_configs(*texts, **settings):
    """Return the lines of every mistake of the configs that a space makes."""
    return [str(error) for error in check_space(space_of(*texts, **settings), composer())]


def values_of(text):
    """Return what Hydra reads in an override."""
    return override_parser.parse_override(text).value()
