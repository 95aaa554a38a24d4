"""environment.json: what decides the bits is in it, secrets are not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lightning.fabric.utilities.distributed import _set_num_threads_if_needed

from tunesmith.runtime import environment
from tunesmith.runtime.mask_secrets import mask_arguments
from tunesmith.search.executors.base import WorkerResources
from tunesmith.training import hardware

CANARY = "canary-5f1d"


def test_no_secret_of_the_environment_or_the_command_line_is_stored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("MY_VARIABLE", "WANDB_API_KEY", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, CANARY)
    arguments = [
        f"logger.wandb.api_key={CANARY}",
        f"+storage=postgresql://me:{CANARY}@host:5432/db",
        f"+logger.wandb={{api_key: {CANARY}, project: p}}",
        f'+x={{"password": "{CANARY} {CANARY}", "y": 1}}',
        "--password",
        CANARY,
        f"--hf-token={CANARY}",
        f"DB_PASSWORD={CANARY} with, commas",
        "optimizer.lr=3e-5",
    ]
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    known = environment.describe("bf16-mixed", threads=2, seed=7)
    assert CANARY not in json.dumps(known)
    assert known["command"] == [
        "train.py",
        "logger.wandb.api_key=***",
        "+storage=postgresql://***@host:5432/db",
        "+logger.wandb={api_key: ***, project: p}",
        '+x={"password": ***, "y": 1}',
        "--password",
        "***",
        "--hf-token=***",
        "DB_PASSWORD=***",
        "optimizer.lr=3e-5",
    ]
    assert known["variables"]["OMP_NUM_THREADS"] == "2"
    assert set(known["variables"]) <= set(environment.VARIABLES)
    assert known["seeds"] == {"seed": 7}


def test_what_is_no_secret_is_left_alone() -> None:
    told = ["model.tokenizer=x", "data.max_tokens=512", "padding 4 % of tokens: fine", "a@b=c"]
    assert mask_arguments(told) == told


def test_the_same_machine_differs_in_nothing() -> None:
    known = environment.describe("32", threads=1)
    assert environment.differences(known, json.loads(json.dumps(known))) == []
    assert known["packages"]["torch"] and known["processor"]["model"] and known["cores"] >= 1


def test_what_breaks_equal_bits_is_named() -> None:
    old = {
        "packages": {"torch": "2.12.0", "numpy": "2.4", "rich": "13"},
        "processor": {"model": "A"},
        "threads": 1,
        "precision": "32",
        "gpus": [],
    }
    new = {
        "packages": {"torch": "2.13.0", "numpy": "2.4", "rich": "15"},
        "processor": {"model": "B"},
        "threads": 2,
        "precision": "bf16-mixed",
        "gpus": ["X"],
    }
    assert environment.differences(old, new) == [
        "torch 2.12.0 -> 2.13.0",
        "processor A -> B",
        "threads 1 -> 2",
        "precision 32 -> bf16-mixed",
        "gpus none -> ['X']",
    ]
    assert environment.differences({"packages": 3}, {})[:1] == []


def test_git_says_commit_and_whether_files_were_changed(tmp_path: Path) -> None:
    assert environment.git_state(tmp_path) is None
    file = tmp_path / "a.txt"
    file.write_text("1")
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for arguments in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "x"]):
        subprocess.run(["git", "-C", str(tmp_path), *arguments], check=True)
    clean = environment.git_state(tmp_path)
    assert clean is not None and len(clean["commit"]) == 40 and clean["dirty"] is False
    file.write_text("2")
    assert environment.git_state(tmp_path) == {"commit": clean["commit"], "dirty": True}


def test_no_git_program_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert environment.git_state(tmp_path) is None


@pytest.mark.parametrize(
    ("limit", "threads"), [(None, 4), ("", 4), ("1", 1), ("3,2", 3), ("64", 4), ("0", 4)]
)
def test_a_process_has_its_share_of_the_cores_and_openmp_limits_it(
    limit: str | None, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runs side by side with two threads each on two cores are five times slower."""
    monkeypatch.setattr(hardware, "usable_cores", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if limit is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", limit)
    assert hardware.resolve_hardware("cpu", 2, 1, "auto", "32", None).threads == threads
    assert hardware.resolve_hardware("cpu", 2, 1, "auto", "32", 7).threads == 7
    assert WorkerResources((0, 1, 2, 3)).threads == threads


def test_the_one_thread_that_torchrun_sets_by_itself_is_no_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    for said, threads in (("1", 4), ("2", 2)):
        monkeypatch.setenv("OMP_NUM_THREADS", said)
        assert environment.usable_threads(4) == threads


def settings() -> tuple[int, str, bool, bool]:
    return (
        torch.get_num_threads(),
        torch.get_float32_matmul_precision(),
        torch.are_deterministic_algorithms_enabled(),
        torch.utils.deterministic.fill_uninitialized_memory,  # type: ignore[attr-defined]
    )


@pytest.mark.parametrize("told", [None, "5"])
def test_a_run_holds_its_settings_and_leaves_none_behind(
    told: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lightning sets threads of its own for ranks, unless the variable says how many."""
    monkeypatch.setenv("OMP_NUM_THREADS", told or "")
    if told is None:
        monkeypatch.delenv("OMP_NUM_THREADS")
    machine = hardware.resolve_hardware("cpu", 1, 1, "auto", "32", 3, "medium")
    before = settings()
    with hardware.torch_settings(machine, deterministic=True):
        _set_num_threads_if_needed(2)
        assert settings() == (3, "medium", True, False)
    assert settings() == before
    assert os.environ.get("OMP_NUM_THREADS") == told
