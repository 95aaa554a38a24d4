"""Tells what a search will cost before it is spent: in one line, or in several and no trial."""

import logging

from rich.console import Console

from tunesmith.errors import explain, printable
from tunesmith.reporting import formatting
from tunesmith.reporting.results import Estimate
from tunesmith.search.cost.cost_model import CostModel
from tunesmith.search.cost.estimate import details, estimate, words
from tunesmith.search.cost.forecast import Forecast, pending_tasks
from tunesmith.search.cost.measuring import measured_costs
from tunesmith.search.study.search_loop import SearchLoop

log = logging.getLogger(__name__)


def tell_cost(
    loop: SearchLoop, spent: float, ends_at: float | None = None
) -> tuple[Estimate | None, Forecast]:
    """Measure, unless the study has been; print a line; return the study's estimate.

    `spent` are the seconds of the study so far. A study that goes on keeps the estimate that it
    began with, unless it has become a larger one. None where nothing can be told.
    """
    model = CostModel(loop, measured_costs(loop))
    forecast = Forecast(model, ends_at)
    spec = loop.store.facts.spec
    first = spec.estimate if spec is not None else None
    try:
        told = estimate(model, pending_tasks(loop), spent)
    except Exception as error:  # of a user's policy, say: no search ends for it
        log.warning("no cost can be told beforehand: %s", explain(error))
        return first, forecast
    line = words(told)
    if first is not None and first.trials == told.trials:
        told, left = first, forecast.seconds_left()
        line = f"{len(loop.records)} of {formatting.count(told.trials, 'trial')} have begun"
        line += "" if left is None else f": about {formatting.duration(left)} left"
    Console(stderr=True).print(printable(line), markup=False, highlight=False, soft_wrap=True)
    return told, forecast


def print_cost(loop: SearchLoop, spent: float) -> None:
    """Print what a search would cost from where it stands, a few lines; raises CheckError."""
    model = CostModel(loop, measured_costs(loop, is_dry=True))
    told = estimate(model, pending_tasks(loop), spent)
    for line in [words(told), *details(told, model)]:
        Console().print(printable(line), markup=False, highlight=False, soft_wrap=True)
