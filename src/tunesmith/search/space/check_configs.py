"""A space held against the configs that it makes: every choice composed and checked, once."""

from collections.abc import Callable, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from tunesmith import config
from tunesmith.config import instantiate
from tunesmith.errors import ConfigError, SeveralError, TunesmithError
from tunesmith.search.space.dimension import Dimension, same
from tunesmith.search.space.quoting import quoted
from tunesmith.search.space.space import Space

Choices = frozenset[str]  # of groups: {"model=minilm", "adapt=full"}
Compose = Callable[[list[str]], DictConfig]  # of one run's overrides; raises TunesmithError


def check_space(space: Space, compose: Compose) -> list[TunesmithError]:
    """Return every mistake of the configs at the corners of a space, each once.

    Each choice of a group is composed with all else at its first value (`overrides.composer`
    makes the function); each other choice and both ends of a range are set in such a config.
    """
    corners = _Corners(space, compose)
    for dimension in space.parents_first:
        for value in dimension.ends():
            corners.visit(dimension, value)
    if not space.dimensions:
        corners.compose(frozenset(), {})
    return corners.check_errors() + corners.unlike_scores()


def check_point(space: Space, params: Mapping[str, Any]) -> list[TunesmithError]:
    """Return what is wrong with a point that the user gives; keys left out stay as by default."""
    active = {d.key for d in space.active(params)}
    return [error for key, value in params.items() if (error := _wrong(space, active, key, value))]


def _wrong(space: Space, active: set[str], key: str, value: Any) -> TunesmithError | None:
    dimension = space.by_key.get(key)
    if dimension is None:
        fix = config.suggestion(key, space.by_key)
        return ConfigError("CONF-KEY", key, "is not searched", fix)
    if key not in active:
        needs = ", ".join(f"{k}={quoted(v)}" for k, v in dimension.when.items())
        return ConfigError("CONF-SPACE", key, f"is only searched when {needs}")
    if not dimension.contains(value):
        return ConfigError("CONF-RANGE", f"{key}={quoted(value)}", "is outside of its range")
    return None


def _corner(space: Space, dimension: Dimension, value: Any) -> dict[str, Any]:
    """Return a point with this value where it is active, all else at its first value."""
    wanted: dict[str, Any] = {dimension.key: value}
    waiting = [dimension]
    while waiting:
        for key, allowed in waiting.pop().when.items():
            if key not in wanted:
                wanted[key] = allowed[0] if isinstance(allowed, list | tuple) else allowed
                waiting.append(space.by_key[key])
    params = {d.key: wanted.get(d.key, d.ends()[0]) for d in space.dimensions}
    return {d.key: params[d.key] for d in space.active(params)}


class _Corners:
    """Composes each combination of choices and active keys once, and keeps what was wrong."""

    def __init__(self, space: Space, compose: Compose) -> None:
        self.space, self._compose = space, compose
        self.configs: dict[str, DictConfig | None] = {}  # None: it cannot be composed
        self.tried: list[Choices] = []
        self.found: dict[str, TunesmithError] = {}
        self.met: dict[str, list[Choices]] = {}  # what was composed where a mistake was found

    def visit(self, dimension: Dimension, value: Any) -> None:
        params = _corner(self.space, dimension, value)
        choices = frozenset(f"{d.key}={quoted(params[d.key])}" for d in self._groups(params))
        name = f"{sorted(choices)} {sorted(params)}"
        if name not in self.configs:
            self.configs[name] = self.compose(choices, params)
        elif not dimension.is_group and not same(value, dimension.ends()[0]):
            self._check_value(self.configs[name], dimension, value)

    def compose(self, choices: Choices, params: Mapping[str, Any]) -> DictConfig | None:
        self.tried.append(choices)
        try:
            cfg = self._compose([*self.space.fixed, *self.space.overrides(params)])
        except SeveralError as several:
            self._note(several.errors, choices)
            return None
        except TunesmithError as error:
            self._note([error], choices)
            return None
        with open_dict(cfg):
            cfg.pop("hydra", None)
        self._note(config.check(cfg), choices)
        return cfg

    def check_errors(self) -> list[TunesmithError]:
        return [self._with_choices(text, error) for text, error in self.found.items()]

    def unlike_scores(self) -> list[TunesmithError]:
        """Refuse tasks that are not judged by the same score: they could not be ranked."""
        if not any(d.is_group and d.key == "task" for d in self.space.dimensions):
            return []
        found: dict[tuple[str, str], str] = {}
        for cfg in filter(None, self.configs.values()):
            task = instantiate.resolve(cfg.task._target_, trust=cfg.trust)
            found.setdefault(config.monitor_of(cfg, task), task.__name__)
        if len(found) < 2:
            return []
        (one, first), (other, second) = [(name, task) for (name, _), task in found.items()][:2]
        what = f"{first} is judged by {one}, {second} by {other}: these do not compare"
        fix = "set callbacks.checkpoint.monitor to a score of both"
        return [ConfigError("CONF-MONITOR", "task", what, fix)]

    def _groups(self, params: Mapping[str, Any]) -> list[Dimension]:
        return [d for d in self.space.dimensions if d.is_group and d.key in params]

    def _check_value(self, cfg: DictConfig | None, dimension: Dimension, value: Any) -> None:
        """Set one value in a config, and check that; put the first value back."""
        if cfg is None:
            return
        OmegaConf.update(cfg, dimension.key, value, merge=False)
        self._note(config.check(cfg), None)
        OmegaConf.update(cfg, dimension.key, dimension.ends()[0], merge=False)

    def _note(self, errors: list[TunesmithError], choices: Choices | None) -> None:
        for error in errors:
            self.found.setdefault(str(error), error)
            if choices is not None:
                self.met.setdefault(str(error), []).append(choices)

    def _with_choices(self, text: str, error: TunesmithError) -> TunesmithError:
        """Add the choices that make it a mistake, where others do not."""
        choices = self._to_blame(text) - {error.where}
        if not choices:
            return error
        beside = f"with {' and '.join(sorted(choices))}"
        if error.code == "CONF-KEY" and error.where in self.space.by_key:
            fix = "in a space yaml, say under which it is searched: when: {...}"
            return ConfigError("CONF-KEY", error.where, f"no such key {beside}", fix)
        return type(error)(error.code, f"{error.where} {beside}", error.what, error.fix)

    def _to_blame(self, text: str) -> Choices:
        """Return the choices made wherever this was met, and nowhere else."""
        met = self.met.get(text, [])
        if not met:
            return frozenset()
        elsewhere = [choices for choices in self.tried if choices not in met]
        return frozenset.intersection(*met).difference(*elsewhere) if elsewhere else frozenset()
