"""The workload of each trial of a study: of those that are known, and of points yet to be drawn."""

import json
import random
import time
from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from itertools import islice
from statistics import fmean
from typing import Any, NamedTuple

from tunesmith.config import typed
from tunesmith.errors import TunesmithError
from tunesmith.search.cost.play_through import SearchShape
from tunesmith.search.cost.workload import Workload, no_workload, unit_workload, workload_of
from tunesmith.search.policies.base import count_started
from tunesmith.search.samplers.random import RandomSampler
from tunesmith.search.study.search_loop import SearchLoop
from tunesmith.search.trial import MeasuredCost

DRAWN = 32  # points that stand for those that a sampler will propose
LISTED = 256  # of a grid, whose points are known
COMPOSED = 24  # configs that are composed to know their steps; other trials are like one of these
MEASURED = 4  # models, adaptations and the like that are measured; others are like the first
SEED = 0  # of the draws
# Groups whose keys may decide a cost; of `task` the choice alone does. Dropout is left out.
COSTLY = frozenset({"model", "adapt", "data", "trainer", "experiment"})
# Of these what decides it by the law of `workload_of`; the others are measured at their values.
BY_LAW = frozenset(
    {
        "data.batch_size",
        "data.max_length",
        "trainer.max_epochs",
        "trainer.max_steps",
        "trainer.limit_train_batches",
        "trainer.val_check_interval",
    }
)


class Point(NamedTuple):
    """What decides the cost of a trial; the default config has its own."""

    params: Mapping[str, Any]
    is_default: bool = False

    @property
    def key(self) -> str:
        return "default" if self.is_default else _text(self.params, _decides)

    @property
    def kind(self) -> str:
        """The part of it that is measured, not scaled."""
        return _text(self.params, lambda key: _decides(key) and key not in BY_LAW)

    @property
    def measured_params(self) -> dict[str, Any]:
        """The params of its kind."""
        known: dict[str, Any] = json.loads(self.kind)
        return {key: self.params[key] for key in known}


class CostModel:
    """Says what trials of a study take, by what was measured of each kind of them.

    With nothing measured a whole training takes 1, whatever its point.
    """

    def __init__(self, loop: SearchLoop, measured: Mapping[str, MeasuredCost]) -> None:
        self.loop, self.measured = loop, dict(measured)
        self.points = points_of(loop)
        self.handover = 0.0  # seconds that the search itself takes for a segment
        self._known: dict[str, Workload] = {}

    @property
    def is_measured(self) -> bool:
        return bool(self.measured)

    @property
    def shape(self) -> SearchShape:
        """The search as it is to be played through."""
        loop = self.loop
        may_start = not (loop.exhausted or loop.patience.plateau)
        return SearchShape(
            loop.policy,
            loop.target if may_start else count_started(loop.standings),
            len(loop.seeds),
            max(1, loop.executor.workers // self._slots),
            loop.settings.confirm_top,
            loop.settings.confirm_seeds,
            loop.settings.confirm_stop_early,
            has_default=loop.default is not None,
        )

    @cached_property
    def _slots(self) -> int:
        """How many workers a segment takes."""
        loop = self.loop
        segment = loop.segments.whole(-1, loop.seeds[0], loop.space.fixed, loop.folder)
        return loop.executor.slots_of(segment)

    def of_trial(self, number: int, dice: random.Random) -> Workload:
        """Return the workload of a trial; one that is not known yet gets a point by the dice."""
        return self._of_point(self._known_point(number) or dice.choice(self.points), dice)

    def mean(self, value: Any) -> float:
        """Return the mean over the points of `value` of their workload."""
        dice = random.Random(SEED)
        return fmean(value(self._of_point(point, dice)) for point in self.points)

    def mean_bytes(self, name: str) -> float:
        """Return the mean over the points of a field of what was measured of their kind."""
        return fmean(getattr(self._cost(point), name) for point in self.points)

    def _known_point(self, number: int) -> Point | None:
        loop = self.loop
        if number < len(loop.records):
            record = loop.records[number]
            return Point(record.params, record.is_default)
        return self.points[number] if number < self._certain else None

    @property
    def _certain(self) -> int:
        """How many of the points are those of the first trials."""
        if self.loop.settings.lists_points:
            return len(self.points)
        return len(self.loop.new_trials.first)

    def _of_point(self, point: Point, dice: random.Random) -> Workload:
        if not self.measured:
            return self._known.setdefault("", unit_workload(self.loop.policy.rungs))
        if point.key not in self._known:
            if len(self._known) >= COMPOSED:
                return dice.choice(list(self._known.values()))
            try:
                self._known[point.key] = self._composed(point)
            except TunesmithError:  # a trial of it fails before its first step, and says why
                self._known[point.key] = no_workload(self.loop.policy.rungs)
        return self._known[point.key]

    def _composed(self, point: Point) -> Workload:
        loop, began = self.loop, time.perf_counter()
        own = [] if point.is_default else loop.space.overrides(point.params)
        overrides = loop.segments.overrides([*loop.space.fixed, *own], loop.seeds[0])
        config = loop.segments.config_of(overrides)
        self.handover = time.perf_counter() - began
        return workload_of(typed(config), loop.policy.rungs, self._cost(point))

    def _cost(self, point: Point) -> MeasuredCost:
        return self.measured.get(point.kind) or next(iter(self.measured.values()))


def points_of(loop: SearchLoop) -> list[Point]:
    """Return points that stand for those of all trials, the first trials' own first."""
    if loop.settings.lists_points:
        return [Point(params) for params in islice(loop.space.points(), min(loop.target, LISTED))]
    has_default = loop.default is not None
    given = enumerate(loop.new_trials.first)
    first = [Point(params, is_default=has_default and number == 0) for number, params in given]
    sampler = RandomSampler(loop.space, SEED)
    count = min(DRAWN, max(loop.target - len(first), 0))
    drawn = [Point(sampler.ask(number, [])) for number in range(count)]
    return (first + drawn)[: max(loop.target, 1)]


def kinds_of(points: list[Point]) -> dict[str, Point]:
    """Return a point of each kind that is measured: the first one's, then the most frequent."""
    examples: dict[str, Point] = {}
    for point in points:
        examples.setdefault(point.kind, point)
    counts = Counter(point.kind for point in points[1:])
    others = [kind for kind, _ in counts.most_common() if kind != points[0].kind]
    return {kind: examples[kind] for kind in [points[0].kind, *others][:MEASURED]}


def _decides(key: str) -> bool:
    """Tell whether the cost of a trial may depend on a key."""
    costly = key == "task" or key.partition(".")[0] in COSTLY
    return costly and "dropout" not in key


def _text(params: Mapping[str, Any], holds: Any) -> str:
    return json.dumps({k: params[k] for k in sorted(params) if holds(k)}, default=str)
