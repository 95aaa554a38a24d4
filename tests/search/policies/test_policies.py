"""Every policy: the promotions of a reference, at any kill, by any number of workers."""

import json
import random
from functools import partial

import pytest

from support import reference_policies as reference
from support import scripted_study as scripted
from support.plugins import make_policy, names
from support.scripted_study import Began, Ended, Score, search, segments, standings
from tunesmith.reporting.trial_results import Parent
from tunesmith.search.policies.base import Branch, Policy, Promote, Start, TrialState
from tunesmith.search.policies.discard import DiscardPolicy
from tunesmith.search.policies.hyperband import HyperbandPolicy, bracket_sizes
from tunesmith.search.policies.pasha import PashaPolicy, crossing_gap
from tunesmith.search.policies.pbt import PbtPolicy
from tunesmith.search.policies.policy_conformance import PolicyConformance

NINTHS = (1 / 9, 1 / 3, 1.0)
FOUR = (1 / 27, *NINTHS)
RUNGS = {
    "full": (1.0,),
    "asha": NINTHS,
    "hyperband": NINTHS,
    "median": NINTHS,
    "pasha": FOUR,
    "discard": NINTHS,
    "pbt": NINTHS,
}
ONE = reference.one_bracket
REFERENCE = {
    "full": partial(reference.search, bracket=ONE, rule=reference.never),
    "asha": partial(reference.search, bracket=ONE, rule=reference.halving(3)),
    "hyperband": partial(
        reference.search, bracket=reference.dealt_brackets(3, 3), rule=reference.halving(3)
    ),
    "median": partial(reference.search, bracket=ONE, rule=reference.median_rule(5)),
    "pasha": partial(
        reference.search,
        bracket=ONE,
        rule=reference.progressive(3, 3),
        finalists=3,
        judged=lambda results: reference.highest_rung(results, 3),
    ),
    "discard": partial(reference.search, bracket=ONE, rule=reference.never, finalists=3),
    "pbt": partial(reference.population, share=0.25),
}
HALVING = ["asha", "hyperband"]
SCRIPTS = {
    "random": scripted.scores(0),
    "other": scripted.scores(1),
    "ties": scripted.scores(2, levels=3),
    "equal": lambda number, rung: 0.5,
    "rising": lambda number, rung: number + rung,
    "falling": lambda number, rung: -number + rung,
    "failing": scripted.scores(3, failing=0.3),
    "fails_above": lambda number, rung: None if rung else float(number),
    "all_fail": lambda number, rung: None,
}

every_policy = pytest.mark.parametrize("name", RUNGS)
every_script = pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
workers = pytest.mark.parametrize("workers", [1, 2, 3, 4])


def policy(name: str) -> Policy:
    return make_policy(name, RUNGS[name], 3)


def test_every_policy_is_here() -> None:
    assert set(RUNGS) == set(REFERENCE) == set(names("policy"))


@every_policy
@every_script
@pytest.mark.parametrize("target", [1, 9, 30])
def test_segments_are_those_of_the_reference(name: str, script: Score, target: int) -> None:
    expected = REFERENCE[name](script, target, len(RUNGS[name]) - 1)
    assert segments(search(policy(name), script, target)) == expected


@pytest.mark.parametrize("name", ["asha", "hyperband", "median"])
@pytest.mark.parametrize(("rungs", "factor"), [((0.5, 1.0), 2), ((0.1, 0.2, 0.5, 0.7, 1.0), 4)])
def test_other_rungs_are_those_of_the_reference_too(
    name: str, rungs: tuple[float, ...], factor: int
) -> None:
    brackets = reference.dealt_brackets(len(rungs), factor)
    bracket = brackets if name == "hyperband" else reference.one_bracket
    rule = reference.median_rule(3) if name == "median" else reference.halving(factor)
    expected = reference.search(scripted.scores(5), 40, len(rungs) - 1, bracket, rule)
    found = search(make_policy(name, rungs, factor, min_results_per_rung=3), scripted.scores(5), 40)
    assert segments(found) == expected


