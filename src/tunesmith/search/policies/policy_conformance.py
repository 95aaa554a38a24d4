"""What every search policy promises, as tests: subclass `PolicyConformance` in a test file."""

import random
from collections.abc import Iterator

from tunesmith.search.policies.base import (
    Branch,
    Policy,
    Promote,
    TrialState,
    count_started,
    new_trial,
)


class PolicyConformance:
    """Say how the policy is made; pytest runs the rest, on searches with made-up scores."""

    trials = 27
    workers = 4

    def make_policy(self) -> Policy:
        raise NotImplementedError

    def test_rungs_rise_and_the_last_is_the_whole_training(self) -> None:
        rungs = self.make_policy().rungs
        assert list(rungs) == sorted(set(rungs))
        assert rungs[-1] == 1
        assert rungs[0] > 0

    def test_a_decision_depends_on_the_states_alone(self) -> None:
        policy = self.make_policy()
        for seed in range(3):
            for states in self._searches(policy, seed):
                for may_start in (True, False):
                    action = policy.next(states, may_start)
                    assert policy.next(states, may_start) == action
                    assert self.make_policy().next(list(states), may_start) == action

    def test_it_promotes_only_trials_that_wait(self) -> None:
        policy = self.make_policy()
        last = len(policy.rungs) - 1
        for seed in range(5):
            for states in self._searches(policy, seed):
                action = policy.next(states, False)
                assert action is None or isinstance(action, Promote | Branch)
                if isinstance(action, Promote):
                    trial = states[action.number]
                    assert trial.scores
                    assert not (trial.running or trial.failed)
                    assert max(trial.scores) < last
                elif isinstance(action, Branch):
                    assert action.rung in states[action.parent].scores
                    assert action.rung < last

    def test_a_search_starts_every_trial_and_ends(self) -> None:
        policy = self.make_policy()
        for seed in range(3):
            *_, states = self._searches(policy, seed)
            assert len([trial for trial in states if trial.parent is None]) == self.trials
            assert not any(trial.running for trial in states)

    def test_the_best_trial_is_trained_to_its_end(self) -> None:
        policy = self.make_policy()
        last = len(policy.rungs) - 1
        *_, states = self._searches(policy, seed=1, failing=0.0)
        assert any(last in trial.scores for trial in states)

    def _searches(
        self, policy: Policy, seed: int, failing: float = 0.1
    ) -> Iterator[list[TrialState]]:
        """Yield the states of a search after each event, until nothing is left to be done."""
        dice = random.Random(seed)
        states: list[TrialState] = []
        goals: dict[int, int] = {}  # trial that runs -> the rung where it ends
        yield list(states)
        while True:
            action = None
            if len(goals) < self.workers:
                action = policy.next(states, count_started(states) < self.trials)
            if isinstance(action, Promote):
                goals[action.number] = max(states[action.number].scores) + 1
                states[action.number] = states[action.number]._replace(running=True)
            elif action is not None:
                goals[len(states)] = policy.goal_of(action)
                states.append(new_trial(action, len(states)))
            elif goals:
                number = dice.choice(sorted(goals))
                states[number] = _ended(states[number], goals.pop(number), dice, failing)
            else:
                return
            yield list(states)


def _ended(trial: TrialState, rung: int, dice: random.Random, failing: float) -> TrialState:
    """Return a trial after its segment: a score that never falls, or a failure."""
    if dice.random() < failing:
        return trial._replace(running=False, failed=True)
    best = max([dice.random(), *trial.scores.values()])
    return trial._replace(running=False, scores={**trial.scores, rung: best})
