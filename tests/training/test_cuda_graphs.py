"""Steps as CUDA graphs, driven on the CPU: a recording is played by running it again.

What a GPU alone can show (that a graph computes what its kernels do) is a check of `make gpu`.
"""

import copy

import pytest
import torch

from support.commands import make_inputs, use_inputs
from support.runs import composed, trained
from tunesmith.config import resolved
from tunesmith.errors import ConfigError
from tunesmith.pipeline import components, graph_choice
from tunesmith.pipeline.inputs import load_inputs
from tunesmith.training import cuda_graphs, lightning_module
from tunesmith.training.hardware import Hardware

GPU = Hardware("gpu", 1, 1, "auto", "bf16-mixed", 1)
ROWS = 44  # 5 whole batches of 8 and one of 4


class Playback:
    """Stands in for a device that records: it runs, puts all back, and can run again."""

    def __init__(self):
        self.recorded, self.played, self.fails = 0, 0, False

    def warm_up(self, run):
        run()

    def record(self, run):
        if self.fails:
            raise RuntimeError("operation not permitted when stream is capturing\nmore")
        parts = (self.module, self.module.trainer.optimizers[0])
        before = [copy.deepcopy(part.state_dict()) for part in parts]
        learnt = run()
        for part, state in zip(parts, before, strict=True):
            part.load_state_dict(state)
        self.recorded += 1

        def play():
            self.played += 1
            for written, value in zip(learnt, run(), strict=True):
                written.copy_(value)

        return learnt, play


@pytest.fixture
def playback(monkeypatch):
    """Let this machine's CPU pass as one that records."""
    played = Playback()
    start = lightning_module.TaskModule.on_train_start

    def on_train_start(module):
        played.module = module
        start(module)

    monkeypatch.setattr(lightning_module.TaskModule, "on_train_start", on_train_start)
    monkeypatch.setattr(lightning_module, "CudaCapture", lambda: played)
    monkeypatch.setattr(graph_choice, "reason_in_config", lambda config, hardware: None)
    return played


@pytest.fixture
def overrides(tmp_path):
    make_inputs(tmp_path, train=ROWS)
    return [
        *use_inputs(tmp_path),
        "data.batch_size=8",
        "trainer.precision=32",
        "trainer.num_threads=1",
        "trainer.max_epochs=3",
        "scheduler=constant",
        "optimizer.lr=0.0009765625",  # 2^-10: a graph reads it as a float32
        f"paths.runs={tmp_path}/runs",
    ]


def weights(directory):
    return torch.load(directory / "checkpoints" / "last.ckpt", weights_only=True)


def same(one, other):
    """Tell whether two runs ended with the same weights and moments, to the bit."""
    states = [
        (s["state_dict"], s["optimizer_states"][0]["state"]) for s in map(weights, (one, other))
    ]
    (a, moments), (b, others) = states
    return all(torch.equal(a[k], b[k]) for k in a) and all(
        torch.equal(v, others[i][k]) for i, state in moments.items() for k, v in state.items()
    )


def test_captured_steps_are_the_steps_that_kernels_take(tmp_path, overrides, playback, monkeypatch):
    graphed, scores = trained(tmp_path, *overrides, name="graphed")
    lengths = cuda_graphs.lengths_up_to(64)
    assert playback.played == 3 * (ROWS // 8)  # what is left of an epoch takes its kernels
    assert 1 <= playback.recorded <= 3  # lengths 8 to 24
    monkeypatch.setattr(lightning_module.TaskModule, "on_train_start", lambda module: None)
    eager, others = trained(tmp_path, *overrides, name="eager")
    assert playback.played == 3 * (ROWS // 8)
    assert len(lengths) == len(set(lengths))
    assert same(graphed, eager)
    assert scores["scores"] == others["scores"]


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.AdamW])
def test_an_optimizer_that_was_prepared_steps_as_a_new_one(optimizer):
    def stepped(prepared):
        weights = torch.nn.Parameter(torch.ones(3))
        made = optimizer([weights], lr=0.01, weight_decay=0.5, amsgrad=True, fused=True)
        if prepared:
            weights.grad = torch.ones(3)
            device = torch.device("cpu")
            cuda_graphs.StepGraphs(Playback(), None, made, device, [])._prepare_optimizer()
        weights.grad = torch.arange(3.0)
        made.step()
        return weights.detach(), *made.state[weights].values()

    assert all(map(torch.equal, stepped(prepared=True), stepped(prepared=False)))


