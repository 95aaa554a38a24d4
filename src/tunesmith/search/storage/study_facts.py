"""What a study's store holds of the study as a whole; each field is a row of its table."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from tunesmith.reporting.results import Confirmation, Plateau, StudyEnd, StudySpec
from tunesmith.reporting.trial_results import Value
from tunesmith.search.trial import MeasuredCost, Result


class Objective(Value):
    """The score that decides, and whether more or less of it is better."""

    metric: str
    mode: Literal["max", "min"]


class Identity(Value):
    """What makes a study this one: it goes on under the same space, settings and inputs alone."""

    space: dict[str, Any]
    settings: dict[str, Any]
    inputs: dict[str, str] = Field(default_factory=dict)  # fingerprints of rows and model


class Costs(Value):
    """What trainings cost on the machine that began the study; it decides nothing."""

    by_kind: dict[str, MeasuredCost]  # of model, adaptation and the like


class StudyFacts(BaseModel):
    """All of it; None is what is not known yet."""

    model_config = ConfigDict(strict=True)

    format: Literal[2]
    objective: Objective | None = None
    identity: Identity | None = None
    spec: StudySpec | None = None
    ended: StudyEnd | None = None
    costs: Costs | None = None
    confirmation: Confirmation | None = None
    plateau: Plateau | None = None
    seconds: float = 0.0  # of all sessions
    results: dict[str, Result] = {}  # of runs that are no trials: "confirm 3 101", "test 3"
