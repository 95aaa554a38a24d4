"""Gradients are clipped as torch clips them, and left alone where their norm is small."""

import pytest
import torch

from tunesmith.training.clipping import clip_gradients


@pytest.mark.parametrize("size", [0.01, 0.3, 3.0, float("nan")])
def test_gradients_are_clipped_to_the_bit_as_torch_does(size):
    torch.manual_seed(0)
    gradients = [torch.randn(7, 5) * size, torch.randn(11) * size]
    ours, theirs = ([torch.nn.Parameter(torch.zeros_like(g)) for g in gradients] for _ in range(2))
    for parameters in (ours, theirs):
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient.clone()
    without = torch.nn.Parameter(torch.zeros(2))
    clip_gradients([*ours, without], 1.0)
    torch.nn.utils.clip_grad_norm_(theirs, 1.0)
    assert without.grad is None
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.grad, other.grad, atol=0, rtol=0, equal_nan=True)


def test_a_small_norm_writes_no_gradient():
    parameter = torch.nn.Parameter(torch.zeros(4))
    parameter.grad = torch.full((4,), 0.1)
    version = parameter.grad._version
    clip_gradients([parameter], 1.0)
    assert parameter.grad._version == version
    clip_gradients([parameter], 0.1)
    assert float(parameter.grad.norm()) == pytest.approx(0.1, rel=1e-4)