@every_policy
@workers
@pytest.mark.parametrize("script", ["ties", "failing"])
def test_a_search_killed_anywhere_decides_the_same(name: str, workers: int, script: str) -> None:
    whole = search(policy(name), SCRIPTS[script], 10, workers, seed=4)
    for end in range(len(whole)):
        written = json.dumps([[type(entry).__name__, *entry] for entry in whole[:end]])
        kinds = {"Began": Began, "Ended": Ended}
        read = [kinds[kind](*values) for kind, *values in json.loads(written)]
        assert search(policy(name), SCRIPTS[script], 10, workers, seed=4, log=read) == whole


@every_policy
@every_script
@workers
def test_a_search_ends_with_every_trial_once(name: str, script: Score, workers: int) -> None:
    log = search(policy(name), script, 13, workers, seed=1)
    assert [first.number for first in scripted.roots(log)] == list(range(13))
    first = scripted.firsts(log)
    assert [trial.number for trial in first] == list(range(len(first)))
    assert len(set(segments(log))) == len(segments(log))  # none promoted twice at a rung
    assert not scripted.under_way(log)
    assert policy(name).next(standings(log), may_start=False) is None


@every_policy
@every_script
def test_a_failed_trial_never_goes_on(name: str, script: Score) -> None:
    log = search(policy(name), script, 13, workers=3)
    lost = {
        entry.number: entry.rung for entry in log if isinstance(entry, Ended) and entry[2] is None
    }
    assert all(rung <= lost.get(number, rung) for number, rung in segments(log))


@pytest.mark.parametrize("name", HALVING)
@pytest.mark.parametrize("script", ["random", "ties", "failing", "rising"])
@pytest.mark.parametrize("workers", [2, 3, 4])
@pytest.mark.parametrize("seed", range(3))
def test_only_the_best_third_goes_on_whoever_ends_first(
    name: str, script: str, workers: int, seed: int
) -> None:
    log = search(policy(name), SCRIPTS[script], 20, workers, seed)
    chosen = policy(name)
    for at, entry in enumerate(log):
        if isinstance(entry, Began):
            ready = promotable(log[:at], chosen)
            is_first = entry.rung == chosen.first_rung(entry.bracket)
            assert (not ready) if is_first else ((entry.number, entry.rung - 1) in ready)
    assert not promotable(log, chosen)


