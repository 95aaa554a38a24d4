"""A training step as one CUDA graph: a GPU is told once what to do, not kernel by kernel.

A step of BERT-base on short texts launches thousands of kernels, and the GPU waits for most of
them. A graph is launched as a whole.
"""

import logging
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.optim import Optimizer

from tunesmith.tasks.base import Batch

log = logging.getLogger(__name__)

# Lengths that batches are padded to: few, as each has a graph; near, as padding is work.
LENGTHS = (*range(8, 65, 8), *range(80, 129, 16), *range(160, 257, 32), *range(320, 513, 64))


def lengths_up_to(longest: int) -> tuple[int, ...]:
    """Return the lengths that batches of at most so many tokens are padded to."""
    return (*(length for length in LENGTHS if length < longest), longest)


class Learnt(NamedTuple):
    """What a step gives: tensors that each replay writes anew."""

    loss: Tensor  # () as backward had it
    batch_loss: Tensor  # ()
    batch_weight: Tensor  # ()


class Capture(Protocol):
    """Records what a function would do on a device."""

    def warm_up(self, run: Callable[[], Any]) -> None:
        """Run it once, apart, so that nothing is set up while it is recorded."""

    def record(self, run: Callable[[], Learnt]) -> tuple[Learnt, Callable[[], None]]:
        """Return the tensors that it would write, and what writes them; compute nothing now."""


class CudaCapture:
    """Records CUDA kernels; all graphs share the memory of what lies between their kernels."""

    def __init__(self) -> None:
        self.stream, self.pool = torch.cuda.Stream(), torch.cuda.graph_pool_handle()

    def warm_up(self, run: Callable[[], Any]) -> None:
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            run()
        torch.cuda.current_stream().wait_stream(self.stream)

    def record(self, run: Callable[[], Learnt]) -> tuple[Learnt, Callable[[], None]]:
        graph = torch.cuda.CUDAGraph()
        with (
            torch.cuda.stream(torch.cuda.current_stream()),  # put back where recording fails
            # Of this thread alone: another one makes the next batches in page-locked memory.
            torch.cuda.graph(
                graph, pool=self.pool, stream=self.stream, capture_error_mode="thread_local"
            ),
        ):
            learnt = run()
        return learnt, graph.replay


class CapturedStep(NamedTuple):
    """The graph of one shape of batch."""

    batch: Batch  # which the graph reads
    learnt: Learnt  # which it writes
    replay: Callable[[], None]


class StepGraphs:
    """One graph for each shape (B, T) of batches, recorded when the shape is first seen.

    `learn` computes the gradients of a batch, and clips them. Which steps are graphs depends on
    their batch alone, never on the steps before it, so a resumed run takes the same ones.
    """

    def __init__(
        self,
        capture: Capture,
        learn: Callable[[Batch], Learnt],
        optimizer: Optimizer,
        device: torch.device,
        shapes: Collection[tuple[int, int]],
    ) -> None:
        self.capture, self.learn, self.optimizer = capture, learn, optimizer
        self.device, self.shapes = device, frozenset(shapes)
        self.steps: dict[tuple[Any, ...], CapturedStep] = {}
        self.failed = False
        groups = optimizer.param_groups
        self.rates = torch.zeros(len(groups), device=device)  # as kernels read them
        self.known = [0.0] * len(groups)  # what they are

    def step_for(self, batch: Batch) -> CapturedStep | None:
        """Return the graph for a batch of this shape, recorded by now; None where it has none."""
        ids = batch.get("input_ids")
        if self.failed or ids is None or tuple(ids.shape) not in self.shapes:
            return None
        shape = tuple((name, *value.shape, value.dtype) for name, value in sorted(batch.items()))
        if shape not in self.steps:
            step = self._recorded(batch)
            if step is None:
                return None
            self.steps[shape] = step
        return self.steps[shape]

    def run(self, step: CapturedStep, batch: Batch) -> Learnt:
        """Take the whole step, from the forward pass to the optimizer's; nothing waits for it."""
        for name, value in step.batch.items():
            value.copy_(batch[name], non_blocking=True)
        for i, group in enumerate(self.optimizer.param_groups):
            if group["lr"] != self.known[i]:
                self.known[i] = group["lr"]
                self.rates[i].fill_(group["lr"])
        step.replay()
        return step.learnt

    def _recorded(self, batch: Batch) -> CapturedStep | None:
        static = {name: value.clone() for name, value in batch.items()}

        def whole() -> Learnt:
            learnt = self.learn(static)
            with self._rates_on_device():
                self.optimizer.step()
            return learnt

        generator = _generator_of(self.device)
        state = generator.get_state()
        spare = generator.clone_state() if self.device.type == "cuda" else None
        try:
            self.capture.warm_up(lambda: self.learn(static))
            self._prepare_optimizer()
            learnt, replay = self.capture.record(whole)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self.failed = True
            if spare is not None:  # else the generator goes on as if it were recorded
                generator.graphsafe_set_state(spare)
            log.warning("steps are no CUDA graphs: %s", str(error).splitlines()[0])
            return None
        finally:
            generator.set_state(state)
            self.optimizer.zero_grad(set_to_none=True)
        return CapturedStep(static, learnt, replay)

    def _prepare_optimizer(self) -> None:
        """Let the optimizer make its moments, and load its kernel, before a step is recorded.

        Parameters that have gradients and no moments take a step at rate 0, on gradients of 0,
        which moves nothing; its count, and the decay that Adam adds to moments, are taken back.
        """
        groups, state = self.optimizer.param_groups, self.optimizer.state
        learning = [p for group in groups for p in group["params"] if p.grad is not None]
        new = [parameter for parameter in learning if not state.get(parameter)]
        self.optimizer.zero_grad(set_to_none=True)
        for parameter in new:
            parameter.grad = torch.zeros_like(parameter)
        rates = [group["lr"] for group in groups]
        for group in groups:
            group["lr"] = 0.0
        self.optimizer.step()
        for group, rate in zip(groups, rates, strict=True):
            group["lr"] = rate
        for value in (value for parameter in new for value in state[parameter].values()):
            value.zero_()
        if not new:
            alone = torch.zeros(1, device=self.device, requires_grad=True)
            alone.grad = torch.zeros_like(alone)
            type(self.optimizer)([alone], fused=True).step()  # type: ignore[call-arg]

    @contextmanager
    def _rates_on_device(self) -> Iterator[None]:
        """Let the optimizer read its rates where a graph can: from the device."""
        groups = self.optimizer.param_groups
        before = [(group["lr"], group["capturable"]) for group in groups]
        for group, rate in zip(groups, self.rates, strict=True):
            group["lr"], group["capturable"] = rate, True
        try:
            yield
        finally:
            for group, (rate, capturable) in zip(groups, before, strict=True):
                group["lr"], group["capturable"] = rate, capturable


def _generator_of(device: torch.device) -> torch.Generator:
    """Return the generator that dropout on a device draws from."""
    if device.type == "cuda":
        return torch.cuda.default_generators[device.index or 0]
    return torch.default_generator
