"""The results of a study: what summary.json holds, typed and checked; all that is shown reads it.

A file may be a stranger's: `StudyResults.model_validate_json` refuses what no study writes.
"""

from functools import cached_property
from typing import Any, Final, Literal, Self

from pydantic import Field, model_validator

from tunesmith.reporting import formatting
from tunesmith.reporting.trial_results import FAILED, PAUSED, State, TrialResult, Value, is_number

FORMAT: Final = 2  # of summary.json and study.db; another one is refused


class SearchedDimension(Value):
    """A dimension of the space; one that only trials know is a list of choices."""

    key: str
    kind: Literal["categorical", "int", "float"] = "categorical"
    low: int | float | None = None
    high: int | float | None = None
    step: int | float | None = None
    log: bool = False
    choices: list[Any] = Field(default_factory=list)
    when: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _has_a_range(self) -> Self:
        if self.kind != "categorical":
            if not (is_number(self.low) and is_number(self.high) and self.low <= self.high):
                raise ValueError(f"{self.key} has no range")
            if self.log and self.low <= 0:
                raise ValueError(f"{self.key} has a logarithmic range from {self.low}")
        return self

    @property
    def range(self) -> tuple[float, float]:
        """The ends of a dimension of numbers."""
        assert self.low is not None and self.high is not None
        return self.low, self.high

    def is_set(self, trial: "TrialResult") -> bool:
        """Tell whether a trial has a value here: active, and no null among numbers."""
        if self.kind == "categorical":
            return self.key in trial.params
        value: Any = trial.params.get(self.key)
        return is_number(value) and not isinstance(value, bool) and (value > 0 or not self.log)


class Arm(Value):
    """One setting over the seeds of the confirmation, in the metric's own direction.

    `mean`, `low` and `high` (95 % confidence) are over its finished seeds, None where there are
    too few of them; `difference` and `p_better` compare it with the default, seed by seed.
    """

    trial: int
    is_default: bool
    scores: list[float | None]
    mean: float | None
    low: float | None
    high: float | None
    difference: float | None
    p_better: float | None
    dropped: str | None  # why it got no more seeds than these; None: it had all

    @property
    def name(self) -> str:
        return "default" if self.is_default else f"trial {self.trial}"

    @property
    def seed_scores(self) -> list[float]:
        """The scores of the seeds that came to their end."""
        return [score for score in self.scores if is_number(score)]


class Confirmation(Value):
    """The arms, the winner, and why it is that one, in words.

    `seeds` are those that the winner had, of at most `most_seeds`: it ended when it knew enough.
    Means, intervals and P(better) are not adjusted for that.

    A winner that is neither the default nor clearly better is there only because the default
    failed on every seed; the reason says so.
    """

    seeds: list[int]
    most_seeds: int
    alpha: float
    arms: list[Arm]
    winner: int
    clearly_better: bool
    reason: str

    @property
    def trainings(self) -> int:
        """How many runs it took."""
        return sum(len(arm.scores) for arm in self.arms)

    @property
    def most_trainings(self) -> int:
        """How many it would have taken over all seeds."""
        return len(self.arms) * self.most_seeds


class TestScores(Value):
    """What the winner reached on the test split, and how often that split has been used."""

    __test__ = False  # no test case of pytest's

    trial: int
    scores: dict[str, float]
    uses: int


class Plateau(Value):
    """Why no more trials were started: `gain` and `noise` are in the metric's units.

    `gain` is what the next `patience` trials were expected to raise the best score by when
    `trials` had ended, of the `target` that were asked for.
    """

    patience: int
    trials: int
    target: int
    gain: float
    noise: float  # standard deviation of a trial's score
    source: str  # what the noise is known from


class Estimate(Value):
    """What a search was to cost, told before it ran; seconds of the clock, bytes.

    `seconds` is None where nothing could be measured beforehand, and within `search.budget`.
    """

    trials: int
    segments: list[int]  # that end at each rung, of all seeds
    steps: int | None = None  # of the trials, as are the validations
    validations: int | None = None
    confirmation_runs: int  # at most
    workers: int
    seconds: float | None
    unlimited_seconds: float = 0.0  # without a budget
    trial_seconds: float = 0.0
    confirmation_seconds: float = 0.0
    winner_seconds: float = 0.0
    disk: int = 0
    memory: int = 0  # of a worker, at most
    gpu_memory: int = 0


class StudySpec(Value):
    """What a study was asked."""

    study: str
    command: list[str]
    metric: str
    mode: Literal["max", "min"]
    sampler: str
    policy: str
    rungs: list[float] = Field(min_length=1)
    reduction_factor: int
    seed: int
    explicit_grid: bool
    space: list[SearchedDimension]
    estimate: Estimate | None = None


class StudyEnd(Value):
    """How a study ended; all of it is None for one that has not."""

    stopped_by: str | None = None  # None: under way
    seconds: float = 0.0
    winner: int | None = None
    winner_directory: str | None = None
    winner_overrides: list[str] | None = None
    test: TestScores | None = None
    unconfirmed: str | None = None  # why nothing was confirmed, where that was asked for
    plateau: Plateau | None = None  # where search.patience ended it


