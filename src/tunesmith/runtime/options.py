"""Typed options: what a group of the config may say, key by key.

Each group has one class beside the code that uses it. A field gives the key's type, its range and
one sentence; defaults stand in the yaml files and nowhere else, so no field has one.
"""

from typing import Annotated

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, ConfigDict


class Options(BaseModel):
    """The options of one config group: frozen, complete, of exactly these keys.

    Values are plain (no configs of Hydra's) and are taken as they are: `"3"` is no integer and
    `1` is no boolean; an integer is a float too.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, ser_json_inf_nan="strings")


Fraction = Annotated[float, Ge(0), Lt(1)]  # a share that leaves something
Share = Annotated[float, Gt(0), Le(1)]  # a share that is something
Unit = Annotated[float, Ge(0), Le(1)]
Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
Count = Annotated[int, Ge(1)]
Seed = Annotated[int, Ge(0), Le(2**32 - 1)]