def test_a_paused_run_takes_the_steps_of_an_undisturbed_one(tmp_path, overrides, playback):
    whole, _ = trained(tmp_path, *overrides, name="whole")
    with pytest.raises(BaseException) as stopped:
        trained(tmp_path, *overrides, "trainer.pause_at_step=8", name="paused")
    assert type(stopped.value).__name__ == "Interrupted"
    [paused] = (tmp_path / "runs" / "paused").iterdir()
    resumed, _ = trained(tmp_path, *overrides, f"resume={paused}", name="paused")
    assert same(whole, resumed)


def test_rates_of_a_schedule_reach_the_graph(tmp_path, overrides, playback, monkeypatch):
    schedule = ["scheduler=linear", "scheduler.warmup=0.5"]
    graphed, _ = trained(tmp_path, *overrides, *schedule, name="graphed")
    monkeypatch.setattr(lightning_module.TaskModule, "on_train_start", lambda module: None)
    eager, _ = trained(tmp_path, *overrides, *schedule, name="eager")
    a, b = (weights(run)["state_dict"] for run in (graphed, eager))
    for name in a:  # rates are rounded to float32
        torch.testing.assert_close(a[name], b[name], atol=1e-5, rtol=1e-4)


def test_where_recording_fails_kernels_are_launched_and_it_is_said(
    tmp_path, overrides, playback, monkeypatch
):
    playback.fails = True
    failed, _ = trained(tmp_path, *overrides, name="failed")
    assert playback.played == 0
    log = (failed / "train.log").read_text()
    assert log.count("steps are no CUDA graphs: operation not permitted") == 1
    assert "more" not in log
    monkeypatch.setattr(lightning_module.TaskModule, "on_train_start", lambda module: None)
    eager, _ = trained(tmp_path, *overrides, name="eager")
    assert same(failed, eager)


def test_why_steps_are_no_graphs(overrides):
    def why(*more, hardware=GPU):
        return graph_choice.reason_in_config(resolved(composed(*overrides, *more)), hardware)

    assert why() is None
    cpu, two = Hardware("cpu", 1, 1, "auto", "32", 1), Hardware("gpu", 2, 1, "ddp", "32", 1)
    assert why(hardware=cpu) == "they need a GPU"
    assert why(hardware=two) == "several devices wait for each other"
    half = Hardware("gpu", 1, 1, "auto", "16-mixed", 1)
    assert why(hardware=half) == "precision 16-mixed skips steps"
    assert why("trainer.micro_batches=2") == "a batch has several micro-batches"
    said = "gradient checkpointing computes twice"
    assert why("trainer.gradient_checkpointing=true") == said
    for optimizer in (["optimizer.fused=null"], ["optimizer=sgd"], ["optimizer=radam"]):
        assert why(*optimizer) == "the optimizer is no fused Adam or AdamW"
    assert why("optimizer=adam") is None
    assert why("scheduler=plateau") is None
    assert why("scheduler=one_cycle") is None  # ours
    theirs = ["scheduler._target_=torch.optim.lr_scheduler.OneCycleLR", "~scheduler.warmup"]
    assert (
        why(*theirs, "+scheduler.max_lr=1e-3", "+scheduler.total_steps=9")
        == "OneCycleLR may change more than the rate"
    )

    config = resolved(composed(*overrides))
    task = components.build_task(config, load_inputs(config))[0]
    assert graph_choice.reason_in_task(task) is None
    task.model.config.model_type = "longformer"
    assert graph_choice.reason_in_task(task) == "longformer models are not known to allow it"
    task.model.config.model_type = "bert"
    task.loss = torch.nn.CrossEntropyLoss()  # stands for one that a stranger wrote
    assert graph_choice.reason_in_task(task) == "CrossEntropyLoss is not known to allow it"


def test_graphs_that_are_asked_for_and_cannot_be_are_refused(tmp_path, overrides):
    with pytest.raises(ConfigError, match=r"CONF-GRAPHS.*they need a GPU"):
        trained(tmp_path, *overrides, "trainer.cuda_graphs=true")


def test_lengths_are_near_and_few():
    lengths = cuda_graphs.lengths_up_to(512)
    assert lengths[:3] == (8, 16, 24) and lengths[-1] == 512
    assert len(lengths) == 20
    for length in range(9, 513):
        assert next(at for at in lengths if at >= length) < 1.4 * length + 8
    assert cuda_graphs.lengths_up_to(100)[-2:] == (96, 100)
