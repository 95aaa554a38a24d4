"""The policies once more: short, slow, in the words of the papers, and sharing nothing."""

import math
import statistics
from collections import defaultdict
from collections.abc import Callable
from fractions import Fraction

WORST = float("-inf")
Bracket = Callable[[int], int]
Rule = Callable[[int, dict[int, float]], bool]  # (number, results of its rung) -> it may go on


def search(
    score: Callable[[int, int], float | None], target: int, top: int, bracket: Bracket, rule: Rule
) -> list[tuple[int, int]]:
    """Return the (number, rung) of each segment when one worker runs them."""
    results: dict[tuple[int, int], dict[int, float]] = defaultdict(dict)
    order: list[tuple[int, int]] = []
    started = 0

    def train(number: int, rung: int) -> None:
        value = score(number, rung)
        results[rung, bracket(number)][number] = WORST if value is None else value
        order.append((number, rung))

    def promotions() -> list[tuple[int, int]]:
        found = []
        for rung, of_bracket in sorted(results, key=lambda place: (-place[0], place[1])):
            here = results[rung, of_bracket]
            for number in ranked(here):
                new = rung < top and here[number] > WORST and (number, rung + 1) not in order
                found += [(number, rung + 1)] if new and rule(number, here) else []
        return found

    while True:
        if ready := promotions():
            train(*ready[0])
        elif started < target:
            train(started, bracket(started))
            started += 1
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
    return lambda number, here: number in ranked(here)[: len(here) // reduction_factor]


def median_rule(startup: int) -> Rule:
    return lambda number, here: (
        len(here) < startup or here[number] >= statistics.median(here.values())
    )


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
