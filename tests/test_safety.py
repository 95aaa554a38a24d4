"""A run from a stranger: read as data; what asks for more is refused, and nothing executed.

Each case copies one finished run and poisons the copy. A payload would make the canary file;
an audit hook notices any command, process or connection besides.
"""

import hashlib
import io
import json
import os
import pickle
import shutil
import sys
import types
from pathlib import Path

import pytest
import torch
import yaml
from hydra import compose, initialize_config_dir
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from support.commands import command, only_run, small, train, tunesmith
from tunesmith import config, runs
from tunesmith.cli import entry, main
from tunesmith.errors import TunesmithError
from tunesmith.models import media_encoder, media_spec
from tunesmith.pipeline.run_context import resolve_resume
from tunesmith.pipeline.train import train as run_config
from tunesmith.training import checkpoint_io

WATCHED = {"os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "socket.connect"}
seen: list[str] | None = None  # audit hooks cannot be taken away: this one sleeps between tests


def _watch(event: str, arguments: tuple) -> None:
    if seen is not None and event in WATCHED and arguments[:1] != ("git",):  # we ask it ourselves
        seen.append(f"{event} {arguments!r}"[:200])


sys.addaudithook(_watch)


class Payload:
    """Pickles to a call of os.system that makes the canary."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self):
        return os.system, (f"touch {self.canary}",)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("original")
    done = train([*small(folder), "trainer.max_epochs=1", "callbacks.figures=false"])
    assert done.returncode == 0, done.stderr[-3000:]
    return only_run(folder)


@pytest.fixture
def run(original, tmp_path, monkeypatch):
    """A copy of the run, to be poisoned; the tests work beside it."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(original, tmp_path / "runs" / "default" / original.name))


@pytest.fixture
def stored(original, tmp_path):
    """A folder with the run's config alone."""
    shutil.copy(original / "config.yaml", tmp_path)
    return tmp_path


def refusal(folder: Path) -> str:
    with pytest.raises(TunesmithError) as raised:
        config.read_saved_config(folder / "config.yaml")
    assert raised.value.exit_code == 8
    return raised.value.lines[0]


@pytest.fixture
def canary(tmp_path):
    return tmp_path / "canary"


@pytest.fixture
def ask(run, canary, capsys, monkeypatch):
    """Ask a command of the poisoned run; return its exit code and its one line on stderr."""

    def ask(name: str) -> tuple[int, str]:
        global seen
        monkeypatch.setattr(sys, "stdin", io.StringIO("y\n" * 9))
        capsys.readouterr()
        seen = []
        try:
            code = entry.exit_code(lambda: COMMANDS[name](run))
        finally:
            watched, seen = seen, None
        lines = capsys.readouterr().err.splitlines()
        assert watched == []
        assert not canary.exists()
        assert len(lines) == 1, lines
        assert len(lines[0]) <= 200
        return code, lines[0]

    return ask


def composed(*arguments: str) -> None:
    with initialize_config_dir(str(config.CONF), version_base="1.3"):
        cfg = compose("train", list(arguments))
    run_config(cfg)


COMMANDS = {
    "evaluate": lambda run: main._command(["evaluate", str(run), "--split", "validation"]),
    "predict": lambda run: main._command(["predict", str(run), "--text", "lovely film"]),
    "show": lambda run: main._command(["show", str(run)]),
    "resume": lambda run: composed(f"resume={run}"),
    "start from it": lambda run: composed(
        *small(run.parents[2]), f"model.path={run}", f"ckpt_path={run}/checkpoints/last.ckpt"
    ),
}
ALL = ["evaluate", "predict", "show", "resume"]
MODEL = ["evaluate", "predict", "start from it"]  # these read RUN/model


def edit(run: Path, path: str, value) -> None:
    """Set a dotted key of the stored config; what is in its way makes room."""
    file = run / "config.yaml"
    values = yaml.load(file.read_text(), Loader=yaml.CSafeLoader)
    node, keys = values, path.split(".")
    for key in keys[:-1]:
        if not isinstance(node.get(key), dict):
            node[key] = {}
        node = node[key]
    node[keys[-1]] = value
    file.write_text(yaml.dump(values, Dumper=yaml.CSafeDumper))


def system(canary: Path) -> dict:
    return {"_target_": "os.system", "command": f"touch {canary}"}


# Targets: what a stored config may name


NAMES = """
os.system posix.system os.execv os.popen subprocess.run subprocess.Popen shutil.rmtree
builtins.exec builtins.eval builtins.open builtins.__import__ builtins.getattr
functools.partial operator.methodcaller importlib.import_module runpy.run_path
pickle.loads marshal.loads yaml.unsafe_load joblib.load numpy.load ctypes.CDLL
torch.load torch.hub.load torch.ops.load_library torch.utils.cpp_extension.load_inline
torch.jit.load torch.optim.Optimizer.add_param_group torch.optim.adamw.AdamW torch.optim.AdamW.step
torch.optim.lr_scheduler.types.FunctionType torch.optim.swa_utils.AveragedModel torch.nn.Linear
hydra.utils.instantiate hydra.utils.get_method hydra._internal.utils._locate
omegaconf.OmegaConf.register_new_resolver lightning.pytorch.callbacks.LambdaCallback
lightning.pytorch.loggers.CSVLogger transformers.AutoModel.from_pretrained
tunesmith.cli.entry.os.system tunesmith.config.instantiate.importlib.import_module
tunesmith.pipeline.train.train
tunesmith.training.distributed.subprocess.run tunesmith.cli.main.main sitecustomize.run os mine.Lion
"""
STRANGE = NAMES.split()
ODD = [None, 1, True, "", " ", "torch.optim.AdamW ", "\ttorch.optim.AdamW", "TORCH.optim.AdamW"]
ODD += ["torch.optim.AdamW\n", ["os.system"], {"_target_": "os.system"}, ["torch.optim.AdamW"]]
PLACES = [
    "task._target_",
    "loss._target_",
    "adapt._target_",
    "optimizer._target_",
    "scheduler._target_",
    "logger.tensorboard._target_",
    "logger.mine._target_",
    "_target_",
    "optimizer.betas._target_",
    "optimizer.a.b.c.d.e._target_",
    "model.config.layers._target_",
    "callbacks.checkpoint._target_",
    "hydra.job_logging.handlers.file._target_",
    "data.split._target_",
]


@pytest.mark.parametrize("name", STRANGE)
def test_a_stored_config_names_only_what_is_shipped(stored, name):
    edit(stored, PLACES[STRANGE.index(name) % len(PLACES)], name)
    line = refusal(stored)
    assert line.startswith("error[UNSAFE-TARGET]")
    assert "not shipped by Tunesmith" in line


@pytest.mark.parametrize("name", ODD, ids=repr)
def test_a_target_that_is_no_name_is_refused(stored, name):
    edit(stored, "optimizer._target_", name)
    assert refusal(stored).startswith("error[UNSAFE-TARGET]")


@pytest.mark.parametrize("place", PLACES)
def test_a_target_is_found_wherever_it_hides(stored, place):
    edit(stored, place, "os.system")
    assert refusal(stored).startswith(f"error[UNSAFE-TARGET] {place}=os.system")


@pytest.mark.parametrize(
    "value",
    [
        [0.9, {"_target_": "os.system"}],
        [[{"x": [{"_target_": "os.system"}]}]],
        {"_target_": "functools.partial", "_args_": [{"_target_": "os.system"}]},
    ],
    ids=["in a list", "in lists of lists", "behind partial"],
)
def test_a_target_is_found_in_lists(stored, value):
    edit(stored, "optimizer.betas", value)
    assert refusal(stored).startswith("error[UNSAFE-TARGET] optimizer.betas")


def test_a_target_is_found_behind_an_anchor_and_a_merge(stored):
    with (stored / "config.yaml").open("a") as file:
        file.write("x: &x\n  _target_: os.system\ny:\n  <<: *x\n")
    assert refusal(stored).startswith("error[UNSAFE-TARGET]")


def test_a_run_that_trusts_itself_is_not_trusted(stored):
    edit(stored, "trust", ["os"])
    edit(stored, "optimizer._target_", "os.system")
    assert refusal(stored).startswith("error[UNSAFE-TARGET]")


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("place", ["task", "optimizer", "logger.mine"])
def test_no_command_calls_a_strange_target(run, ask, canary, name, place):
    edit(run, place, system(canary))
    code, line = ask(name)
    assert code == 8
    assert line.startswith(f"error[UNSAFE-TARGET] {place}._target_=os.system")


# The yaml itself


def bomb(depth: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    for i in range(1, depth + 1):
        lines.append(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]")
    return "\n".join(lines)


YAML = {
    "alias bomb of depth 4": bomb(4),
    "alias bomb of depth 9": bomb(9),
    "an alias to itself": "a: &a [*a]",
    "a scalar of 10 MB": f"name: {'x' * 10_000_000}",
    "deep nesting": f"a: {'[' * 5000}{']' * 5000}",
    "a python tag": "a: !!python/object/apply:os.system ['touch CANARY']",
    "a python name": "a: !!python/name:os.system",
    "a tag of its own": "a: !run 'touch CANARY'",
    "the environment": "name: ${oc.env:TUNESMITH_TEST_SECRET}",
    "the environment, nested": "a: {b: ['x${oc.decode:${oc.env:TUNESMITH_TEST_SECRET}}']}",
    "the environment, as a key": "'${oc.env:TUNESMITH_TEST_SECRET}': 1",
    "a NUL in a path": 'data: {train_file: "a\\0b"}',
}


@pytest.mark.parametrize("name", ["predict", "resume", "show"])
@pytest.mark.parametrize("text", YAML.values(), ids=YAML.keys())
def test_a_yaml_that_is_more_than_data_is_refused(run, ask, canary, monkeypatch, text, name):
    monkeypatch.setenv("TUNESMITH_TEST_SECRET", "hunter2-canary")
    (run / "config.yaml").write_text(text.replace("CANARY", str(canary)))
    code, line = ask(name)
    assert code == 8
    assert line.startswith(("error[UNSAFE-", "error[CONF-SIZE]"))
    assert "hunter2" not in line


@pytest.mark.parametrize("text", ["", "[1, 2]", "a: [", "a: 1\na: 2\n", "\x00", "just text"])
def test_a_yaml_that_is_broken_is_said_to_be(run, ask, text):
    (run / "config.yaml").write_text(text)
    assert ask("predict")[0] == 4


# Pickles


def as_zip(value, path: Path) -> None:
    torch.save(value, path)


def as_legacy(value, path: Path) -> None:
    torch.save(value, path, _use_new_zipfile_serialization=False)


def as_plain(value, path: Path) -> None:
    path.write_bytes(pickle.dumps(value))


FORMATS = [as_zip, as_legacy, as_plain]


def poison_checkpoint(run: Path, value, write=as_zip) -> None:
    """Put a checkpoint in place that the manifest vouches for, into a run that is unfinished."""
    (run / "metrics.json").unlink()
    manifest = json.loads((run / "checkpoints/manifest.json").read_text())
    for name in ("last.ckpt", "best.ckpt", "previous.ckpt"):
        path = run / "checkpoints" / name
        path.unlink(missing_ok=True)
        write(value, path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        manifest[name] = {"sha256": digest, "size": path.stat().st_size, "step": 1}
    (run / "checkpoints/manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("write", FORMATS)
@pytest.mark.parametrize("name", ["resume", "ckpt_path"])
def test_a_pickle_in_a_checkpoint_is_refused(run, ask, canary, monkeypatch, write, name):
    payload = {"state_dict": {}, "global_step": 1, "callbacks": {}, "x": Payload(canary)}
    poison_checkpoint(run, payload, write)
    arguments = [*small(run.parents[2]), f"ckpt_path={run}/checkpoints/last.ckpt"]
    monkeypatch.setitem(COMMANDS, "ckpt_path", lambda run: composed(*arguments))
    code, line = ask(name)
    assert code == 8
    assert line.startswith("error[UNSAFE-PICKLE]")
    assert "weights_only" not in line  # never advise to switch it off


@pytest.mark.parametrize("write", FORMATS)
@pytest.mark.parametrize("name", MODEL)
def test_a_pickle_as_weights_is_refused(run, ask, canary, write, name):
    (run / "model/model.safetensors").unlink()
    write({"x": Payload(canary)}, run / "model/pytorch_model.bin")
    code, line = ask(name)
    assert code == 8
    assert line.startswith("error[UNSAFE-PICKLE]")


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"state_dict": {}},
        {"state_dict": {}, "global_step": 1, "callbacks": {}},
        {"state_dict": {}, "hyper_parameters": {"_instantiator": "os.system"}},
        {"state_dict": {"_class_path": "os.system"}, "global_step": 1, "callbacks": 3},
        [1, 2],
    ],
    ids=["empty", "no step", "no callbacks", "an instantiator", "wrong types", "a list"],
)
def test_a_checkpoint_that_is_none_is_corrupt(run, ask, value):
    poison_checkpoint(run, value)
    code, line = ask("resume")
    assert code == 4
    assert line.startswith("error[CKPT-CORRUPT]")


@pytest.mark.parametrize("name", ["ckpt_path=http://127.0.0.1:9/x.ckpt", "model.path=file:///x"])
def test_no_connection_is_made_for_a_url(run, ask, monkeypatch, name):
    arguments = [*small(run.parents[2]), name]
    monkeypatch.setitem(COMMANDS, "url", lambda run: composed(*arguments))
    assert ask("url")[0] in (2, 8)


# The model's folder


@pytest.mark.parametrize("name", MODEL)
@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_a_model_that_ships_python_is_refused(run, ask, canary, file, name):
    settings = json.loads((run / "model" / file).read_text())
    classes = ("AutoConfig", "AutoModel", "AutoModelForSequenceClassification", "AutoTokenizer")
    settings["auto_map"] = {f"{each}": "modeling_mine.Mine" for each in classes}
    (run / "model" / file).write_text(json.dumps(settings))
    (run / "model/modeling_mine.py").write_text(f"open({str(canary)!r}, 'w')\n")
    code, line = ask(name)
    assert code == 8
    assert line.startswith("error[UNSAFE-CODE]")


def outside(run: Path, name: str) -> Path:
    """Move a part of the run elsewhere and leave a link to it."""
    target = run.parents[2] / "elsewhere"
    target.mkdir()
    shutil.move(run / name, target / "it")
    (run / name).symlink_to(target / "it")
    return target


LINKED = ["model", "model/model.safetensors", "model/config.json", "model/tokenizer.json"]


@pytest.mark.parametrize("name", ["predict", "evaluate", "resume", "show"])
@pytest.mark.parametrize("part", [*LINKED, "config.yaml", "checkpoints", "checkpoints/last.ckpt"])
def test_a_link_out_of_the_run_is_refused(run, ask, part, name):
    outside(run, part)
    code, line = ask(name)
    assert code == 8
    assert line.startswith("error[UNSAFE-PATH]")


@pytest.mark.parametrize("name", MODEL)
@pytest.mark.parametrize("inner", ["../../../secret.safetensors", "/etc/hostname", "a\\..\\b"])
def test_an_index_that_names_a_file_elsewhere_is_refused(run, ask, inner, name):
    weights = run / "model/model.safetensors"
    with safe_open(weights, "pt") as file:
        index = {"weight_map": dict.fromkeys(file.keys(), inner)}
    weights.rename(run.parents[2] / "secret.safetensors")
    (run / "model/model.safetensors.index.json").write_text(json.dumps(index))
    code, line = ask(name)
    assert code == 8
    assert line.startswith("error[UNSAFE-PATH]")


@pytest.mark.parametrize(
    "name", ["__class__", "forward", "model", "tokenizer.x", "loss.takes", "labels", "no.such", ""]
)
def test_a_state_that_names_another_attribute_is_refused(run, ask, name):
    save_file({name: torch.zeros(2)}, run / "model/task.safetensors")
    code, line = ask("predict")
    assert code == 8
    assert line.startswith("error[UNSAFE-STATE]")


@pytest.mark.parametrize("name", ["predict", "start from it"])
@pytest.mark.parametrize("data", [b"", b"x" * 100, b"\xff" * 8, b"\x02\0\0\0\0\0\0\0{}extra"])
def test_weights_that_are_none_are_corrupt(run, ask, data, name):
    (run / "model/model.safetensors").write_bytes(data)
    code, line = ask(name)
    assert code == 4
    assert line.startswith("error[MODEL-CORRUPT]")


# From the command line, as a user meets it


def test_a_strange_target_end_to_end(run, canary):
    edit(run, "task", system(canary))
    done = tunesmith(["predict", run, "--text", "x"], input="y\n", stdin=None)
    assert (done.returncode, done.stdout) == (8, "")
    assert done.stderr.startswith("error[UNSAFE-TARGET] task._target_=os.system")
    assert done.stderr.count("\n") == 1
    assert not canary.exists()


def test_a_pickle_end_to_end(run, canary):
    poison_checkpoint(run, {"state_dict": {}, "x": Payload(canary)})
    done = train([f"resume={run}"], input="y\n", stdin=None)
    assert done.returncode == 8
    assert done.stderr.startswith("error[UNSAFE-PICKLE]")
    assert done.stderr.count("\n") == 1
    assert not canary.exists()


PLANTED = ("torch", "datasets", "sitecustomize", "usercustomize", "yaml", "json", "numpy")


def test_python_planted_in_the_run_where_one_stands_is_never_imported(run, canary):
    for folder in (run, run / "model"):
        for name in PLANTED:
            (folder / f"{name}.py").write_text(f"open({str(canary)!r}, 'w')\nraise SystemExit(3)\n")
    script = Path(sys.executable).with_name("tunesmith")
    done = command([str(script), "predict", ".", "--text", "lovely"], cwd=run, env={})
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["label"] in ("neg", "pos")
    assert not canary.exists()


@pytest.mark.torture
def test_python_planted_where_one_stands_is_not_imported_by_other_ranks(tmp_path, canary):
    arguments = [*small(tmp_path), "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"]
    for name in ("torch", "json", "numpy"):
        (tmp_path / f"{name}.py").write_text(f"open({str(canary)!r}, 'w')\nraise SystemExit(3)\n")
    done = train([*arguments, "trainer.max_epochs=1", "test=false"], cwd=tmp_path, env={})
    assert done.returncode == 0, done.stderr[-3000:]
    assert not canary.exists()


# What a run leaves


def test_every_file_of_a_finished_run_is_plain_data(original):
    readers = {
        ".ckpt": lambda path: torch.load(path, weights_only=True),
        ".json": lambda path: json.loads(path.read_text()),
        ".jsonl": lambda path: [json.loads(line) for line in path.read_text().splitlines()],
        ".yaml": lambda path: yaml.safe_load(path.read_text()),
        ".safetensors": load_file,
        ".log": lambda path: path.read_text(),
        ".txt": lambda path: path.read_text(),
    }
    files = [path for path in original.rglob("*") if path.is_file()]
    for path in files:
        if path.suffix in readers:
            readers[path.suffix](path)
        else:
            assert path.name in (".lock", ".hparams") or "tfevents" in path.name, path
        assert path.suffix == ".ckpt" or path.read_bytes()[:1] != b"\x80", path
    assert len(files) > 8


SECRET = "hunter2-canary-7f3a91"


def secretive(folder: Path) -> list[str]:
    return [
        *small(folder),
        "trainer.max_epochs=1",
        "callbacks.figures=false",
        "data.revision=${oc.env:TUNESMITH_TEST_TOKEN}",
        f"model.revision=https://me:{SECRET}@example.org/x",
        "logger=[tensorboard,csv]",
    ]


def holding_the_secret(folder: Path) -> list[Path]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 20
    return [path for path in files if SECRET.encode() in path.read_bytes()]


def test_a_secret_is_in_no_file_of_a_run(tmp_path):
    names = ("TUNESMITH_TEST_TOKEN", "WANDB_API_KEY", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY")
    done = train(secretive(tmp_path), env=dict.fromkeys(names, SECRET))
    assert done.returncode == 0, done.stderr[-3000:]
    assert holding_the_secret(tmp_path) == []
    assert SECRET not in done.stdout + done.stderr


OWN_LOGGER = """
from lightning.pytorch.loggers import Logger

class Mine(Logger):
    name = version = ""

    def __init__(self, headers, tokens_per_batch):
        super().__init__()
        assert headers["x-api-key"].startswith("hunter2"), "the logger itself gets the real one"

    def log_metrics(self, metrics, step=None): ...
    def log_hyperparams(self, *arguments, **options): ...
"""


def test_a_header_named_x_api_key_is_in_no_file_and_tokens_per_batch_is(tmp_path):
    (tmp_path / "code").mkdir()
    (tmp_path / "code/own_logger.py").write_text(OWN_LOGGER)
    headers = f"{{x-api-key: {SECRET}, Authorization: 'Bearer {SECRET}'}}"
    mine = f"{{_target_: own_logger.Mine, headers: {headers}, tokens_per_batch: 40961}}"
    arguments = [*secretive(tmp_path), "trust=[own_logger]", f"+logger.mine={mine}"]
    env = {"TUNESMITH_TEST_TOKEN": SECRET, "PYTHONPATH": str(tmp_path / "code")}
    done = train(arguments, env=env)
    assert done.returncode == 0, done.stderr[-3000:]
    assert holding_the_secret(tmp_path) == []
    assert SECRET not in done.stdout + done.stderr
    saved = (only_run(tmp_path) / "config.yaml").read_text()
    assert "tokens_per_batch: 40961" in saved
    assert "x-api-key: '***'" in saved


def test_a_secret_is_in_no_file_of_a_run_that_failed(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("TUNESMITH_TEST_TOKEN", SECRET)
    arguments = [*secretive(tmp_path), "optimizer.lr=1e30", "trainer.precision=32"]
    assert entry.exit_code(lambda: composed(*arguments)) == 6
    assert holding_the_secret(tmp_path) == []
    shown = capfd.readouterr()
    assert SECRET not in shown.out + shown.err


def test_a_wrong_value_from_the_environment_is_not_shown(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TUNESMITH_TEST_TOKEN", SECRET)
    arguments = [*small(tmp_path), "trainer.max_epochs=${oc.env:TUNESMITH_TEST_TOKEN}"]
    assert entry.exit_code(lambda: composed(*arguments)) == 2
    assert SECRET not in capsys.readouterr().err


def test_the_copy_is_a_run_before_it_is_poisoned(run, capsys):
    for name in ALL:
        assert entry.exit_code(lambda name=name: COMMANDS[name](run)) == 0, capsys.readouterr()
    assert runs.is_finished(run)
    assert checkpoint_io.is_intact(run / "checkpoints/last.ckpt")


# What a checkpoint holds is of the shapes and kinds that the run's own states are of


def _moments(change):
    def mutate(state):
        for values in state["optimizer_states"][0]["state"].values():
            for name in ("exp_avg", "exp_avg_sq"):
                values[name] = change(values[name])

    return mutate


def _set(*path):
    *parents, last, value = path

    def mutate(state):
        node = state
        for key in parents:
            node = node[key]
        node[last] = value

    return mutate


def _count(state):
    return len(state["optimizer_states"][0]["param_groups"][0]["params"])


GROUP = ("optimizer_states", 0, "param_groups", 0)
STATES = {
    "moments of one number": _moments(lambda t: torch.zeros(2)),
    "moments of integers": _moments(lambda t: torch.zeros(t.shape, dtype=torch.int8)),
    "moments without memory": _moments(lambda t: torch.zeros(1).expand(t.shape)),
    "sparse moments": _moments(lambda t: torch.zeros(t.shape).to_sparse()),
    "moments on no device": _moments(lambda t: torch.zeros(t.shape, device="meta")),
    "moments as text": _moments(lambda t: "x"),
    "a state of another parameter": _set("optimizer_states", 0, "state", {10**6: {}}),
    "a state that is a text": _set("optimizer_states", "x"),
    "no state": _set("optimizer_states", []),
    "a state of nothing": _set("optimizer_states", [None]),
    "a rate as text": _set(*GROUP, "lr", "x"),
    "a rate that is no number": _set(*GROUP, "lr", float("nan")),
    "other parameters": lambda state: _set(*GROUP, "params", [9**9] * _count(state))(state),
    "betas of one": _set(*GROUP, "betas", [0.9]),
    "a schedule of texts": _set("lr_schedulers", [{"base_lrs": "x", "last_epoch": "y"}]),
    "a schedule of nothing": _set("lr_schedulers", []),
    "loops as a number": _set("loops", 7),
    "loops of nothing": _set("loops", {"fit_loop": {}}),
    "a history as text": None,  # of the run's own callback, whose name is Lightning's affair
    "sparse weights": lambda state: state["state_dict"].update(
        {k: v.to_sparse() for k, v in list(state["state_dict"].items())[:1]}
    ),
    "weights on no device": lambda state: state["state_dict"].update(
        {k: v.to("meta") for k, v in list(state["state_dict"].items())[:1]}
    ),
}


def _history_as_text(state):
    name = next(k for k in state["callbacks"] if k.startswith("CheckpointCallback"))
    state["callbacks"][name]["history"] = "x"


@pytest.mark.parametrize("name", STATES)
def test_a_state_that_is_not_a_runs_own_is_corrupt(run, ask, name):
    state = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    (STATES[name] or _history_as_text)(state)
    poison_checkpoint(run, state)
    code, line = ask("resume")
    assert (code, line.partition("]")[0]) == (4, "error[CKPT-CORRUPT")


# What trusts, and what chooses code, is the command line alone


def test_a_config_file_that_trusts_on_its_readers_behalf_is_refused(tmp_path, canary):
    folder = tmp_path / "conf" / "experiment"
    folder.mkdir(parents=True)
    logger = tmp_path / "conf" / "logger"
    logger.mkdir()
    (folder / "best.yaml").write_text(
        "# @package _global_\ndefaults: [{override /logger: best}]\ntrust: [subprocess]\n"
    )
    (logger / "best.yaml").write_text(
        f"own: {{_target_: subprocess.check_call, args: [touch, {canary}]}}\n"
    )
    for more in ([], ["-m", "loss.label_smoothing=0.1,0.2"]):
        arguments = ["--config-dir", str(tmp_path / "conf"), "experiment=best", *more]
        done = train([*small(tmp_path), *arguments], cwd=tmp_path)
        assert done.returncode == 8, done.stderr[-3000:]
        assert "error[UNSAFE-TRUST] trust: is set by a config file" in done.stderr
        assert not canary.exists()


@pytest.mark.parametrize("kind", ["text", "image"])
@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation_internal"])
def test_a_model_that_names_a_kernel_of_the_hub_fetches_none(run, tmp_path, monkeypatch, key, kind):
    strange = {key: "kernels-community/flash-attn2@rev"}
    path = run / "model" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, **strange}))
    asked = []
    stub = types.SimpleNamespace(get_kernel=lambda *a, **k: asked.append(a))
    monkeypatch.setitem(sys.modules, "kernels", stub)
    from tunesmith import load

    if kind == "text":
        assert load(run).predict(["lovely"])[0]["label"]
    else:  # an encoder beside the text is read by the same reader
        size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
        size |= {"intermediate_size": 16, "image_size": 8, "patch_size": 4}
        (tmp_path / "vit").mkdir()
        ours = {"model_type": "vit", **size, **strange}
        (tmp_path / "vit/config.json").write_text(json.dumps(ours))
        options = {"path": str(tmp_path / "vit"), "revision": None, "pretrained": False}
        spec = media_spec.resolve_media_encoder("image", **options, config={})
        assert "kernels-community" not in json.dumps(spec.config.to_dict(), default=str)
        media_encoder.load(spec)
    assert asked == []


@pytest.mark.parametrize("name", ["predict", "evaluate"])
def test_a_model_without_the_names_of_its_labels_is_corrupt(run, ask, name):
    (run / "model/labels.json").unlink()
    code, line = ask(name)
    assert (code, line) == (
        4, "error[MODEL-CORRUPT] labels.json: is not there: the labels are unknown",
    )  # fmt: skip


# A config of another version, or of other kinds


def without(run: Path, path: str) -> None:
    """Take a dotted key out of the stored config."""
    file = run / "config.yaml"
    values = yaml.load(file.read_text(), Loader=yaml.CSafeLoader)
    node, (*groups, last) = values, path.split(".")
    for group in groups:
        node = node[group]
    del node[last]
    file.write_text(yaml.dump(values, Dumper=yaml.CSafeDumper))


LACKING = ["data.shot_seed", "model.attention", "trainer.validate_at", "study", "loss._target_"]
USES = ["evaluate", "predict", "resume"]


@pytest.mark.parametrize("key", [*LACKING, "trainer"])
def test_a_config_that_lacks_a_key_is_of_another_version(run, ask, key):
    without(run, key)
    what = f"made by another version, or edited: its config lacks {key}; "
    for name in USES:
        code, line = ask(name)
        assert (code, what in line) == (4, True), (name, line)
        assert line.startswith("error[RUN]")
        assert line.endswith("use that version, or train it again")


def test_a_config_with_a_key_that_is_no_more_is_of_another_version(run, ask):
    edit(run, "data.draw", 7)
    for name in USES:
        code, line = ask(name)
        assert (code, "its config has data.draw" in line) == (4, True), (name, line)


OTHER_KINDS = [
    ("seed", 10**200, 8, "error[CONF-SIZE]"),
    ("data.eval_batch_size", 0, 2, "error[CONF-RANGE] data.eval_batch_size=0"),
    ("data.eval_batch_size", -1, 2, "error[CONF-RANGE] data.eval_batch_size=-1"),
    ("trainer.num_threads", -5, 2, "error[CONF-RANGE] trainer.num_threads=-5"),
    ("trainer.num_threads", 100_000, 2, "error[CONF-RANGE] trainer.num_threads=100000"),
    ("trainer", None, 4, "error[RUN]"),
    ("trainer", [], 2, "error[CONF-TYPE] trainer=[]: must be a mapping"),
    ("data", 7, 2, "error[CONF-TYPE] data=7: must be a mapping"),
    ("task", 7, 2, "error[CONF-TARGET] task: needs a _target_"),
    ("loss", {}, 4, "error[RUN]"),
    ("logger", {"x": 7}, 2, "error[CONF-TARGET] logger.x: needs a _target_"),
    ("data.labels", 7, 2, "error[CONF-TYPE] data.labels=7: must be a list"),
    ("data.split", None, 2, "error[CONF-TYPE] data.split=null"),
    ("model", 7, 2, "error[CONF-TYPE] model=7"),
]


@pytest.mark.parametrize(("key", "value", "code", "start"), OTHER_KINDS)
def test_a_value_of_another_kind_is_told_in_one_line(run, ask, key, value, code, start):
    edit(run, key, value)
    found, line = ask("predict")
    assert (found, line[: len(start)]) == (code, start), line


def test_a_number_that_python_cannot_read_is_refused(run, ask):
    file = run / "config.yaml"
    file.write_text(file.read_text().replace("\nseed: 0", f"\nseed: {'9' * 6000}"))
    for name in ["predict", "show"]:
        code, line = ask(name)
        assert (code, line.endswith(": an integer of 6000 digits")) == (8, True), line


def test_a_resume_that_begins_anew_says_why(run, monkeypatch, caplog):
    class ReachedError(Exception):
        pass

    def stop(config):
        raise ReachedError

    def auto(*own: str) -> str:
        caplog.clear()
        with pytest.raises(ReachedError):
            composed(*words, "resume=auto", *own)
        return caplog.text

    monkeypatch.setattr("tunesmith.pipeline.train.load_inputs", stop)
    words = [*small(run.parents[2]), "trainer.max_epochs=1", "callbacks.figures=false"]
    assert auto() == ""  # no run was interrupted: there is nothing to warn of
    (run / "metrics.json").unlink()
    assert f"{run.name} has another config: data.test_file" in auto("data.validation_file=x.csv")
    without(run, "data.shot_seed")
    said = auto("seed=3")
    assert "made by another version, or edited: its config lacks data.shot_seed" in said
    (run / "environment.json").write_text("{}")
    assert "is a run of format None" in auto("seed=3")


def test_a_resume_that_needs_a_secret_says_so(run, ask):
    edit(run, "data.revision", "***")
    code, line = ask("resume")
    assert code == 2
    assert line.startswith("error[RUN-SECRET] ")
    assert "data.revision is a secret, and no file keeps it; repeat its own command" in line


def test_a_stored_run_does_not_say_where_is_logged_to(run, caplog):
    mlflow = {"_target_": "lightning.pytorch.loggers.MLFlowLogger", "save_dir": "???"}
    mlflow |= {"experiment_name": "x", "tracking_uri": "http://stranger.example"}
    edit(run, "logger.mlflow", mlflow)

    def loggers(*words: str) -> dict:
        with initialize_config_dir(str(config.CONF), version_base="1.3"):
            cfg = compose("train", [f"resume={run}", *words])
        return resolve_resume(cfg, [f"resume={run}", *words])[0].logger

    assert list(loggers()) == ["tensorboard"]
    assert "a stored run does not say where to log: without mlflow" in caplog.text
    typed = loggers("logger=mlflow", "logger.mlflow.tracking_uri=http://own.example")
    assert list(typed) == ["mlflow"]
    assert typed.mlflow.tracking_uri == "http://own.example"
    assert list(loggers("logger=none")) == []
