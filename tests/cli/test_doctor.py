"""`tunesmith doctor`: measured rates of this machine, and the reason of each setting of a run."""

import json
from pathlib import Path

import pytest
import torch

from tunesmith.cli import main
from tunesmith.cli.entry import exit_code
from tunesmith.runtime import environment
from tunesmith.training import hardware, machine_speed


def doctor(*words: str) -> int:
    return exit_code(lambda: main._command(["doctor", *words]))


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> dict:
    assert doctor(*words, "--json") == 0
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(hardware, "usable_cores", lambda: 4)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(machine_speed, "SECONDS", 0.02)
    monkeypatch.setattr(machine_speed, "FILE", 1 << 22)


@pytest.mark.parametrize(("fast", "names"), [(True, ["bf16"]), (False, [])])
def test_a_machine_is_measured(fast, names, quick, monkeypatch, capsys):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: fast)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    facts = printed(capsys)
    assert list(facts["product_flops"]) == ["32", "32-medium", *names]
    assert min(facts["product_flops"].values()) > 1e9
    assert 1e8 < facts["copy_bytes"] < 1e13
    assert 1e5 < facts["write_bytes"] < 1e12
    assert facts["packages"]["torch"] == torch.__version__
    assert facts["misfit_versions"] == []
    assert list(Path().iterdir()) == []


def test_a_matrix_product_takes_the_time_that_its_rate_says(monkeypatch):
    monkeypatch.setattr(machine_speed, "_seconds", lambda work, accelerator: 2.0)
    assert machine_speed.product_rates("cpu")["32"] == 2048 * 768 * 3072
    assert machine_speed.copy_rate("cpu") == 1 << 28


def test_what_is_wrong_with_a_machine_is_a_line_of_the_table(quick, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    version = environment._version
    monkeypatch.setattr(environment, "_version", lambda p: "2.1" if p == "torch" else version(p))
    monkeypatch.setattr(machine_speed.tempfile, "TemporaryFile", refuse)
    assert doctor() == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "version does not fit torch 2.1, and it must be >=2.10" in lines
    assert "disk, written and flushed Read-only file system paths.runs=runs" in lines
    assert "GPU none" in lines


def refuse(dir: Path) -> None:
    raise OSError(30, "Read-only file system")


def test_every_setting_of_a_run_has_a_reason_that_follows_the_config(
    four_cores, monkeypatch, capsys
):
    monkeypatch.setattr(hardware, "has_fast_bf16", lambda accelerator: True)
    assert printed(capsys, "optimizer.lr=3e-5") == {
        "accelerator": {"value": "cpu", "reason": "trainer.accelerator=cpu"},
        "devices": {"value": 1, "reason": "trainer.devices=1"},
        "strategy": {"value": "auto", "reason": "one device has nothing to share"},
        "precision": {"value": "bf16-mixed", "reason": "this CPU is fast at bf16"},
        "threads": {"value": 4, "reason": "all 4 usable cores"},
        "deterministic": {"value": True, "reason": "the same bits each time"},
        "fused optimizer": {"value": True, "reason": "optimizer.fused=true"},
        "CUDA graphs": {"value": False, "reason": "they need a GPU"},
        "float32 products": {
            "value": "highest",
            "reason": "trainer.float32_matmul_precision=highest",
        },
        "loader workers": {"value": 0, "reason": "data.workers=0: the training process collates"},
    }
    words = ["trainer.precision=32", "trainer.devices=2", "trainer.deterministic=false"]
    words += ["optimizer.fused=null", "data.workers=2"]
    changed = printed(capsys, *words)
    assert {name: (one["value"], one["reason"]) for name, one in changed.items()} == {
        "accelerator": ("cpu", "trainer.accelerator=cpu"),
        "devices": (2, "trainer.devices=2"),
        "strategy": ("ddp", "2 processes average their gradients"),
        "precision": ("32", "trainer.precision=32; auto is bf16-mixed here, and faster"),
        "threads": (2, "4 usable cores are shared by 2 processes"),
        "deterministic": (False, "speed before bits"),
        "fused optimizer": (None, "optimizer.fused=null: torch decides"),
        "CUDA graphs": (False, "they need a GPU"),
        "float32 products": ("highest", "trainer.float32_matmul_precision=highest"),
        "loader workers": (2, "data.workers=2"),
    }
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setattr(hardware, "has_fast_bf16", lambda accelerator: False)
    limited = printed(capsys, "trainer.num_threads=null")
    assert limited["threads"] == {"value": 3, "reason": "OMP_NUM_THREADS=3, of 4 usable cores"}
    assert limited["precision"] == {"value": "32", "reason": "this CPU is not fast at bf16"}


def test_a_machine_with_gpus_says_so(four_cores, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(hardware, "has_fast_bf16", lambda accelerator: False)
    assert printed(capsys, "seed=1")["accelerator"]["reason"] == (
        "trainer.accelerator=cpu, though 2 GPUs are visible"
    )
    words = ["trainer=gpu", "trainer.accelerator=auto", "trainer.precision=16-mixed"]
    chosen = printed(capsys, *words, "trainer.devices=auto")
    assert chosen["accelerator"] == {"value": "gpu", "reason": "2 GPUs are visible"}
    assert chosen["devices"] == {"value": 2, "reason": "all visible GPUs"}
    assert chosen["fused optimizer"]["value"] is None
    assert chosen["fused optimizer"]["reason"].startswith("16-mixed: a fused step unscales")


@pytest.mark.parametrize(
    ("word", "code", "line"),
    [
        ("optimzer.lr=3", 2, "error[CONF-KEY] optimzer.lr: no such key; did you mean"),
        ("trainer=gpu", 5, "error[ENV-DEVICE] trainer.accelerator=gpu: no GPU is visible; use"),
    ],
)
def test_what_cannot_be_is_one_line(word, code, line, capsys):
    assert doctor(word) == code
    said = capsys.readouterr().err
    assert said.startswith(line)
    assert said.count("\n") == 1


def test_a_config_says_whether_its_steps_would_be_cuda_graphs(capsys):
    said = printed(capsys, "trainer=cpu")
    assert said["CUDA graphs"] == {"value": False, "reason": "they need a GPU"}
    assert said["float32 products"]["value"] == "highest"
    off = printed(capsys, "trainer.cuda_graphs=false", "trainer.float32_matmul_precision=medium")
    assert off["CUDA graphs"] == {"value": False, "reason": "trainer.cuda_graphs=false"}
    assert off["float32 products"]["value"] == "medium"
    assert doctor("trainer.cuda_graphs=true") == 2  # as the run would
    assert capsys.readouterr().err.startswith("error[CONF-GRAPHS]")
