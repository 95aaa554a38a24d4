"""The `search` group: which points are tried, how far each is trained, what is confirmed."""

from typing import Annotated, Any

from pydantic import Field

from tunesmith.runtime.options import Amount, Count, CountOrZero, Options, Rule


class ConfirmOptions(Options):
    """What follows a search: its best trials against the default config, over fresh seeds."""

    top: CountOrZero = Field(description="How many of the best trials are confirmed; 0: none.")
    seeds: Count = Field(description="Fresh seeds per confirmed trial, at most.")
    stop_early: bool = Field(
        description="Train seed after seed, and end when it is known who wins; false: all at once."
    )


class SearchOptions(Options):
    """Every key of `search`."""

    sampler: dict[str, Any]  # what proposes the next point: a target
    policy: dict[str, Any]  # what decides how far a trial is trained: a target
    trials: Count | None = Field(
        description="How many trials in all; a larger number extends a finished study; null: the "
        "whole grid."
    )
    replicates: Count = Field(
        description="Seeds per trial, which is scored by their mean; or seed=1,2,3."
    )
    seed: CountOrZero = Field(description="The seed of the sampler.")
    initial_points: Annotated[list[dict[str, Any]], Rule("a list of mappings")] = Field(
        description="Points that are tried first: [{optimizer.lr: 3.0e-5}]."
    )
    budget: Amount | None = Field(
        description="A duration such as 8h, after which the search ends with a usable result."
    )
    timeout: Amount | None = Field(
        description="The longest duration of one segment; a longer one fails."
    )
    max_disk: Amount | None = Field(
        description="A size of all checkpoints, such as 20GB; beyond it the worst paused trials "
        "lose theirs."
    )
    max_failures: CountOrZero | None = Field(
        description="More failed trials than this end the study with exit code 7."
    )
    patience: Count | None = Field(
        description="Start no more trials once so many are expected to raise the best score by "
        "less than the noise of one; null: never."
    )
    retries: CountOrZero = Field(
        description="How often a segment is tried again whose worker died."
    )
    dry_run: bool = Field(
        description="true: a few steps are measured, and what the search would cost is printed; "
        "no trial runs."
    )
    confirm: ConfirmOptions
