"""Stores that cannot be opened: one line with the address, never its password."""

import importlib
import sqlite3
import sys
import traceback
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from tunesmith.errors import ConfigError, MachineError, TunesmithError
from tunesmith.runtime.mask_secrets import mask_plain_secrets, password_of
from tunesmith.training import logger_connections

ADDRESS = "postgresql://me:hunter2@host/db"
SHOWN = [
    (ADDRESS, "postgresql://me:***@host/db"),
    ("postgresql+psycopg://me:p@ss/w:rd@host:5432/db", "postgresql+psycopg://me:***@host:5432/db"),
    ("redis://:hunter2@host", "redis://:***@host"),
    ("at http://a:b@c, then http://d:e@f/g.", "at http://a:***@c, then http://d:***@f/g."),
    ("postgresql://me@host:5432/db", "postgresql://me@host:5432/db"),
    ("http://host:8080/team@home", "http://host:8080/team@home"),
    ("a:b@c and 12:30@noon", "a:b@c and 12:30@noon"),
]


@pytest.mark.parametrize(("text", "shown"), SHOWN)
def test_the_password_of_an_address_is_masked(text: str, shown: str) -> None:
    assert mask_plain_secrets(text) == shown


def test_a_password_may_hold_anything() -> None:
    assert password_of("mysql://me:a b@c/d@host/db") == "a b@c/d"
    assert password_of("mysql://me@host:3306/db") == password_of("runs/mlflow.db") == ""


def refusal(address: str, error: Exception) -> MachineError:
    with (
        pytest.raises(MachineError) as caught,
        logger_connections.connection_errors_as_one_line(address),
    ):
        raise error
    assert caught.value.exit_code == 5
    assert len(str(caught.value)) <= 200 and len(caught.value.lines) == 1
    return caught.value


def test_a_missing_driver_is_named() -> None:
    with (
        pytest.raises(MachineError) as caught,
        logger_connections.connection_errors_as_one_line(ADDRESS),
    ):
        importlib.import_module("no_such_driver")
    assert str(caught.value) == (
        "error[STORE] postgresql://me:***@host/db: driver 'no_such_driver' is not installed; "
        "install it, or name another: postgresql+DRIVER://"
    )


@pytest.mark.parametrize("password", ["hunter2", "p%40ss", "a.b", "p@ss w/rd", "x"])
def test_what_a_server_says_is_one_line_without_the_password(password: str) -> None:
    address = f"postgresql://me:{password}@host/db"
    said = f"connection to {address} failed (password={password}, user=me)\nDETAIL: {password}"
    error = refusal(address, RuntimeError(said))
    line = str(error)
    assert line.startswith("error[STORE] postgresql://me:***@host/db: connection to ")
    assert "(password=***, user=me)" in line and "DETAIL" not in line
    shown = "".join(traceback.format_exception(error))
    assert f":{password}@" not in shown and f"={password}," not in shown


def test_a_wrapped_error_says_what_the_driver_said() -> None:
    wrapped = RuntimeError("(driver.Error) refused\n(Background on this error at: https://x)")
    wrapped.orig = ValueError('FATAL: password authentication failed for user "me"')  # type: ignore[attr-defined]
    assert str(refusal(ADDRESS, wrapped)) == (
        "error[STORE] postgresql://me:***@host/db: "
        'FATAL: password authentication failed for user "me"'
    )


def test_an_error_without_words_has_its_name() -> None:
    assert str(refusal(ADDRESS, TimeoutError())).endswith("@host/db: TimeoutError")


def test_a_database_that_cannot_be_opened_is_one_line(tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path}/no/study.db"
    with (
        pytest.raises(MachineError) as caught,
        logger_connections.connection_errors_as_one_line(address),
    ):
        sqlite3.connect(tmp_path / "no" / "study.db")
    assert str(caught.value) == f"error[STORE] {address}: unable to open database file"


def test_mistakes_of_ours_inside_pass_as_they_are() -> None:
    with pytest.raises(ConfigError), logger_connections.connection_errors_as_one_line(ADDRESS):
        raise ConfigError("CONF-X", "", "x")


def test_a_database_is_asked_through_sqlalchemy(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def create_engine(address: str, poolclass: type) -> SimpleNamespace:
        if address == ADDRESS:
            raise ModuleNotFoundError(f"for {address}", name="psycopg2")
        return SimpleNamespace(connect=lambda: nullcontext(asked.append(address)))

    pool = SimpleNamespace(NullPool=object)
    fake = SimpleNamespace(create_engine=create_engine, pool=pool)
    monkeypatch.setitem(sys.modules, "sqlalchemy", fake)
    logger_connections.check_database("postgresql://me@host/db")
    assert asked == ["postgresql://me@host/db"]
    with pytest.raises(MachineError, match="driver 'psycopg2' is not installed"):
        logger_connections.check_database(ADDRESS)


def test_no_error_at_all_shows_the_password_of_an_address() -> None:
    error = TunesmithError("X", f"tracking_uri={ADDRESS}", f"cannot reach {ADDRESS}", ADDRESS)
    assert "hunter2" not in str(error) and str(error).count("postgresql://me:***@host/db") == 3