class StudyResults(StudySpec, StudyEnd):
    """All that can be said of a study."""

    format: Literal[2]
    directory: str
    trials: list[TrialResult]
    best: int | None
    default: int | None
    confirmation: Confirmation | None
    counts: dict[State, int]
    rows: dict[str, int] = Field(default_factory=dict)
    steps: int
    full_steps: int
    versions: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _is_of_one_study(self) -> Self:
        """Refuse what is of the right type and still means nothing."""
        numbers, rungs = [t.number for t in self.trials], range(len(self.rungs))
        known = set(numbers)
        if len(set(numbers)) < len(numbers):
            raise ValueError("a trial stands twice")
        for trial in self.trials:
            reached = [trial.rung] if trial.rung is not None else []
            if any(rung not in rungs for rung in [*reached, *trial.scores]):
                raise ValueError(f"trial {trial.number} has a rung that the study has not")
            parent = trial.parent
            if parent is not None and not (
                parent.trial in known and parent.trial < trial.number and parent.rung in rungs
            ):
                raise ValueError(f"trial {trial.number} has a parent that the study has not")
        return self

    # Order

    @cached_property
    def ranked(self) -> list[TrialResult]:
        """All trials in order: by highest rung, then score; then those without a place.

        These are the collapsed and diverged ones, which have a score that says nothing, the
        unscored, and the failed. A higher rung goes first because its score is of a longer
        training; none is ever left out.
        """
        return sorted(self.trials, key=self._order)

    def _order(self, trial: TrialResult) -> tuple[int, int, float, int]:
        if trial.state == FAILED:
            return 3, 0, 0.0, trial.number
        if not is_number(trial.score):
            return 2, 0, 0.0, trial.number
        score = -self.sign * trial.known_score
        return int(trial.is_degenerate), -(trial.rung or 0), score, trial.number

    @cached_property
    def scored(self) -> list[TrialResult]:
        """The trials that have a place, the best first."""
        return [trial for trial in self.ranked if trial.has_score]

    @cached_property
    def ranks(self) -> dict[int, int]:
        """Number of a trial -> its rank, from 1; those without a score are not in it."""
        return {trial.number: place for place, trial in enumerate(self.scored, start=1)}

    @property
    def finalists(self) -> list[TrialResult]:
        """The trials at the highest rung that any reached, the best first."""
        return [trial for trial in self.scored if trial.rung == self.scored[0].rung]

    @property
    def sign(self) -> int:
        """1 where more is better, else -1."""
        return 1 if self.mode == "max" else -1

    @property
    def last_rung(self) -> int:
        return len(self.rungs) - 1

    def by_number(self, number: int | None) -> TrialResult | None:
        """Return the trial of this number, None where there is none."""
        return next((trial for trial in self.trials if trial.number == number), None)

    def stages_of(self, number: int | None) -> list[tuple[int, TrialResult]]:
        """Return whose settings a trial was trained with, each up to which rung; its own last.

        Only one that began from another's checkpoint has more than one stage: it is a schedule.
        """
        trial = self.by_number(number)
        stages = [(self.last_rung, trial)] if trial is not None else []
        while stages and (parent := stages[0][1].parent) is not None:
            source = self.by_number(parent.trial)
            assert source is not None  # see `_is_of_one_study`
            stages.insert(0, (parent.rung, source))
        return stages

    @property
    def arms(self) -> list[Arm]:
        """The settings that were confirmed, the default last."""
        found = self.confirmation.arms if self.confirmation is not None else []
        return sorted(found, key=lambda arm: arm.is_default)

    # The space

    @cached_property
    def keys(self) -> list[str]:
        """What was searched: the keys of the space, then any other that a trial has."""
        others = (key for trial in self.trials for key in trial.params)
        return list(dict.fromkeys([*(dimension.key for dimension in self.space), *others]))

    def dimension(self, key: str) -> SearchedDimension:
        known = (dimension for dimension in self.space if dimension.key == key)
        return next(known, None) or SearchedDimension(key=key)

    # Words

    @property
    def over_seeds(self) -> str:
        """What a column of scores adds to its metric: over how many seeds each is the mean."""
        seeds = max((len(trial.replicates) for trial in self.trials), default=0)
        return f" mean ± deviation of {seeds} seeds" if seeds > 1 else ""

    def trial_name(self, number: int) -> str:
        """Return `trial 7`, or `the default` for the config that a grid started from, no trial."""
        return "the default" if self.by_number(number) is None else f"trial {number}"

    def rung_name(self, index: int | None) -> str:
        """Return `1/9`, `full`, or - for a trial that reached no rung."""
        return "-" if index is None else formatting.rung(self.rungs[index])

    def at_rung(self, index: int | None) -> str:
        """Return ` at rung 1/9` or ` in full training`; nothing where there is one rung only."""
        if not self.last_rung:
            return ""
        is_last = index == self.last_rung
        return " in full training" if is_last else f" at rung {self.rung_name(index)}"

    def state_name(self, trial: TrialResult) -> str:
        """Return what became of a trial: complete, paused at 1/9, failed: nan."""
        if trial.state == FAILED:
            return f"failed: {trial.failure or 'unknown'}"
        if trial.failure:
            return f"{trial.state}, {trial.failure}"
        if trial.state == PAUSED:
            return f"paused at {self.rung_name(trial.rung)}"
        return trial.state

    @property
    def counted(self) -> str:
        """`27 trials: 9 complete, 15 paused, 3 failed`, every one of them counted."""
        parts = [f"{n} {state}" for state, n in self.counts.items() if n]
        total = formatting.count(len(self.trials), "trial")
        return f"{total}: {', '.join(parts)}" if parts else "no trials"

    @property
    def split_words(self) -> str:
        """What every best score of a search must be labelled with."""
        trials = formatting.count(len(self.trials), "trial")
        return f"validation, selected from {trials} (optimistic)"
