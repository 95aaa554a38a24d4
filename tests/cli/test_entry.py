"""How the program ends: the lines on stderr, the exit code, nothing else."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from omegaconf import OmegaConf

from support.bad_inputs import of_row
from support.commands import small
from support.commands import train as train_as_typed
from tunesmith import config, errors
from tunesmith.cli import entry
from tunesmith.config.diagnosis import diagnose

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "transformers", "datasets", "lightning", "pyarrow")


def train(*arguments, **options):
    """Run train.py as a user does."""
    command = [sys.executable, str(ROOT / "train.py"), *arguments]
    environment = os.environ | options.pop("env", {})
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        env=environment,
        stdin=subprocess.DEVNULL,
        **options,
    )


def told(*arguments, **options):
    return [str(error) for error in diagnose(arguments, **options)]


# The command line


def test_three_mistakes_are_told_at_once_and_nothing_heavy_is_imported(tmp_path):
    script = f"""
import runpy, sys
sys.argv = ["train.py", "optimzer.lr=1e-5", "executor=slrum", "trainer.max_epochs=-1"]
try:
    runpy.run_path({str(ROOT / "train.py")!r}, run_name="__main__")
except SystemExit as stop:
    print([name for name in {HEAVY} if name in sys.modules])
    raise
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stderr.splitlines() == [
        "error[CONF-GROUP] executor=slrum: no such choice; there are local, ray, slurm; "
        "did you mean 'slurm'?",
        "error[CONF-KEY] optimzer.lr: no such key; did you mean 'optimizer.lr'?",
        "error[CONF-RANGE] trainer.max_epochs=-1: must be an integer >= 1",
    ]
    assert done.returncode == 2
    assert done.stdout == "[]\n"


