"""A trial's rows in Optuna's tables, written by us: several facts in one transaction.

Through Optuna's own storage each fact is a transaction, and each waits for the disk. The tables
are those of Optuna 4 and 5, which reads all that stands here.
"""

import json
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from optuna.distributions import BaseDistribution, distribution_to_json
from sqlalchemy import Connection, text

RECORD = "tunesmith"  # the attribute that holds all of a trial

_ADD = text(
    "INSERT INTO trials (number, study_id, state, datetime_start)"
    " VALUES (:number, :study, 'RUNNING', :now)"
)
_ADD_PARAM = text(
    "INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json)"
    " VALUES (:id, :name, :value, :distribution)"
)
_ADD_RECORD = text(
    "INSERT INTO trial_user_attributes (trial_id, key, value_json) VALUES (:id, :key, :record)"
)
_SET_RECORD = text(
    "UPDATE trial_user_attributes SET value_json = :record WHERE trial_id = :id AND key = :key"
)
_SET_INTERMEDIATE = text(
    "INSERT INTO trial_intermediate_values"
    " (trial_id, step, intermediate_value, intermediate_value_type)"
    " VALUES (:id, :step, :value, :type) ON CONFLICT (trial_id, step) DO UPDATE SET"
    " intermediate_value = :value, intermediate_value_type = :type"
)
_END = text("UPDATE trials SET state = :state, datetime_complete = :now WHERE trial_id = :id")
_SET_VALUE = text(
    "INSERT INTO trial_values (trial_id, objective, value, value_type)"
    " VALUES (:id, 0, :value, :type)"
)
_FORGET_VALUE = text("DELETE FROM trial_values WHERE trial_id = :id")


def add(
    connection: Connection,
    study: int,
    number: int,
    params: Mapping[str, tuple[Any, BaseDistribution]],
    record: Mapping[str, Any],
) -> int:
    """Insert a running trial with its parameters; return its id."""
    facts = {"number": number, "study": study, "now": _now()}
    trial = int(connection.execute(_ADD, facts).lastrowid)
    for name, (value, known) in params.items():
        internal = known.to_internal_repr(value)
        facts = {"id": trial, "name": name, "value": internal}
        connection.execute(_ADD_PARAM, {**facts, "distribution": distribution_to_json(known)})
    connection.execute(_ADD_RECORD, {"id": trial, "key": RECORD, "record": json.dumps(record)})
    return trial


def set_record(connection: Connection, trial: int, record: Mapping[str, Any]) -> None:
    """Replace all that is known of a trial."""
    connection.execute(_SET_RECORD, {"id": trial, "key": RECORD, "record": json.dumps(record)})


def set_intermediate(connection: Connection, trial: int, step: int, score: float) -> None:
    """Write, or replace, the score at a step."""
    connection.execute(_SET_INTERMEDIATE, {"id": trial, "step": step, **_value(score)})


def end(connection: Connection, trial: int, state: str, score: float | None) -> None:
    """End a running trial in one of Optuna's states, with a value or without one."""
    connection.execute(_END, {"id": trial, "state": state, "now": _now()})
    if score is not None:
        connection.execute(_SET_VALUE, {"id": trial, **_value(score)})


def run_again(connection: Connection, trial: int) -> None:
    """Have an ended trial run again, which Optuna itself does not allow."""
    connection.execute(_END, {"id": trial, "state": "RUNNING", "now": None})
    connection.execute(_FORGET_VALUE, {"id": trial})


def _value(score: float) -> dict[str, Any]:
    if math.isfinite(score):
        return {"value": score, "type": "FINITE"}
    return {"value": None, "type": "INF_POS" if score > 0 else "INF_NEG"}


def _now() -> str:
    return datetime.now().isoformat(" ", "microseconds")