def promotable(log: scripted.Log, policy: Policy) -> set[tuple[int, int]]:
    """Return (number, rung) of whatever ranks in the top third now and has not gone on."""
    found: set[tuple[int, int]] = set()
    brackets = {first.number: first.bracket for first in scripted.firsts(log)}
    lost = {entry.number for entry in log if isinstance(entry, Ended) and entry.score is None}
    for place in {(brackets[e.number], e.rung) for e in log if isinstance(e, Ended)}:
        ended = [e for e in log if isinstance(e, Ended) and (brackets[e.number], e.rung) == place]
        here = {e.number: reference.WORST if e.score is None else e.score for e in ended}
        best = set(reference.ranked(here)[: len(here) // 3]) - lost
        gone = {number for number, rung in segments(log) if rung == place[1] + 1}
        if place[1] + 1 < len(policy.rungs):
            found |= {(number, place[1]) for number in best - gone}
    return found


@pytest.mark.parametrize("workers", [1, 2])
def test_asha_spends_less_than_half_of_full_training(workers: int) -> None:
    asha = policy("asha")
    shares = []
    for seed in range(50):
        log = search(asha, scripted.scores(seed), 9, workers, seed)
        shares.append(scripted.share_of_full(log, asha) / 9)
    assert max(shares) < 0.5
    assert sum(shares) / len(shares) < 0.3


@every_policy
def test_a_decision_depends_on_the_standings_alone(name: str) -> None:
    chosen, other = policy(name), policy(name)
    log = search(chosen, SCRIPTS["failing"], 15, workers=2)
    order = list(range(len(log)))
    random.Random(0).shuffle(order)
    for end in order:  # asked in any order, and with scores written in any order
        seen = standings(log[:end])
        turned = [s._replace(scores=dict(reversed(s.scores.items()))) for s in seen]
        assert chosen.next(seen, True) == other.next(turned, True)
        assert seen == standings(log[:end])


# asha


def waiting(number: int, *scores: float, failed: bool = False, running: bool = False) -> TrialState:
    return TrialState(number, 0, dict(enumerate(scores)), running, failed)


def test_asha_promotes_the_best_of_three() -> None:
    seen = [waiting(0, 0.1), waiting(1, 0.3), waiting(2, 0.2)]
    assert policy("asha").next(seen[:2], True) == Start(0)
    assert policy("asha").next(seen[:2], False) is None
    assert policy("asha").next(seen, True) == Promote(1)


def test_asha_looks_at_the_highest_rung_first() -> None:
    above = [waiting(number, 0.5, 0.5) for number in range(3)]
    below = [waiting(number, 0.9) for number in range(3, 12)]
    assert policy("asha").next([*above, *below], True) == Promote(0)


def test_a_running_trial_keeps_its_place_among_the_best() -> None:
    seen = [waiting(0, 0.1), waiting(1, 0.3, running=True), waiting(2, 0.2)]
    assert policy("asha").next(seen, False) is None


def test_of_equal_trials_the_first_goes_on() -> None:
    assert policy("asha").next([waiting(n, 0.5) for n in range(3)], True) == Promote(0)
    seen = [waiting(0, 0.5), waiting(1, 0.5), waiting(2, 0.5, 0.6)]
    assert policy("asha").next(seen, True) == Promote(0)
    seen = [waiting(0, 0.5, 0.6), waiting(1, 0.5), waiting(2, 0.5)]
    assert policy("asha").next(seen, True) == Start(0)


def test_a_failure_counts_as_the_worst_result_where_it_happened() -> None:
    two = [waiting(0, 0.1), waiting(1, 0.2)]
    assert policy("asha").next([*two, waiting(2, failed=True)], True) == Promote(1)
    above = [waiting(0, 0.1, 0.1), waiting(1, 0.2, 0.2), waiting(2, 0.3, failed=True)]
    assert policy("asha").next(above, True) == Promote(1)  # at rung 1: two results and a failure


# hyperband


def test_brackets_have_the_sizes_of_the_paper() -> None:
    assert bracket_sizes(5, 3) == [81, 34, 15, 8, 5]  # Li et al., 2018, table 1: R = 81


def test_trials_are_dealt_to_brackets_by_size() -> None:
    dealt = [HyperbandPolicy(NINTHS, 3).bracket_of(number) for number in range(170)]
    assert dealt[:17] == dealt[17:34]
    assert [dealt.count(bracket) for bracket in range(3)] == [90, 50, 30]
    assert dealt[:4] == [0, 1, 0, 2]


def test_a_bracket_ends_first_at_its_own_rung() -> None:
    hyperband = policy("hyperband")
    log = search(hyperband, SCRIPTS["random"], 17)
    for number, bracket, rung, _ in scripted.firsts(log):
        assert rung == bracket == hyperband.first_rung(bracket)
        assert standings(log)[number].scores.keys() >= {bracket}
        assert min(standings(log)[number].scores) == bracket


def test_a_bracket_does_not_see_the_others() -> None:
    own = [TrialState(n, 1, {1: 0.1 * n}, False, False) for n in range(3)]
    better = [TrialState(n, 2, {2: 9.0}, False, False) for n in range(3, 9)]
    also = [TrialState(n, 0, {0: 9.0, 1: 9.0, 2: 9.0}, False, False) for n in range(9, 12)]
    assert policy("hyperband").next([*own, *better, *also], True) == Promote(2)


def test_the_bracket_with_the_highest_waiting_rung_comes_first() -> None:
    low = [TrialState(n, 0, {0: 0.1 * n}, False, False) for n in range(3)]
    high = [TrialState(n, 1, {1: 0.1 * n}, False, False) for n in range(3, 6)]
    assert policy("hyperband").next([*low, *high], True) == Promote(5)
    assert policy("hyperband").next(low, True) == Promote(2)


# median


def test_the_first_trials_go_on_whatever_they_score() -> None:
    median = policy("median")
    seen = [waiting(number, -float(number)) for number in range(4)]
    assert median.next(seen, True) == Promote(0)
    seen = [waiting(0, 0.0, 0.1, 0.2), waiting(1, -1.0)]
    assert median.next(seen, True) == Promote(1)


def test_a_trial_below_the_median_waits_and_is_judged_again() -> None:
    median = policy("median")
    gone = [waiting(number, 1.0 + number, 2.0, 3.0) for number in range(4)]
    paused = waiting(4, 1.5)  # the median of 1, 1.5, 2, 3, 4 is 2
    assert median.next([*gone, paused], False) is None
    worse = [waiting(5, 0.5, running=True), waiting(6, failed=True)]
    assert median.next([*gone, paused, worse[0]], False) is None  # the median is 1.75
    assert median.next([*gone, paused, *worse], False) == Promote(4)  # it has fallen to 1.5


# pbt


def child(number: int, parent: int, rung: int, score: float | None = None) -> TrialState:
    scores = {} if score is None else {rung + 1: score}
    return TrialState(number, 0, scores, score is None, False, Parent(trial=parent, rung=rung))


def test_a_generation_is_judged_when_all_of_it_are_there() -> None:
    pbt = policy("pbt")
    seen = [waiting(0, 0.1), waiting(1, 0.4), waiting(2, 0.3), waiting(3, running=True)]
    assert pbt.next(seen[:3], True) == Start(0)
    assert pbt.next(seen, False) is None
    whole = [*seen[:3], waiting(3, 0.2)]
    assert pbt.next(whole, False) == Branch(1, 0)  # for trial 0, the worst of four


def test_copies_are_made_before_their_parents_go_on() -> None:
    pbt = PbtPolicy(NINTHS, 0.5, [0.8, 1.2], 0.25)
    seen = [waiting(0, 0.1), waiting(1, 0.4), waiting(2, 0.3), waiting(3, 0.2)]
    assert pbt.next(seen, False) == Branch(1, 0)
    seen.append(child(4, 1, 0))
    assert pbt.next(seen, False) == Branch(2, 0)  # the second replacement, of the second best
    seen.append(child(5, 2, 0))
    assert pbt.next(seen, False) == Promote(1)
    seen[1] = waiting(1, 0.4, running=True)
    assert pbt.next(seen, False) == Promote(2)
    seen[2] = waiting(2, 0.3, running=True)
    assert pbt.next(seen, False) is None  # 0 and 3 are replaced: they stay where they are


def test_a_copy_is_a_member_of_the_next_generation() -> None:
    pbt = policy("pbt")
    old = [waiting(0, 0.1), waiting(1, 0.4, 0.5), waiting(2, 0.3, 0.4), waiting(3, 0.2, 0.2)]
    assert pbt.next([*old, child(4, 1, 0)], False) is None
    assert pbt.next([*old, child(4, 1, 0, 0.6)], False) == Branch(4, 1)  # the best; 3 is the worst
    assert pbt.next([*old, child(4, 1, 0, 0.1)], False) == Branch(1, 1)  # 4 is the worst itself


def test_a_failed_member_is_replaced_in_any_case() -> None:
    pbt = policy("pbt")
    seen = [waiting(0, 0.1), waiting(1, 0.4), waiting(2, failed=True), waiting(3, failed=True)]
    assert pbt.next(seen, False) == Branch(1, 0)
    seen.append(child(4, 1, 0))
    assert pbt.next(seen, False) == Branch(1, 0)
    seen.append(child(5, 1, 0))
    assert pbt.next(seen, False) == Promote(1)  # and then 0: the worst quarter is gone already
    later = [waiting(0, 0.1, failed=True), waiting(1, 0.4, 0.5), *seen[2:4]]
    assert pbt.next([*later, child(4, 1, 0, 0.3), child(5, 1, 0, 0.2)], False) == Branch(1, 1)


@pytest.mark.parametrize("script", ["random", "ties", "failing"])
@pytest.mark.parametrize("share", [0.1, 0.4])
def test_a_population_is_that_of_the_reference_over_any_number_of_workers(
    script: str, share: float
) -> None:
    score, rungs = SCRIPTS[script], (0.1, 0.3, 0.5, 0.9, 1.0)
    pbt = PbtPolicy(rungs, share, [0.8, 1.2], 0.25)
    alone = search(pbt, score, 12)
    assert segments(alone) == reference.population(score, 12, 4, share)
    assert scripted.share_of_full(alone, pbt) == pytest.approx(12)  # as so many full trainings
    for workers, seed in [(2, 0), (5, 1), (12, 2), (20, 3)]:
        log = search(pbt, score, 12, workers, seed)
        assert scripted.firsts(log) == scripted.firsts(alone)
        assert sorted(segments(log)) == sorted(segments(alone))


# pasha and discard


def pasha(epsilon: float | None = 0.0, finalists: int = 1) -> PashaPolicy:
    return PashaPolicy(["1/9", "1/3", 1], 3, finalists, epsilon)


def at_a_third(*scores: tuple[float, float]) -> list[TrialState]:
    """Return trials with these scores at both lower rungs, and as many as let them go on."""
    low = [waiting(len(scores) + n, -1.0) for n in range(2 * len(scores))]
    return [*(waiting(n, *both) for n, both in enumerate(scores)), *low]


def test_the_highest_rung_rises_where_the_order_has_changed() -> None:
    same = at_a_third((0.5, 0.6), (0.4, 0.5), (0.3, 0.4))
    assert pasha().next(same, True) == Start(0)
    assert policy("asha").next(same, True) == Promote(0)
    changed = at_a_third((0.5, 0.5), (0.4, 0.6), (0.3, 0.4))
    assert pasha().next(changed, True) == Promote(1)


def test_scores_within_epsilon_have_no_order() -> None:
    changed = at_a_third((0.5, 0.5), (0.375, 0.6), (0.3, 0.4))  # 1 passed 0, 0.125 ahead of it
    assert pasha(0.125).next(changed, True) == Start(0)
    assert pasha(0.12).next(changed, True) == Promote(1)
    ties = at_a_third((0.5, 0.5), (0.5, 0.6), (0.5, 0.7))
    assert pasha(0.0).next(ties, True) == Start(0)


def test_epsilon_is_the_gap_of_trials_that_pass_each_other_and_pass_back() -> None:
    back = [waiting(0, 0.5, 0.5, 0.75), waiting(1, 0.4, 0.6, 0.625)]
    assert crossing_gap(back) == 0.125
    once = [waiting(0, 0.5, 0.7, 0.75), waiting(1, 0.4, 0.6, 0.9), waiting(2, 0.1, 0.8)]
    assert crossing_gap(once) == 0.0
    ten = [waiting(n, 0.25, 0.25, 0.5 - n / 16) for n in range(1, 11)]
    assert crossing_gap([waiting(0, 0.5, 0.0, 0.5), *ten]) == 9 / 16  # the 90th percentile


def test_the_best_of_the_highest_rung_are_trained_to_the_end() -> None:
    ended = at_a_third((0.5, 0.8), (0.4, 0.6), (0.3, 0.4))
    assert pasha().next(ended, False) == Promote(0)
    assert pasha(finalists=2).next([ended[0]._replace(running=True), *ended[1:]], False) == Promote(
        1
    )
    below = [*ended, waiting(9, running=True)]
    assert pasha().next(below, False) is None  # it may yet be better
    whole = [waiting(0, 0.5, 0.8, 0.8), *ended[1:]]
    assert pasha().next(whole, False) is None
    failed = [ended[0]._replace(failed=True), *ended[1:]]
    assert pasha().next(failed, False) == Promote(1)


def test_discarding_waits_for_all_and_takes_the_best_of_the_first_rung() -> None:
    discard = DiscardPolicy(["1/9", "1/3", 1], finalists=2)
    seen = [waiting(0, 0.5), waiting(1, 0.7), waiting(2, 0.6), waiting(3, running=True)]
    assert discard.next(seen, True) == Start(0)
    assert discard.next(seen, False) is None
    seen[3] = waiting(3, 0.1)
    assert discard.next(seen, False) == Promote(1)
    seen[1] = waiting(1, 0.7, 0.2)  # worse than the rest by now: the first rung decides
    assert discard.next(seen, False) == Promote(1)
    seen[1] = waiting(1, 0.7, 0.2, 0.2)
    assert discard.next(seen, False) == Promote(2)
    seen[2] = waiting(2, 0.6, 0.6, 0.6)
    assert discard.next(seen, False) is None
    assert discard.next([*seen, waiting(4, 0.9)], False) == Promote(4)  # the study was extended


class TestEveryPolicy(PolicyConformance):
    """Holds each policy to what a policy of a user's own can be held to."""

    @pytest.fixture(autouse=True, params=RUNGS)
    def use(self, request: pytest.FixtureRequest) -> None:
        self.name = request.param

    def make_policy(self) -> Policy:
        return policy(self.name)
