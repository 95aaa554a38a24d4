"""trainer.compile: the same training by other kernels."""

import json

import pytest
import torch

from support.commands import make_inputs, only_run, train, use_inputs
from support.runs import trained
from tunesmith.models import compilation

OWN = ["data.batch_size=8", "trainer.max_epochs=1", "trainer.precision=32", "test=false"]
STILL = ["model.hidden_dropout=0.0", "model.attention_dropout=0.0", "model.classifier_dropout=0.0"]


def weights(run):
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def test_a_model_that_is_compiled_learns_the_same_under_the_same_names(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "kernels"))
    monkeypatch.setattr(compilation, "BACKEND", "eager")  # traced, and run by torch's own kernels
    make_inputs(tmp_path, train=24)
    overrides = [*use_inputs(tmp_path), *OWN, *STILL, f"paths.runs={tmp_path}/runs"]
    traced = torch._dynamo.utils.counters
    traced.clear()
    compiled, _ = trained(tmp_path, *overrides, "trainer.compile=true", name="compiled")
    assert traced["stats"]["calls_captured"] > 0
    plain, _ = trained(tmp_path, *overrides, name="plain")
    one, other = weights(compiled), weights(plain)
    assert list(one) == list(other)
    for name in one:
        torch.testing.assert_close(one[name], other[name], atol=1e-5, rtol=1e-4)


@pytest.mark.torture
def test_kernels_are_made_once_for_two_runs(tmp_path):
    make_inputs(tmp_path, train=24)
    words = [*use_inputs(tmp_path), *OWN, *STILL, "trainer.compile=true"]
    words += [f"paths.runs={tmp_path}/runs", f"paths.cache={tmp_path}/cache"]
    scores, kernels = [], []
    for name in ("first", "second"):
        done = train([*words, f"name={name}"], timeout=900)
        assert done.returncode == 0, done.stderr[-3000:]
        run = only_run(tmp_path, name)
        scores.append(json.loads((run / "metrics.json").read_text())["scores"])
        kernels.append({path for path in (tmp_path / "cache/compiled").rglob("*.so")})
    assert kernels[0]
    assert kernels[1] == kernels[0]
    assert scores[1] == scores[0]
