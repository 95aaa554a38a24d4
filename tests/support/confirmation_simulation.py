"""Many confirmations at once, by the functions that decide a real one: how often luck wins."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from tunesmith.search.confirmation.sequential import Plan, look

Noise = Callable[[np.random.Generator, tuple[int, int, int]], np.ndarray]  # (studies, arms, seeds)


class Simulated(NamedTuple):
    """What came of each study."""

    winners: np.ndarray  # position of the candidate, -1: the default stays
    trainings: np.ndarray


def simulate(scores: np.ndarray, plan: Plan) -> Simulated:
    """Confirm each study: scores are (studies, 1 + K, seeds), more is better, the default first."""
    studies, arms, _ = scores.shape
    table = scores.copy()
    winners, trainings = np.full(studies, -1), np.zeros(studies, dtype=int)
    is_in = np.ones((studies, arms - 1), dtype=bool)
    active, before = np.arange(studies), 0
    for seeds in plan.looks:
        trainings[active] += (seeds - before) * (1 + is_in[active].sum(-1))
        before = seeds
        if seeds < 2:
            continue
        now = look(table[active, :, :seeds], is_in[active], seeds, plan)
        winners[active] = now.winner(seeds == plan.seeds)
        is_in[active] &= ~now.dropped(plan)
        table[:, 1:, seeds:][~is_in] = np.nan
        active = active[(winners[active] < 0) & is_in[active].any(-1)]
        if not len(active):
            break
    return Simulated(winners, trainings)


def draw(
    effects: Sequence[float],
    seeds: int,
    noise: Noise,
    studies: int,
    values: float | None = None,
    seed: int = 0,
) -> np.ndarray:
    """Draw scores of candidates with these effects, in deviations of a score, and of a default.

    `values` of a score lie within one deviation, where they lie on a grid as accuracies do.
    """
    rng = np.random.default_rng([seed, seeds, *(round(100 + 10 * effect) for effect in effects)])
    scores = noise(rng, (studies, 1 + len(effects), seeds))
    scores += np.array([0.0, *effects])[:, None]
    return scores if values is None else np.round(scores * values)


def normal(rng: np.random.Generator, shape: tuple[int, int, int]) -> np.ndarray:
    """Draw scores with a seed's own effect and independent noise of deviation 1."""
    return rng.normal(size=(shape[0], 1, shape[2])) + rng.normal(size=shape)


def wild_default(rng: np.random.Generator, shape: tuple[int, int, int]) -> np.ndarray:
    """Let the default be three times as noisy as the candidates."""
    scores = rng.normal(size=shape)
    scores[:, 0] *= 3
    return scores


def wild_candidate(rng: np.random.Generator, shape: tuple[int, int, int]) -> np.ndarray:
    """Let the first candidate be three times as noisy as the rest."""
    scores = rng.normal(size=shape)
    scores[:, 1] *= 3
    return scores


def correlated(rng: np.random.Generator, shape: tuple[int, int, int]) -> np.ndarray:
    """Let seeds favour the default or the candidates: these are correlated, 0.5."""
    scores = rng.normal(size=shape)
    shared = rng.normal(size=(shape[0], 1, shape[2]))
    scores[:, 1:] = (scores[:, 1:] + shared) / np.sqrt(2)
    return scores


def heavy_tails(rng: np.random.Generator, shape: tuple[int, int, int]) -> np.ndarray:
    """Draw from Student's t with 3 degrees of freedom, of deviation 1."""
    return rng.standard_t(3, size=shape) / np.sqrt(3)


def skewed(rng: np.random.Generator, shape: tuple[int, int, int]) -> np.ndarray:
    """Let some runs end far below the rest, as unlucky fine-tuning does."""
    return -rng.exponential(size=shape)


def found(result: Simulated) -> float:
    """Return the share of studies that name a winner."""
    return float((result.winners >= 0).mean())
