"""The space of a search, read from the command line and from `space=...`, mistakes all at once."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from tunesmith.config import check_value, schema
from tunesmith.config.override_parser import parse_override
from tunesmith.errors import ConfigError, SeveralError, TunesmithError
from tunesmith.search.space import check_dimension, conditions, parse_cli, parse_yaml
from tunesmith.search.space.dimension import Dimension
from tunesmith.search.space.parse_cli import Options
from tunesmith.search.space.space import Space

log = logging.getLogger(__name__)


def read(
    overrides: Sequence[str], cfg: DictConfig, options: Options, adaptive: bool = False
) -> tuple[Space, list[TunesmithError]]:
    """Return the space that these overrides and `cfg.space` make, and every mistake in them.

    `cfg` is what Hydra composed of the overrides that are no sweep, its own node included, and
    `options` its loader's `get_group_options`. An adaptive search refuses more keys than a grid.
    What needs a composed config is checked by `check_space`. The space lacks what is mistaken.
    """
    reader = _Reader(cfg, options, adaptive)
    reader.read_listed()
    for text in overrides:
        reader.attempt(reader.read_override, text)
    return reader.space(), reader.mistakes


class _Reader:
    """Collects dimensions, fixed overrides and mistakes on the way through the sources."""

    def __init__(self, cfg: DictConfig, options: Options, adaptive: bool) -> None:
        self.cfg, self.options, self.adaptive = cfg, options, adaptive
        self.dimensions: dict[str, Dimension] = {}
        self.typed: set[str] = set()  # keys with several values on the command line
        self.fixed: list[tuple[str, str]] = []  # (key, the override that fixes it)
        self.seeds: tuple[int, ...] = ()
        self.mistakes: list[TunesmithError] = []

    def attempt(self, function: Any, *arguments: Any) -> None:
        try:
            function(*arguments)
        except SeveralError as several:
            self.mistakes += several.errors
        except TunesmithError as error:
            self.mistakes.append(error)

    def read_listed(self) -> None:
        """Read the space yaml."""
        node = OmegaConf.select(self.cfg, "space")
        entries: Any = OmegaConf.to_container(node, resolve=True) if node is not None else {}
        for key, entry in entries.items():
            self.attempt(self._read_entry, str(key), entry)

    def _read_entry(self, key: str, entry: Any) -> None:
        self.dimensions[key] = parse_yaml.dimension(key, entry, self.options)

    def read_override(self, text: str) -> None:
        """Sort one override of the command line."""
        override = parse_override(text)
        key = override.get_key_element().lstrip("+~")
        if not override.is_sweep_override():
            self.fixed.append((key, text))
        elif key == "seed":
            self._read_seeds(override)
        else:
            self._read_sweep(key, override)

    def _read_seeds(self, override: Any) -> None:
        """Take the seeds as replicates."""
        replicates = OmegaConf.select(self.cfg, "search.replicates")
        if replicates != 1:
            where = f"search.replicates={replicates}"
            what = f"and {override.input_line} both say over which seeds a trial is repeated"
            raise ConfigError("CONF-SWEEP", where, what, "give one of them")
        dimension = parse_cli.dimension(override, self.options)
        if not dimension.is_listed:
            fix = "seed=1,2,3 or seed=range(1,4)"
            raise ConfigError("CONF-SWEEP", override.input_line, "seeds repeat a trial: list", fix)
        seeds = dimension.values()
        wrong = [check_value("seed", seed) for seed in seeds]
        self.mistakes += [error for error in wrong if error is not None]
        if len(set(map(str, seeds))) < len(seeds) or self.seeds:
            raise ConfigError("CONF-SWEEP", override.input_line, "a seed is listed twice")
        self.seeds = tuple(seed for seed, error in zip(seeds, wrong, strict=True) if error is None)

    def _read_sweep(self, key: str, override: Any) -> None:
        """Let a range of the command line take the place of the same key's in the yaml."""
        if key in self.typed:
            raise ConfigError("CONF-BOTH", key, "has two ranges on the command line", "give one")
        self.typed.add(key)
        found = parse_cli.dimension(override, self.options)
        before = self.dimensions.get(key)
        if before is not None:
            found = Dimension(**{**vars(found), "when": before.when})
        self.dimensions[key] = found

    def space(self) -> Space:
        """Put together what is right."""
        right = {key: d for key, d in self.dimensions.items() if self._is_right(d)}
        known = _Known(self.cfg, self.options)
        wrong = list(conditions.errors_in(right, known, [*schema.packaged_keys(), *known.choices]))
        self.mistakes += wrong
        stay, out = ({}, []) if wrong else conditions.always_searched(right, known)
        for dimension, condition in out:
            self._leave_out(dimension, condition)
        if self.adaptive and not (self.dimensions or self.mistakes):
            fix = "give ranges, or space=finetune"
            self.mistakes.append(ConfigError("CONF-SPACE", "space", "nothing is searched", fix))
        return Space(tuple(stay.values()), self._retained(), self.seeds)

    def _is_right(self, dimension: Dimension) -> bool:
        found = list(check_dimension.errors_in(dimension, self.options, self.adaptive))
        for text in [text for key, text in self.fixed if key == dimension.key][:1]:
            fix = "leave it out of one" if dimension.key in self.typed else _to_hold(text)
            found.append(ConfigError("CONF-BOTH", text, "is fixed here, and searched too", fix))
        self.mistakes += found
        return not found

    def _leave_out(self, dimension: Dimension, condition: str) -> None:
        """Accept that a yaml lists more than fits this config; a typed range must count."""
        if dimension.key in self.typed:
            what = f"is only searched when {condition}, which does not hold"
            self.mistakes.append(ConfigError("CONF-SPACE", dimension.key, what))
        log.info("%s is not searched: it needs %s", dimension.key, condition)

    def _retained(self) -> tuple[str, ...]:
        """Return the overrides of trials: those that are not of the search itself."""
        of = {text: key.replace("/", ".").partition(".")[0] for key, text in self.fixed}
        return tuple(text for _, text in self.fixed if of[text] not in check_dimension.CONTROL)


class _Known:
    """Looks up what a key, or a group, is in all trials."""

    def __init__(self, cfg: DictConfig, options: Options) -> None:
        self.cfg, self.options = cfg, options
        self.choices: Mapping[str, Any] = OmegaConf.select(cfg, "hydra.runtime.choices") or {}

    def __call__(self, key: str) -> Any:
        if self.options(key):
            return self.choices.get(key, conditions.ABSENT)
        return OmegaConf.select(self.cfg, key, default=conditions.ABSENT)


def _to_hold(text: str) -> str:
    """Say how to hold one value where a space yaml lists several."""
    key, _, value = text.partition("=")
    return f"to hold it: '{key}=choice({value})'"
