"""A confirmation in blocks of seeds: after each, who has won and who no longer can.

A group-sequential comparison of several arms with one control (Jennison & Turnbull, 1999;
Royston, Parmar & Qian, 2003). All arms train on two seeds, then on one more at a time. After
each block a pure function of the scores so far decides:

- Efficacy: the candidate with the best mean wins where its p-value, corrected for the number
  of candidates (Dunnett, 1955), is below the level of this block. The levels are strict at
  first and nearly all of alpha at the last seed, as those of O'Brien & Fleming (1979), and are
  used for t-tests as Pocock (1977) says.
- Futility: without a candidate that may still become clearly better the default stays. The chance
  is the conditional power if what was seen so far goes on (Lan & Wittes, 1988).
- A single candidate is dropped where it failed on a seed; or where it has no such chance, or none
  to pass the best one, and the best one is nearly through. Until then it trains on: its scores
  tell the noise, without which a small effect is not found as often as over all seeds.

The constants are those with which simulation keeps the promise: luck wins in 2 % of studies, and
effects are found as often as over all seeds but for three points (docs/confirmation.md).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from tunesmith.reporting import formatting
from tunesmith.reporting.statistics import (
    NO_NOISE,
    dunnett,
    dunnett_quantile,
    is_noise,
    residual_noise,
)

Mode = Literal["max", "min"]
Scores = Mapping[int, Sequence[float | None]]  # trial -> its scores so far, None if it failed
FIRST = 2  # seeds of the first block: fewer show no noise
LAST_LEVEL = (0.91, 0.92, 0.96)  # of alpha at a last fifth seed, for 1, 2, 3 or more candidates
EARLIER = 30  # divided by all seeds: how many times the level of a seed is that of the one before
LEAST = 5e-5  # a level below it is none: `dunnett` is good to 1e-5
FUTILE = 0.25  # a chance below this times the squared fraction of the seeds is none
USUAL = (3, 5)  # candidates and seeds; with more of either there are more looks at luck
NEARLY = 0.15  # divided by all seeds: what a candidate lacks of certainty that is nearly through
AGREES = 0.95  # P(better) that a winner's own seeds must exceed, whatever the pooled noise says
FAR = 8.0  # deviations of a normal score beyond which its tail is no longer told apart


class Plan(NamedTuple):
    """What a confirmation is asked."""

    seeds: int  # at most
    stop_early: bool = True  # False: all arms over all seeds at once, decided at the end
    mode: Mode = "max"
    alpha: float = 0.02  # the chance that any candidate wins when none is better

    @property
    def looks(self) -> range:
        """After how many seeds it is decided."""
        first = min(FIRST, self.seeds) if self.stop_early else self.seeds
        return range(first, self.seeds + 1)

    def level(self, seeds: int, candidates: int) -> float:
        """Return the corrected p-value below which a candidate is clearly better; 0: none is."""
        if len(self.looks) == 1:
            return self.alpha
        few = LAST_LEVEL[min(candidates, len(LAST_LEVEL)) - 1]
        last = min(few + 0.01 * max(self.seeds - USUAL[1], 0), 1.0) * self.alpha
        level = last / max(EARLIER / self.seeds, 4.0) ** (self.seeds - seeds)
        return level if level > LEAST else 0.0

    @property
    def nearly(self) -> float:
        """The chance of becoming clearly better with which a candidate is nearly through."""
        return 1 - NEARLY / self.seeds


class Look(NamedTuple):
    """What scores say of the candidates: arrays (..., K), nan for a candidate that is out."""

    gain: np.ndarray  # over the default, more is better
    t: np.ndarray  # its Student statistic, nan without noise
    freedom: np.ndarray  # its degrees of freedom, (...)
    is_clear: np.ndarray  # clearly better than the default
    chance_clear: np.ndarray  # of becoming so
    chance_best: np.ndarray  # of ending as the best candidate
    futile: float  # a chance that is none

    def winner(self, is_last: bool) -> np.ndarray:
        """Return the position of the winner, (...), -1 for none.

        At the end the best of those that are clear; before it the best of all, if it is clear.
        """
        allowed = self.is_clear if is_last else ~np.isnan(self.gain)
        first = np.where(allowed, self.gain, -np.inf).argmax(-1)
        wins = np.take_along_axis(self.is_clear, first[..., None], -1)[..., 0]
        return np.where(wins, first, -1)

    def dropped(self, plan: Plan) -> np.ndarray:
        """Return which candidates get no more seeds; without noise nobody knows, and none is.

        All of them where none has a chance, else those without one if the best is nearly through.
        """
        is_hopeless = self.chance_clear < self.futile
        is_over = (is_hopeless | np.isnan(self.gain)).all(-1, keepdims=True)
        best = np.where(np.isnan(self.chance_clear), 0.0, self.chance_clear).max(-1, keepdims=True)
        is_behind = is_hopeless | (self.chance_best < self.futile)
        return np.where(is_over, ~np.isnan(self.gain), is_behind & (best >= plan.nearly))


def look(scores: np.ndarray, is_in: np.ndarray, seeds: int, plan: Plan) -> Look:
    """Judge candidates by scores, (..., 1 + K, N), more is better; the default comes first.

    `is_in`, (..., K), are the candidates that were not dropped; nan is a seed that came after one
    was. The scores are those of `seeds` seeds, fewer where the default failed on some.
    """
    from scipy.special import ndtr, ndtri, stdtr, stdtrit

    candidates, many, left = scores.shape[-2] - 1, scores.shape[-1], plan.seeds - seeds
    deviation, freedom = residual_noise(scores)
    noise = np.where(is_noise(deviation, scores), deviation, np.nan)
    error = noise[..., None] * math.sqrt(2 / many)
    gains = np.where(is_in[..., None], scores[..., 1:, :] - scores[..., :1, :], np.nan)
    gain = gains.mean(-1)
    t = gain / error
    own = gains.std(-1, ddof=1) / math.sqrt(many)
    is_steady = own <= NO_NOISE * np.abs(gains).max(-1)  # these pairs alone show no noise
    agrees = np.where(is_steady, left == 0, gain > own * stdtrit(many - 1, AGREES))
    is_clear = (
        t > _quantiles(plan.level(seeds, candidates), candidates, freedom)[..., None]
    ) & agrees
    first = np.where(np.isnan(gain), -np.inf, gain).max(-1, keepdims=True)
    behind = (gain - first) / error
    share, needed = many / (many + left), float(ndtri(1 - plan.alpha / candidates))

    def chance(statistic: np.ndarray, bound: float) -> np.ndarray:
        """Return P(the normal score at the end > bound) if it goes on as it has begun."""
        z = np.clip(ndtri(stdtr(freedom[..., None], statistic)), -FAR, FAR)
        return ndtr((z / math.sqrt(share) - bound) / math.sqrt(max(1 - share, NO_NOISE)))

    more = min(1.0, USUAL[0] / candidates) * min(1.0, USUAL[1] / plan.seeds) ** 4
    futile = FUTILE * share**2 * more
    return Look(gain, t, freedom, is_clear, chance(t, needed), chance(behind, 0.0), futile)


def _quantiles(level: float, candidates: int, freedom: np.ndarray) -> np.ndarray:
    if not level:
        return np.full(freedom.shape, np.inf)
    known, positions = np.unique(freedom, return_inverse=True)
    values = np.array([dunnett_quantile(level, candidates, int(f)) for f in known])
    return values[positions].reshape(freedom.shape)


class Standing(NamedTuple):
    """One candidate when it was judged for the last time."""

    gain: float  # over the default, more is better
    p_value: float | None  # corrected for the candidates; None without noise
    candidates: int  # that it is corrected for
    seeds: int  # that it shares with the default
    level: float  # of the p-value, below which it is clearly better
    futile: float  # a chance of becoming so that is none


class Dropped(NamedTuple):
    """Why a candidate gets no more seeds, and how many it had."""

    seeds: int
    why: str


class Step(NamedTuple):
    """Which trials go on, and to how many seeds; or how it ended."""

    trials: list[int]  # that go on, the default among them; at the end those of the last block
    seeds: int  # that each of them has after the next block; at the end after the last one
    is_over: bool
    winner: int | None  # the candidate that is clearly better; None: nobody is
    dropped: dict[int, Dropped]
    standings: dict[int, Standing]


def next_step(scores: Scores, default: int, plan: Plan) -> Step:
    """Decide from the scores so far which trials train on further seeds, or how it ends.

    `scores` has a row for each trial, empty at first. Scores that no decision asked for are not
    looked at: a start after a kill, and one with more seeds, decide as if there had been one start.
    """
    going = [trial for trial in scores if trial != default]
    seeds_of: dict[int, int] = {}  # of candidates that failed on none of them
    dropped: dict[int, Dropped] = {}
    standings: dict[int, Standing] = {}
    for seeds in plan.looks:
        trials = [*going, default]
        if any(len(scores[trial]) < seeds for trial in trials):
            return Step(trials, seeds, False, None, dropped, standings)
        is_last, winner = seeds == plan.seeds, None
        failed = {trial: scores[trial][:seeds].count(None) for trial in going}
        dropped |= {
            t: Dropped(seeds, f"failed on {n} of {seeds} seeds") for t, n in failed.items() if n
        }
        going = [trial for trial in going if trial not in dropped]
        seeds_of = {t: n for t, n in seeds_of.items() if not failed.get(t)}
        seeds_of |= dict.fromkeys(going, seeds)
        shared = [i for i, score in enumerate(scores[default][:seeds]) if score is not None]
        if going and len(shared) > 1:
            names = list(seeds_of)
            table = _table(scores, [default, *names], {default: seeds, **seeds_of}, shared, plan)
            judged = look(table, np.array([t in going for t in names]), seeds, plan)
            standings |= _standings(judged, names, len(shared), plan.level(seeds, len(names)))
            first = int(judged.winner(is_last))
            winner = names[first] if first >= 0 else None
            if winner is None and not is_last:
                dropped |= _dropped(judged, names, seeds, plan)
                going = [trial for trial in going if trial not in dropped]
        if winner is not None or is_last or (not going and shared):
            return Step(trials, seeds, True, winner, dropped, standings)
    raise AssertionError("the last look ends it")


def _table(
    scores: Scores,
    trials: Sequence[int],
    seeds_of: Mapping[int, int],
    shared: Sequence[int],
    plan: Plan,
) -> np.ndarray:
    """Return the scores over the shared seeds, (trials, N), more is better; nan after a drop."""
    rows = [[scores[t][i] if i < seeds_of[t] else math.nan for i in shared] for t in trials]
    return np.array(rows, dtype=float) * (1.0 if plan.mode == "max" else -1.0)


def _standings(judged: Look, names: Sequence[int], seeds: int, level: float) -> dict[int, Standing]:
    found = {}
    for trial, gain, t in zip(names, judged.gain.tolist(), judged.t.tolist(), strict=True):
        if not math.isnan(gain):
            p = None if math.isnan(t) else dunnett(t, len(names), int(judged.freedom))
            found[trial] = Standing(gain, p, len(names), seeds, level, judged.futile)
    return found


def _dropped(judged: Look, names: Sequence[int], seeds: int, plan: Plan) -> dict[int, Dropped]:
    """Return the candidates that are dropped after so many seeds."""
    best = f"trial {names[int(np.nanargmax(judged.gain))]}"
    found = {}
    for place in np.flatnonzero(judged.dropped(plan)).tolist():
        is_hopeless = judged.chance_clear[place] < judged.futile
        goal = "clearly better" if is_hopeless else f"above {best}"
        why = f"less than a chance of {formatting.percent(judged.futile)} to end {goal}"
        found[names[place]] = Dropped(seeds, why)
    return found


def expected_blocks(candidates: int, plan: Plan, done: int = 0) -> list[int]:
    """Return the trainings of each block that is expected after `done` seeds, one after another.

    Of those after the first block a little less than half are expected, and once that has decided
    nothing a little more: the mean of studies with and without an effect (docs/confirmation.md).
    """
    if not plan.stop_early:
        return [(candidates + 1) * (plan.seeds - done)]
    first = (candidates + 1) * max(min(FIRST, plan.seeds) - done, 0)
    later = max(plan.seeds - max(done, FIRST), 0)  # blocks, of a seed each
    rest = math.ceil((0.4 if done <= FIRST else 0.7) * (candidates + 1) * later)
    blocks = [first] if first else []
    for left in range(later, 0, -1):
        blocks.append(math.ceil(rest / left))
        rest -= blocks[-1]
    return blocks
