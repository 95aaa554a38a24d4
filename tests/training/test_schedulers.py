"""Learning-rate schedules over the steps of a run, and the groups they act on."""

import pytest
import torch

from tunesmith.training import schedulers
from tunesmith.training.param_groups import parameter_groups


def rates(make, steps=100, **options):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = make(optimizer, steps, **options)
    out = []
    for _ in range(steps):
        out.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return [*out, optimizer.param_groups[0]["lr"]]


@pytest.mark.parametrize("name", ["linear", "cosine", "polynomial", "constant", "wsd"])
def test_warmup_rises_to_the_full_rate(name):
    lr = rates(getattr(schedulers, name), warmup=0.1)
    assert lr[0] == 0
    assert lr[10] == pytest.approx(1.0)
    assert lr[:11] == sorted(lr[:11])
    assert max(lr) <= 1.0 + 1e-12


@pytest.mark.parametrize(
    ("name", "half", "end"),
    [("linear", 0.5, 0), ("cosine", 0.5, 0), ("polynomial", 0.25, 0), ("constant", 1, 1)],
)
def test_shapes(name, half, end):
    lr = rates(getattr(schedulers, name), warmup=0.0)
    assert lr[50] == pytest.approx(half)
    assert lr[100] == pytest.approx(end, abs=1e-9)


def test_wsd_is_level_then_falls():
    lr = rates(schedulers.wsd, warmup=0.1, decay=0.2)
    assert lr[10:80] == pytest.approx([1.0] * 70)
    assert lr[90] == pytest.approx(0.5)
    assert lr[100] == pytest.approx(0.0, abs=1e-9)


def test_one_cycle_starts_and_ends_low():
    lr = rates(schedulers.one_cycle, warmup=0.3, initial=0.04, final=1e-4)
    assert (lr[0], lr[30], lr[100]) == pytest.approx((0.04, 1.0, 1e-4))


def test_a_warmup_that_is_no_fraction_is_refused():
    with pytest.raises(ValueError, match=r"scheduler\.warmup is a fraction"):
        rates(schedulers.linear, warmup=10)


@pytest.mark.parametrize("every", [2, 10, 25])
def test_a_rate_that_changes_seldom_is_that_of_the_middle_of_its_steps(every):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = schedulers.step_every(schedulers.linear(optimizer, 100, warmup=0.1), every)
    own = rates(schedulers.linear, warmup=0.1)[:100]
    held = []
    for _ in range(100 // every):
        held.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    middles = [(own[i + (every - 1) // 2] + own[i + every // 2]) / 2 for i in range(0, 100, every)]
    assert held == pytest.approx(middles, abs=0.06)  # the peak is no straight line
    assert min(held) > 0


def test_every_parameter_lands_in_one_group():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.LayerNorm(2), torch.nn.Linear(2, 1))
    factors = {n: 5.0 if n.startswith("2") else 1.0 for n, _ in model.named_parameters()}
    groups = parameter_groups(model, factors, lr=0.1)
    placed = [id(p) for group in groups for p in group["params"]]
    assert sorted(placed) == sorted(id(p) for p in model.parameters())
    for group in groups:
        assert ("weight_decay" in group) == all(p.ndim == 1 for p in group["params"])
    assert {group["lr"] for group in groups} == {0.1, 0.5}
