"""The policies once more: short, slow, in the words of the papers, and sharing nothing."""

import itertools
import math
import statistics
from collections import defaultdict
from collections.abc import Callable
from fractions import Fraction

WORST = float("-inf")
Results = dict[int, dict[int, float]]  # rung -> number -> score, of one bracket
Bracket = Callable[[int], int]
Rule = Callable[[int, int, Results], bool]  # (number, its rung, results) -> it may go on


def search(
    score: Callable[[int, int], float | None],
    target: int,
    top: int,
    bracket: Bracket,
    rule: Rule,
    finalists: int = 0,
    judged: Callable[[Results], int] = lambda results: 0,
) -> list[tuple[int, int]]:
    """Return the (number, rung) of each segment when one worker runs them.

    In the end as many `finalists` as there are to be go to `top`, the best at the rung `judged`.
    """
    results: dict[int, Results] = defaultdict(lambda: defaultdict(dict))  # by bracket
    order: list[tuple[int, int]] = []
    started = 0

    def train(number: int, rung: int) -> None:
        value = score(number, rung)
        results[bracket(number)][rung][number] = WORST if value is None else value
        order.append((number, rung))

    def promotions() -> list[tuple[int, int]]:
        found = []
        rungs = [(rung, b) for b, of in results.items() for rung in of]
        for rung, of_bracket in sorted(rungs, key=lambda place: (-place[0], place[1])):
            here = results[of_bracket][rung]
            for number in ranked(here):
                new = rung < top and here[number] > WORST and (number, rung + 1) not in order
                allowed = new and rule(number, rung, results[of_bracket])
                found += [(number, rung + 1)] if allowed else []
        return found

    def finals() -> list[tuple[int, int]]:
        if not finalists:
            return []
        highest = judged(results[0])
        alive = {
            n for n in range(started) if all(of.get(n, 0) > WORST for of in results[0].values())
        }
        reached = {n: max(r for n_, r in order if n_ == n) for n in alive}
        at = {n: min(reached[n], highest) for n in alive}
        best = sorted(alive, key=lambda n: (-at[n], -results[0][at[n]][n], n))[:finalists]
        return [(n, reached[n] + 1) for n in best if reached[n] < top]

    while True:
        if ready := promotions():
            train(*ready[0])
        elif started < target:
            train(started, bracket(started))
            started += 1
        elif last := finals():
            train(*last[0])
        else:
            return order


def population(
    score: Callable[[int, int], float | None], target: int, top: int, share: float
) -> list[tuple[int, int]]:
    """Return the (number, rung) of each segment of a population based training.

    At each rung the worst share is replaced by copies of the best, and whoever failed is.
    """
    members, order, count = list(range(target)), [], target
    for rung in range(top + 1):
        results = {number: score(number, rung) for number in members}
        order += [(number, rung) for number in members]
        here = {n: WORST if value is None else value for n, value in results.items()}
        ranking = ranked(here)
        alive = [number for number in ranking if here[number] > WORST]
        half = min(math.ceil(share * len(members)), len(members) // 2)
        gone = max(half, len(members) - len(alive))
        if rung == top or not alive or not half:
            members = alive
            continue
        copies = list(range(count, count + gone))
        # Copies come first, then the survivors, best first: that is the order they begin in.
        members, count = [*copies, *ranking[: len(ranking) - gone]], count + gone
    return order


def ranked(results: dict[int, float]) -> list[int]:
    return sorted(results, key=lambda number: (-results[number], number))


def halving(reduction_factor: int) -> Rule:
    """Return the rule of ASHA: in the top 1 / reduction_factor of the rung."""
    return lambda number, rung, results: (
        number in ranked(results[rung])[: len(results[rung]) // reduction_factor]
    )


def median_rule(startup: int) -> Rule:
    return lambda number, rung, results: (
        len(results[rung]) < startup
        or results[rung][number] >= statistics.median(results[rung].values())
    )


def never(number: int, rung: int, results: Results) -> bool:
    return False


def progressive(reduction_factor: int, top: int) -> Rule:
    """Return the rule of PASHA: that of ASHA below the highest rung of the moment."""
    asha = halving(reduction_factor)
    return lambda number, rung, results: (
        rung < highest_rung(results, top) and asha(number, rung, results)
    )


def highest_rung(results: Results, top: int) -> int:
    """Return the lowest rung whose trials stand as they stood a rung below, softly."""
    epsilon = percentile_of_crossings(results)
    for rung in range(1, top):
        here = {n: s for n, s in results.get(rung, {}).items() if s > WORST}
        before = {n: results[rung - 1][n] for n in here}
        soft = [
            {m for m in before if abs(before[m] - before[n]) <= epsilon} for n in ranked(before)
        ]
        if all(n in equals for n, equals in zip(ranked(here), soft, strict=True)):
            return rung
    return top


def percentile_of_crossings(results: Results) -> float:
    """Return P90 of |a - b| at the last common rung of those with a > b, a < b, a > b."""
    numbers = sorted({n for of in results.values() for n in of})
    curves = {
        n: {r: of[n] for r, of in results.items() if of.get(n, WORST) > WORST} for n in numbers
    }
    long = [n for n in numbers if len(curves[n]) >= 3][-100:]
    gaps = []
    for a, b in itertools.permutations(long, 2):
        common = sorted(curves[a].keys() & curves[b].keys())
        ahead = {r: curves[a][r] - curves[b][r] for r in common}
        if any(
            ahead[i] > 0 > ahead[j] and ahead[k] > 0
            for i, j, k in itertools.combinations(common, 3)
        ):
            gaps.append((min(a, b), max(a, b), abs(ahead[common[-1]])))
    lengths = sorted(gap for *_, gap in set(gaps))
    return lengths[math.ceil(0.9 * len(lengths)) - 1] if lengths else 0.0


def one_bracket(number: int) -> int:
    return 0


def dealt_brackets(rungs: int, reduction_factor: int) -> Bracket:
    """Return Hyperband's brackets: s_max = rungs - 1, sizes ceil((s_max+1)/(s+1) * eta^s)."""
    most = rungs - 1
    sizes = [
        math.ceil(Fraction(most + 1, s + 1) * reduction_factor**s) for s in range(most, -1, -1)
    ]

    def bracket(number: int) -> int:
        counts = [0] * rungs
        for n in range(number + 1):
            owed = [Fraction(size * (n + 1), sum(sizes)) for size in sizes]
            chosen = max(range(rungs), key=lambda b: (owed[b] - counts[b], -b))
            counts[chosen] += 1
        return chosen

    return bracket