def test_one_wrong_value_is_one_line(tmp_path):
    done = train("trainer.max_epochs=-1", cwd=tmp_path)
    assert done.stderr == "error[CONF-RANGE] trainer.max_epochs=-1: must be an integer >= 1\n"
    assert (done.returncode, done.stdout) == (2, "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [["--help"], ["--cfg", "job"]])
def test_the_way_to_help_imports_nothing_heavy(arguments):
    script = f"""
import runpy, sys
sys.argv = ["train.py", *{arguments!r}]
try:
    runpy.run_path({str(ROOT / "train.py")!r}, run_name="__main__")
except SystemExit as stop:
    print([name for name in {HEAVY} if name in sys.modules], stop.code)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[] 0"
    assert done.stderr == ""


def test_debug_shows_the_traceback_as_well(tmp_path):
    done = train("--debug", "trainer.max_epochs=-1", cwd=tmp_path)
    lines = done.stderr.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1] == "error[CONF-RANGE] trainer.max_epochs=-1: must be an integer >= 1"
    assert done.returncode == 2


def test_an_ascii_terminal_is_enough(tmp_path):
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = train("name='grün/../x'", cwd=tmp_path, env=plain)
    assert done.stderr.startswith("error[CONF-RANGE] name=gr")
    assert done.stderr.isascii()
    assert done.returncode == 2


def test_output_that_nobody_reads_is_no_error():
    script = f"exec {sys.executable} {ROOT / 'train.py'} --cfg job"
    with subprocess.Popen(
        ["sh", "-c", f"({script}); echo $? >&2"],
        stdout=(pipe := os.pipe())[1],
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        os.close(pipe[0])
        os.close(pipe[1])
        said = process.stderr.read()
    assert said == "141\n"


def test_closed_output_is_no_error():
    command = f"{sys.executable} {ROOT / 'train.py'} --help >&- 2>&-"
    assert subprocess.run(["sh", "-c", command]).returncode == 0


def test_a_full_disk_behind_the_output_is_one_line():
    command = f"{sys.executable} {ROOT / 'train.py'} --cfg job > /dev/full"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert done.stderr.startswith("error[ENV-DISK] disk: No space left on device; free some space")
    assert (done.returncode, done.stderr.count("\n")) == (5, 1)


COMMAND_LINES = [
    (
        ["--nope"],
        2,
        "error[CONF-ARGUMENT] command line: unrecognized arguments: --nope; see --help",
    ),
    (
        ["-m", "--cfg", "job"],
        2,
        "error[CONF-ARGUMENT] command line: --multirun and --cfg do not go together; see --help",
    ),
    (
        ["--experimental-rerun", "x"],
        8,
        "error[UNSAFE-PICKLE] --experimental-rerun: reads a pickle; refused",
    ),
]


@pytest.mark.parametrize(("argv", "code", "line"), COMMAND_LINES)
def test_options_that_are_not_for_us_are_refused(argv, code, line, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["train.py", *argv])
    assert entry.exit_code(lambda: entry.compose_and_run(lambda: None)) == code
    assert capsys.readouterr().err == f"{line}\n"


def test_a_switch_that_lets_checkpoints_run_code_is_refused(monkeypatch, capsys):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    assert entry.exit_code(lambda: None) == 8
    assert capsys.readouterr().err.startswith("error[UNSAFE-ENV] TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD:")


# Overrides that Hydra refuses

REFUSED = [
    of_row(
        45,
        "optimzer.lr=1e-5",
        "error[CONF-KEY] optimzer.lr: no such key; did you mean 'optimizer.lr'?",
    ),
    ("lr=1e-5", "error[CONF-KEY] lr: no such key; did you mean 'optimizer.lr'?"),
    ("max_epochs=1", "error[CONF-KEY] max_epochs: no such key; did you mean 'trainer.max_epochs'?"),
    ("optimzer=adam", "error[CONF-KEY] optimzer: no such key; did you mean 'optimizer'?"),
    ("data.txt=a", "error[CONF-KEY] data.txt: no such key; did you mean 'data.text'?"),
    ("~data.txt", "error[CONF-KEY] data.txt: no such key; did you mean 'data.text'?"),
    ("zzzzz=1", "error[CONF-KEY] zzzzz: no such key"),
    (
        "model.config={hidden_act: relu}",
        "error[CONF-KEY] model.config: takes keys that are not there yet; "
        "write +model.config={hidden_act: relu}",
    ),
    (
        "model.config.hidden_act=relu",
        "error[CONF-KEY] model.config.hidden_act: no such key; write +model.config.hidden_act=relu",
    ),
    ("optimizer.wd=1", "error[CONF-KEY] optimizer.wd: torch.optim.AdamW takes no 'wd'; remove it"),
    (
        "optimizer.epz=1",
        "error[CONF-KEY] optimizer.epz: no such key; did you mean 'optimizer.eps'?",
    ),
    (
        "optimizer.momentum=0.9",
        "error[CONF-KEY] optimizer.momentum: torch.optim.AdamW takes no 'momentum'; "
        "remove it: ~optimizer.momentum",
    ),
    (
        "optimizer.amsgrad=true",
        "error[CONF-KEY] optimizer.amsgrad: not in this config, but torch.optim.AdamW takes it; "
        "write +optimizer.amsgrad=true",
    ),
    (
        "executor=slrum",
        "error[CONF-GROUP] executor=slrum: no such choice; there are local, ray, slurm; "
        "did you mean 'slurm'?",
    ),
    (
        "logger=null",
        "error[CONF-GROUP] logger=null: a group needs a choice; "
        "there are csv, mlflow, none, tensorboard, wandb",
    ),
    of_row(
        49,
        "optimizer.lr=1e-5,2e-5",
        "error[CONF-SWEEP] optimizer.lr=1e-5,2e-5: several values for one run; "
        "-m sweeps; a list is optimizer.lr=[1e-5,2e-5]",
    ),
    (
        "optimizer=adam,adamw",
        "error[CONF-SWEEP] optimizer=adam,adamw: several values for one run; ",
    ),
    ("seed=range(1,3)", "error[CONF-SWEEP] seed=range(1,3): several values for one run; "),
    ("~optimizer.betas.0", "error[CONF-KEY] optimizer.betas.0: no such key; did you mean "),
    ("seed", "error[CONF-SYNTAX] seed: is not key=value"),
    ("name=[1", "error[CONF-SYNTAX] name=[1: "),
    ("+seed=1", "error[CONF-COMPOSE] +seed=1: Could not append to config. An item is already"),
    ("+debug=fast", "error[CONF-COMPOSE] +debug=fast: Multiple values for debug."),
]


@pytest.mark.parametrize(("override", "line"), REFUSED)
def test_an_override_that_hydra_refuses_is_one_line(override, line):
    (found,) = told(override)
    assert found.startswith(line)
    assert found == line or not line.endswith("'?")


def test_good_overrides_beside_bad_ones_are_no_mistakes():
    assert (
        told("optimizer=sgd", "optimizer.momentum=0.5", "seed=3", "experiment=bbc_news_frozen")
        == []
    )


def test_every_bad_override_is_found():
    found = told(
        "seed=1,2", "name=[1", "data=x", "model=y", "a.b=1", "+c=1", "seed=-1", "optimizer.lr=x"
    )
    assert sorted(line.partition("]")[0] for line in found) == [
        "error[CONF-GROUP",
        "error[CONF-GROUP",
        "error[CONF-KEY",
        "error[CONF-KEY",
        "error[CONF-RANGE",
        "error[CONF-SWEEP",
        "error[CONF-SYNTAX",
        "error[CONF-TYPE",
    ]


def test_a_fault_is_not_shown_as_a_mistake_of_the_command_line(monkeypatch):
    def faulty(self, *arguments):
        raise AttributeError("a fault")

    monkeypatch.setattr(ConfigLoaderImpl, "load_configuration", faulty)
    with pytest.raises(AttributeError, match="a fault"):
        told("seed=1")


def test_an_unknown_config_is_told():
    (line,) = told(config_name="trian")
    assert line.startswith("error[CONF-NAME] --config-name trian: not in ")


def test_a_missing_config_dir_is_told(tmp_path):
    assert told(config_dir=tmp_path / "no") == [
        f"error[CONF-DIR] --config-dir {tmp_path}/no: no such folder"
    ]


# Yaml files of the user's


@pytest.fixture
def conf(tmp_path):
    (tmp_path / "optimizer").mkdir()
    return tmp_path


def write(conf, text):
    (conf / "optimizer" / "mine.yaml").write_text(text)
    return train("--config-dir", str(conf), "optimizer=mine", "--cfg", "job")


def test_a_group_option_of_the_users_own_works(conf):
    done = write(conf, "_target_: torch.optim.SGD\n_partial_: true\nlr: 1e-2\n")
    assert "lr: 0.01" in done.stdout
    assert (done.returncode, done.stderr) == (0, "")


BAD_YAML = [
    of_row(51, "lr: 1\nmomentum: 0\nlr: 2\n", 2, "CONF-DUPLICATE", ":3: the key 'lr' stands twice"),
    of_row(
        54,
        "lr: !!python/object/apply:os.system ['true']",
        8,
        "UNSAFE-YAML",
        ":1: the tag !!python/",
    ),
    of_row(53, "a: &a [*a]", 2, "CONF-SIZE", ": is beyond the limits"),
    of_row(53, "# " + "x" * 300_000, 2, "CONF-SIZE", ": is larger than 256 KB"),
    ("lr: [1\n", 2, "CONF-YAML", ":2: "),
]


@pytest.mark.parametrize(("text", "code", "name", "says"), BAD_YAML)
def test_a_bad_yaml_of_the_users_is_one_line(conf, text, code, name, says):
    done = write(conf, text)
    assert done.stderr.startswith(f"error[{name}] ")
    assert f"mine.yaml{says}" in done.stderr
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1)


# Errors of a run


class OutOfMemoryError(RuntimeError):
    """As torch calls its own."""


def failing(error):
    def main():
        raise error

    return main


ENDS = [
    (errors.DataError("DATA-COL", "a.csv", "no column"), 3, "error[DATA-COL] a.csv: no column"),
    (errors.Interrupted(), 75, ""),
    (KeyboardInterrupt(), 130, ""),
    (SystemExit(7), 7, ""),
    (SystemExit(None), 0, ""),
    (SystemExit("stopped"), 1, "stopped"),
    (
        OSError(errno.ENOSPC, "No space left on device", "runs/x"),
        5,
        "error[ENV-DISK] runs/x: No space left on device; "
        "free some space, or write elsewhere: paths.runs=DIR",
    ),
    (
        OSError(errno.EROFS, "Read-only file system", "runs"),
        5,
        "error[ENV-DISK] runs: Read-only file system; write elsewhere: paths.runs=DIR",
    ),
    (
        RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos"),
        5,
        "error[ENV-DISK] disk: a file could not be written; "
        "free some space, or write elsewhere: paths.runs=DIR",
    ),
    (
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
        6,
        "error[TRAIN-OOM] memory: there is not enough of it; "
        "raise trainer.micro_batches, or lower data.max_length",
    ),
    (MemoryError(), 6, "error[TRAIN-OOM] memory: there is not enough of it; "),
    (OutOfMemoryError("CUDA"), 6, "error[TRAIN-OOM] memory: there is not enough of it; "),
    (
        errors.SeveralError([errors.ConfigError("A", "", "a"), errors.DataError("B", "", "b")]),
        2,
        "error[A] a\nerror[B] b",
    ),
]


@pytest.mark.parametrize(("error", "code", "line"), ENDS)
def test_each_end_has_its_exit_code(error, code, line, capsys):
    assert entry.exit_code(failing(error)) == code
    said = capsys.readouterr().err.rstrip("\n")
    assert said.startswith(line)
    assert bool(said) == bool(line)


def test_the_unexpected_is_one_line_with_its_place(capsys):
    assert entry.exit_code(failing(ValueError("a\nb\x1b]0;c"))) == 1
    said = capsys.readouterr().err
    assert said.startswith("error[INTERNAL] test_entry.py:")
    assert said.endswith(": ValueError: a\\nb\\x1b]0;c; run again with --debug\n")


def test_the_place_of_the_unexpected_is_in_our_code(capsys):
    from tunesmith.runtime import options

    entry.exit_code(lambda: list(options.keys_of(None)))
    assert capsys.readouterr().err.startswith("error[INTERNAL] options.py:")


def test_a_full_disk_is_told_under_another_error(capsys):
    def main():
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise RuntimeError("dataset generation failed") from error

    assert entry.exit_code(main) == 5
    assert capsys.readouterr().err.startswith("error[ENV-DISK] disk: No space left on device")


def test_a_broken_pipe_that_is_not_our_output_is_told(capsys):
    assert entry.exit_code(failing(BrokenPipeError("worker"))) == 1
    assert "BrokenPipeError: worker" in capsys.readouterr().err


def test_debug_is_taken_from_the_command_line(monkeypatch):
    monkeypatch.setenv("TUNESMITH_DEBUG", "0")
    monkeypatch.setattr(sys, "argv", ["train.py", "seed=1"])
    assert not entry.pop_debug_flag()
    monkeypatch.setattr(sys, "argv", ["train.py", "--debug", "seed=1"])
    assert entry.pop_debug_flag()
    assert sys.argv == ["train.py", "seed=1"]
    assert os.environ["TUNESMITH_DEBUG"] == "1"


def test_an_error_of_the_run_is_not_taken_for_one_of_the_command_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["train.py"])

    def task(cfg):
        raise ValueError("of the run")

    def main():
        task(None)

    main.__wrapped__ = task
    assert entry.exit_code(lambda: entry.compose_and_run(main)) == 1
    assert "ValueError: of the run" in capsys.readouterr().err


def test_the_failure_that_start_carries_is_told_as_itself(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["train.py"])
    broken = [errors.ConfigError("CONF-KEY", "x", "no such key")]
    monkeypatch.setattr(config, "check", lambda cfg: broken)
    assert (
        entry.exit_code(
            lambda: entry.compose_and_run(lambda: entry.train_from_config(OmegaConf.create()))
        )
        == 2
    )
    assert capsys.readouterr().err == "error[CONF-KEY] x: no such key\n"


def test_overrides_may_stand_on_both_sides_of_an_option(tmp_path):
    asked = entry.parse(["a=1", "-m", "b=1,2"])
    assert (asked.overrides, asked.multirun) == (["a=1", "b=1,2"], True)
    done = train_as_typed([*small(tmp_path), "--cfg", "job", "loss.label_smoothing=0.1"])
    assert done.returncode == 0, done.stderr
    assert "label_smoothing: 0.1" in done.stdout
