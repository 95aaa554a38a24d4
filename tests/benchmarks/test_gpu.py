"""`make gpu` where there is no GPU: it says so, and its dry run does each of its steps."""

import json

import gpu
import pytest
import torch

PROOFS = [
    "equal to the bit",
    "precision 32",
    "precision bf16-mixed",
    "precision 16-mixed",
    "ddp on one device",
    "fsdp on one device",
    "2 trials at a time",
    "memory after many trials",
    "out of memory is one line",
]


def test_without_a_gpu_it_says_so_and_is_content(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main([]) == 0
    assert capsys.readouterr().out == "no GPU is visible: nothing was proved or measured\n"


def test_the_first_third_of_the_steps_is_not_counted():
    ends = {step: 10.0 * step if step < 5 else 100.0 + step for step in range(1, 13)}
    assert gpu.steady_ms(ends, 12) == pytest.approx(1000.0)


def test_what_fails_is_a_line_and_so_is_what_the_time_does_not_allow(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gpu, "proofs", lambda shop: [("a proof", lambda: 1 / 0)])
    output = tmp_path / "gpu.json"
    asked = ["--device", "cpu", "--tiny", "--output", str(output)]
    monkeypatch.setattr(gpu, "measurements", lambda shop: [])
    assert gpu.main(asked) == 1
    assert "FAIL ZeroDivisionError: division by zero" in capsys.readouterr().out
    assert gpu.main([*asked, "--minutes", "0.1"]) == 0
    assert json.loads(output.read_text())["lines"][0]["value"] == "left out: the time is up"


@pytest.mark.torture
def test_the_dry_run_does_each_step(tmp_path):
    output = tmp_path / "gpu.json"
    assert gpu.main(["--device", "cpu", "--tiny", "--output", str(output)]) == 0
    lines = json.loads(output.read_text())["lines"]
    assert [line["name"] for line in lines if line["ok"]] == PROOFS
    measured = {line["name"]: line["numbers"] for line in lines if line["numbers"]}
    for tokens in (27, 128):
        ms = measured[f"ms/step, tiny, {tokens} tokens"]
        assert min(ms["ours"], ms["Trainer tuned"], ms["Trainer default"]) > 0
        assert ms["ratio"] == pytest.approx(ms["Trainer tuned"] / ms["ours"])
        assert ms["falls_short"] == (ms["ratio"] < 1.0)
    assert 0 < measured["checkpoints of tiny"]["share"] < 1
