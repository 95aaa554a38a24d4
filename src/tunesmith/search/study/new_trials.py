"""New trials: the default, points that are given, what the sampler asks for, copies of others."""

from collections.abc import Mapping, Sequence
from typing import Any

from tunesmith.pipeline.run_length import step_at_fraction
from tunesmith.reporting.trial_results import Parent
from tunesmith.runtime.seeds import derive_seed
from tunesmith.search.policies.base import Branch, Policy, TrialState
from tunesmith.search.samplers.base import Observation, Sampler
from tunesmith.search.space.space import Space
from tunesmith.search.storage.link_checkpoint import link_checkpoint
from tunesmith.search.storage.trial_record import Record
from tunesmith.search.study.observations import observations
from tunesmith.search.study.segments import Segments
from tunesmith.search.study.settings import Settings


class NewTrials:
    """Makes the trials of a study, each a function of those before it."""

    def __init__(
        self,
        settings: Settings,
        space: Space,
        sampler: Sampler,
        policy: Policy,
        segments: Segments,
        seeds: Sequence[int],
        default: dict[str, Any] | None,
    ) -> None:
        self.space, self.sampler, self.policy, self.segments = space, sampler, policy, segments
        self.seeds, self.seed, self.default = list(seeds), settings.seed, default
        self.first = [] if default is None else [default]  # points that come before the sampler's
        self.first += settings.initial_points

    def at_point(
        self, bracket: int, records: Sequence[Record], standings: Sequence[TrialState]
    ) -> Record | None:
        """Return the next trial that begins from the model; None where there is no other point."""
        number = len(records)
        is_default = self.default is not None and number == 0
        if number < len(self.first):
            params = dict(self.first[number])
        else:
            known = self._observations(records, standings)
            asked = self.sampler.ask(number - len(self.first), known)
            if asked is None:
                return None
            params = asked
        return Record(
            number=number,
            params=params,
            overrides=self.overrides(params, is_default),
            seeds=self.seeds,
            bracket=bracket,
            is_default=is_default,
        )

    def from_checkpoint(self, action: Branch, records: Sequence[Record]) -> Record:
        """Return a trial that goes on from another's checkpoint, and link that checkpoint."""
        number, source = len(records), records[action.parent]
        params = self.policy.explore(
            self.space, source.params, derive_seed(self.seed, "explore", number)
        )
        step = step_at_fraction(self.policy.rungs[action.rung], source.lasts[0].total_steps)
        parent = Parent(trial=source.number, rung=action.rung, step=step)
        record = Record(
            number=number,
            params=params,
            overrides=self.overrides(params, is_default=False),
            seeds=self.seeds,
            parent=parent,
        )
        directory = self.segments.directory
        for seed in self.seeds:
            link_checkpoint(directory(source, seed), directory(record, seed), parent)
        return record

    def overrides(self, params: Mapping[str, Any], is_default: bool) -> list[str]:
        """Return what makes a trial, as one would type it."""
        return [*self.space.fixed, *([] if is_default else self.space.overrides(params))]

    def _observations(
        self, records: Sequence[Record], standings: Sequence[TrialState]
    ) -> list[Observation]:
        """Return what the sampler learns from; nothing for one that reads no scores."""
        if not self.sampler.reads_scores:
            return []
        return observations(records, standings, enough=len(self.space.dimensions) + 2)
