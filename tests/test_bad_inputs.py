"""What a run refuses before a weight is opened: rows that need data, model and machine together.

The other rows of the catalogue (catalogue.py): files and labels in data/test_bad_rows.py, models
in models/, configs in test_config.py and test_program.py, run directories in test_run.py.
"""

import json
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import pytest
from hydra import compose, initialize_config_dir

from support.bad_inputs import named, row
from support.commands import csv_file, small
from support.tiny_models import TOKENIZERS, tiny_model
from tunesmith.cli.entry import exit_code
from tunesmith.config import CONF
from tunesmith.errors import TunesmithError
from tunesmith.pipeline import components
from tunesmith.pipeline.train import train as run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("bad")


@pytest.fixture(scope="module")
def arguments(folder):
    return small(folder)


def refused(arguments, capsys):
    """Run in this process; return the exit code and what stderr said."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", arguments)
    code = exit_code(lambda: run(cfg))
    return code, capsys.readouterr().err.strip()


CASES = {
    "row 34: max_length over the model's limit": (
        ["data.max_length=1000"],
        2,
        "error[CONF-LENGTH] data.max_length=1000: ",
    ),
    "row 42: a batch that cannot be cut": (
        ["data.batch_size=2", "trainer.micro_batches=4"],
        2,
        "error[CONF-BATCH] data.batch_size=2: cannot be divided over 1 devices x 4 micro-batches",
    ),
    "row 43: never scored, so nothing would be chosen": (
        ["trainer.val_check_interval=500"],
        2,
        "error[CONF-RANGE] trainer.val_check_interval=500: the run has 10 steps",
    ),
    "row 44: a warmup longer than the run": (
        ["scheduler.warmup=1.5"],
        2,
        "error[CONF-RANGE] scheduler.warmup=1.5: ",
    ),
    "row 57: a monitor that the task does not produce": (
        ["callbacks.checkpoint.monitor=val/acuracy"],
        2,
        "did you mean 'val/accuracy'?",
    ),
    "row 58: minimising accuracy": (
        ["callbacks.checkpoint.monitor=val/accuracy", "callbacks.checkpoint.mode=min"],
        2,
        "callbacks.checkpoint.mode",
    ),
    "row 60: a model folder that is not there": (
        ["model.path=./nope"],
        4,
        "error[MODEL-404] ./nope",
    ),
    "row 71: a GPU where there is none": (
        ["trainer=gpu"],
        5,
        "error[ENV-DEVICE] trainer.accelerator=gpu: no GPU is visible; use trainer=cpu",
    ),
    "row 71: sharding without GPUs": (
        ["trainer=fsdp", "trainer.accelerator=cpu"],
        5,
        "error[ENV-DEVICE] trainer.strategy=fsdp: needs GPUs",
    ),
    "row 72: fp16 on the CPU": (
        ["trainer.precision=16-mixed"],
        5,
        "error[ENV-PRECISION] trainer.precision=16-mixed: needs a GPU",
    ),
    "a run directory below a file": (
        ["paths.runs=/dev/null/runs"],
        5,
        "error[ENV-DIR]",
    ),
    "a checkpoint that is a URL": (
        ["ckpt_path=http://127.0.0.1/x"],
        2,
        "error[CONF-RANGE] ckpt_path=http://127.0.0.1/x: must be a local path, not a URL",
    ),
    "a checkpoint that is not there": (["ckpt_path=nope.ckpt"], 4, "error[CKPT-404]"),
    "a loss for another task": (["loss=mse"], 2, "error["),
}


@pytest.mark.parametrize("case", named(CASES))
def test_it_is_refused_in_one_line_before_the_model_is_opened(arguments, monkeypatch, capsys, case):
    change, code, says = CASES[case]

    def opened(source):
        raise AssertionError("the model was opened")

    monkeypatch.setattr(components, "load_model", opened)
    got, said = refused([*arguments, *change], capsys)
    assert (got, len(said.splitlines())) == (code, 1), said
    assert said.startswith("error[")
    assert says in said
    assert len(said) <= 200
    assert "Traceback" not in said


@row(33)
def test_a_cut_text_is_told_or_refused(folder, arguments, capsys):
    long = folder / "long.csv"
    csv_file(long, 20)
    long.write_text(long.read_text() + f'"{"word " * 200}",pos\n')
    change = [f"data.train_file={long}", "data.on_truncation=error"]
    code, said = refused([*arguments, *change], capsys)
    assert code == 3
    assert said.startswith("error[DATA-LONG] train: 5% of texts truncated at 32 tokens")


@row(32)
@pytest.mark.parametrize("kind", TOKENIZERS)
def test_an_empty_text_has_tokens_in_every_architecture(kind):
    assert len(TOKENIZERS[kind]()("")["input_ids"]) == 2


@row(32)
def test_a_row_without_a_token_is_named(folder, arguments, capsys):
    model = tiny_model("modernbert", folder / "bare")
    words = json.loads((model / "tokenizer.json").read_text())
    (model / "tokenizer.json").write_text(json.dumps({**words, "post_processor": None}))
    rows = csv_file(folder / "gap.csv", 20).read_text().splitlines()
    (folder / "gap.csv").write_text("\n".join([*rows[:8], ",pos", *rows[8:]]) + "\n")
    change = [f"model.path={model}", f"data.train_file={folder}/gap.csv", "name=gap"]
    code, said = refused([*arguments, *change], capsys)
    assert code == 1
    assert said.splitlines()[-1] == (
        "error[INTERNAL] row 7: the text '' becomes no token at all; "
        "data.on_empty_text=drop leaves it out"
    )


@pytest.fixture
def mlflow(monkeypatch):
    """An MLflow of which only the client is there; its server takes no password."""

    class Client:
        def __init__(self, address):
            self.address = address

        def search_experiments(self, max_results):
            raise RuntimeError(f"request to {self.address}/api failed with error code 401\nbody")

    package = ModuleType("mlflow")
    package.__spec__ = ModuleSpec("mlflow", None)
    monkeypatch.setitem(sys.modules, "mlflow", package)
    monkeypatch.setitem(sys.modules, "mlflow.tracking", SimpleNamespace(MlflowClient=Client))


STORES = {
    "row 73: a driver that is missing": (
        "postgresql://me:hunter2@127.0.0.1/scores",
        "error[STORE] postgresql://me:***@127.0.0.1/scores: driver 'psycopg2' is not installed; "
        "install it, or name another: postgresql+DRIVER://",
    ),
    "row 73: a password that is refused": (
        "http://me:hunter2@127.0.0.1:9/mlflow",
        "error[STORE] http://me:***@127.0.0.1:9/mlflow: "
        "request to http://me:***@127.0.0.1:9/mlflow/api failed with error code 401",
    ),
}


@pytest.mark.parametrize("case", named(STORES))
def test_a_store_that_cannot_be_opened_costs_one_line(
    case, folder, arguments, mlflow, monkeypatch, capsys
):
    def create_engine(address, poolclass):
        raise ModuleNotFoundError(f"No module named 'psycopg2' ({address})", name="psycopg2")

    pool = SimpleNamespace(NullPool=None)
    fake = SimpleNamespace(create_engine=create_engine, pool=pool)
    monkeypatch.setitem(sys.modules, "sqlalchemy", fake)
    monkeypatch.setattr(components, "load_model", None)  # not called: no weight is opened
    address, line = STORES[case]
    change = ["logger=mlflow", f"logger.mlflow.tracking_uri={address}", "name=stored"]
    assert refused([*arguments, *change], capsys) == (5, line)
    assert not (folder / "runs" / "stored").exists()


def test_a_logger_whose_package_is_missing_says_how_to_get_it(arguments, monkeypatch, capsys):
    for package in ("mlflow", "wandb"):
        monkeypatch.setitem(sys.modules, package, None)
        assert refused([*arguments, f"logger={package}"], capsys) == (
            5,
            f"error[ENV-PACKAGE] logger={package}: not installed; "
            f"pip install 'tunesmith[{package}]'",
        )


def test_errors_name_themselves_in_status_json_too(folder, arguments, capsys):
    from tunesmith import runs

    change = ["optimizer.lr=1e30", "trainer.precision=32", "name=status"]
    code, said = refused([*arguments, *change], capsys)
    assert code == 6
    (directory,) = (folder / "runs" / "status").iterdir()
    status = runs.read_status(directory)
    assert status["state"] == "failed"
    assert status["error"] in said


def test_errors_are_cut_to_a_line_and_show_no_control_characters():
    error = TunesmithError("X", "a\x1b]0;b", "what\n" * 100, "mend it")
    assert len(str(error)) <= 200
    assert str(error).endswith("mend it")
    assert str(error).isprintable()


def test_of_a_long_path_the_end_is_told_and_the_reason_whole():
    path = f"/{'deep/' * 40}study"
    said = str(TunesmithError("STUDY", path, "has no winner: nothing has a score", "run it again"))
    assert len(said) <= 200
    assert said.endswith("deep/study: has no winner: nothing has a score; run it again")
    assert str(TunesmithError("X", "short/study", "is", "so")) == "error[X] short/study: is; so"
