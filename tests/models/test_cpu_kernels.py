"""Dropout and attention on the CPU: what torch and transformers compute, in less time."""

import json

import pytest
import torch
from torch import nn
from transformers.models.bert.modeling_bert import eager_attention_forward

from support.tiny_models import sentences, tiny_bert
from tunesmith.models import heads
from tunesmith.models.cpu_kernels import ATTENTION, Dropout, attend, drop
from tunesmith.models.encoder import load_model, save
from tunesmith.models.spec import resolve_model, tokenizer


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("p", [0.1, 0.5])
def test_dropout_zeroes_its_share_and_scales_the_rest(p, dtype):
    values = torch.ones(401, 999, dtype=dtype, requires_grad=True)
    torch.manual_seed(3)
    dropped = drop(values, p, training=True)
    kept = dropped != 0
    assert dropped.dtype == dtype
    assert float(kept.double().mean()) == pytest.approx(1 - p, abs=4e-3)  # 5 deviations
    assert set(dropped[kept].tolist()) == {torch.tensor(1 / (1 - p), dtype=dtype).item()}
    assert float(kept.double().mean(0).std()) == pytest.approx((p * (1 - p) / 401) ** 0.5, rel=0.1)
    dropped.sum().backward()
    assert torch.equal(values.grad, dropped.detach())
    again = drop(values, p, training=True)
    assert not torch.equal(again, dropped)
    torch.manual_seed(3)
    assert torch.equal(drop(values, p, training=True), dropped)


def test_dropout_is_off_in_evaluation_and_at_zero_and_all_at_one():
    values = torch.randn(3, 5)
    assert torch.equal(Dropout(0.5).eval()(values), values)
    assert torch.equal(drop(values, 0.0, training=True), values)
    assert not drop(values, 1.0, training=True).any()
    assert drop(values[:0], 0.5, training=True).shape == (0, 5)


@pytest.mark.parametrize("tokens", [9, 40])
@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-6), (torch.bfloat16, 2e-2)])
def test_attention_is_that_of_transformers(tokens, dtype, error):
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 2, 4, tokens, 16, dtype=dtype).unbind()
    mask = torch.zeros(2, 1, tokens, tokens, dtype=dtype)
    mask[1, ..., tokens // 2 :] = torch.finfo(dtype).min
    inputs = [nn.Identity(), query, key, value, mask]
    ours, ours_weights = attend(*inputs, scaling=0.25)
    theirs, weights = eager_attention_forward(*inputs, scaling=0.25)
    assert ours.dtype == dtype and ours.shape == (2, tokens, 4, 16)
    torch.testing.assert_close(ours, theirs, atol=error, rtol=error)
    torch.testing.assert_close(ours_weights, weights, atol=error, rtol=error)


def test_a_loaded_model_has_both_and_a_saved_one_neither(tmp_path):
    source = resolve_model(
        str(tiny_bert(tmp_path / "base")),
        labels=["neg", "pos"],
        head=heads.SINGLE_LABEL,
        attention="eager",
    )
    model = load_model(source)
    assert {type(m) for m in model.modules() if isinstance(m, nn.Dropout)} == {Dropout}
    assert model.config._attn_implementation == ATTENTION
    inputs = dict(tokenizer(source)(sentences(4), padding=True, return_tensors="pt"))

    def gradient() -> torch.Tensor:
        torch.manual_seed(5)
        model.zero_grad()
        model(**inputs).logits.sum().backward()
        return model.get_input_embeddings().weight.grad

    plain = gradient()
    model.gradient_checkpointing_enable({"use_reentrant": False})
    torch.testing.assert_close(gradient(), plain)  # what is computed again drops the same
    save(model, tokenizer(source), tmp_path / "saved")
    assert ATTENTION not in json.dumps(json.loads((tmp_path / "saved/config.json").read_text()))
