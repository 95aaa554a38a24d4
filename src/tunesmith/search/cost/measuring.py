"""Asks a worker what trainings cost, once in a study: a fact of the machine, decides nothing."""

import logging
import math
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace

from tunesmith.errors import Interrupted, TunesmithError
from tunesmith.search.cost.cost_model import Point, kinds_of, points_of
from tunesmith.search.storage.study_facts import Costs
from tunesmith.search.study.open_study import CheckError
from tunesmith.search.study.search_loop import SearchLoop
from tunesmith.search.trial import MEASURE_FOLDER, MeasuredCost, Segment

log = logging.getLogger(__name__)

OF_BUDGET = 0.05  # the share of `search.budget` after which nothing more is measured


def measured_costs(loop: SearchLoop, is_dry: bool = False) -> Mapping[str, MeasuredCost]:
    """Return what each kind of training costs: as the study knows it, else as a worker measures.

    Nothing where segments wait in a queue or take several devices, or the measurement fails: then
    what has ended tells it. Raises TunesmithError for that in a dry run, and Interrupted.
    """
    known = loop.store.facts.costs
    if known is not None:
        return known.by_kind
    if loop.executor.has_queue:
        return {}
    try:
        costs = dict(_measured(loop))
    except TunesmithError as error:
        if is_dry:
            raise
        log.warning("no time can be told beforehand: the measurement failed: %s", error)
        return {}
    finally:
        for left in loop.folder.glob(f"{MEASURE_FOLDER}*"):  # of a worker that was killed
            shutil.rmtree(left, ignore_errors=True)
    loop.store.set("costs", Costs(by_kind=costs))
    return costs


def _measured(loop: SearchLoop) -> Iterator[tuple[str, MeasuredCost]]:
    began, settings = time.monotonic(), loop.settings
    for kind, point in kinds_of(points_of(loop)).items():
        segment = _segment(loop, point)
        spent = time.monotonic() - began
        if segment.devices > 1 or spent > OF_BUDGET * (settings.budget or math.inf):
            return
        future = loop.executor.submit(segment)
        try:
            found = future.result(timeout=settings.timeout)
        except TimeoutError:
            loop.executor.kill(segment)
            found = future.result()
        if found.state == "interrupted" and found.failure is None:
            raise Interrupted
        if found.cost is None:
            raise CheckError(found)
        yield kind, found.cost


def _segment(loop: SearchLoop, point: Point) -> Segment:
    overrides = [*loop.space.fixed, *loop.space.overrides(point.measured_params)]
    segment = loop.segments.whole(-1, loop.seeds[0], overrides, loop.folder)
    return replace(segment, kind="measure")
