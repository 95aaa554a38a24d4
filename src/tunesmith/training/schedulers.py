"""Learning-rate schedules: each a factor of the base rate over the optimizer steps of a run."""

import math
from collections.abc import Callable

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from tunesmith.runtime.options import Fraction, Positive, Unit

Factor = Callable[[float], float]  # of the fraction of the run after the warmup, 0 to 1


def linear(optimizer: Optimizer, steps: int, warmup: Fraction = 0.1) -> LambdaLR:
    """Rise from 0 over the `warmup` fraction of steps, then fall linearly to 0."""
    return _warmed(optimizer, steps, warmup, lambda t: 1.0 - t)


def cosine(optimizer: Optimizer, steps: int, warmup: Fraction = 0.1, final: Unit = 0.0) -> LambdaLR:
    """Rise, then fall along half a cosine to `final` of the rate."""
    return _warmed(
        optimizer, steps, warmup, lambda t: final + (1 - final) * (1 + math.cos(math.pi * t)) / 2
    )


def polynomial(
    optimizer: Optimizer,
    steps: int,
    warmup: Fraction = 0.1,
    power: Positive = 2.0,
    final: Unit = 0.0,
) -> LambdaLR:
    """Rise, then fall as (remaining fraction) ** power to `final` of the rate."""
    return _warmed(optimizer, steps, warmup, lambda t: final + (1 - final) * (1 - t) ** power)


def constant(optimizer: Optimizer, steps: int, warmup: Fraction = 0.1) -> LambdaLR:
    """Rise, then stay."""
    return _warmed(optimizer, steps, warmup, lambda t: 1.0)


def wsd(optimizer: Optimizer, steps: int, warmup: Fraction = 0.1, decay: Unit = 0.2) -> LambdaLR:
    """Rise, stay, and fall linearly to 0 over the last `decay` fraction (Hu et al., 2024)."""
    tail = max(decay / (1 - warmup), 1e-9)
    return _warmed(optimizer, steps, warmup, lambda t: min(1.0, (1.0 - t) / tail))


def one_cycle(
    optimizer: Optimizer,
    steps: int,
    warmup: Fraction = 0.3,
    initial: Unit = 0.04,
    final: Unit = 1e-4,
) -> LambdaLR:
    """Rise from `initial` and fall to `final`, both along a cosine (Smith & Topin, 2018)."""
    rise = round(warmup * steps)

    def between(low: float, high: float, t: float) -> float:
        return low + (high - low) * (1 - math.cos(math.pi * t)) / 2

    def factor(step: float) -> float:
        if step < rise:
            return between(initial, 1.0, step / rise)
        return between(1.0, final, min(1.0, (step - rise) / max(steps - rise, 1)))

    return LambdaLR(optimizer, factor)


def step_every(schedule: LambdaLR, every: int) -> LambdaLR:
    """Let a schedule change only every so many steps, each time to the rate of their middle."""
    if every == 1:
        return schedule
    factors = [_at_the_middle(factor, every) for factor in schedule.lr_lambdas]
    for group in schedule.optimizer.param_groups:
        group["lr"] = group.pop("initial_lr")
    return LambdaLR(schedule.optimizer, factors)


def _at_the_middle(factor: Callable[..., float], every: int) -> Callable[[int], float]:
    return lambda change: factor(change * every + (every - 1) / 2)


def _warmed(optimizer: Optimizer, steps: int, warmup: float, after: Factor) -> LambdaLR:
    if not 0.0 <= warmup < 1.0:
        raise ValueError(f"scheduler.warmup is a fraction, 0 <= warmup < 1, but got {warmup}")
    rise = round(warmup * steps)

    def factor(step: float) -> float:
        if step < rise:
            return step / rise
        return after(min(1.0, (step - rise) / max(steps - rise, 1)))

    return LambdaLR(optimizer, factor)
