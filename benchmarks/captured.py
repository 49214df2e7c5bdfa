"""Training whose whole step is captured as a CUDA graph and replayed, for benchmarks/gpu.py."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import gpu_setting as setting
import torch
import torch.nn.functional as F
from gpu_setting import (
    DECAY,
    MOMENTUM,
    RATE,
    Clock,
    Options,
    Rate,
    build,
    on_device,
    part,
    runs,
)
from torch import Tensor, nn
from torch.optim.sgd import sgd

from recall_distortion.training import DeviceImages, Engine
from recall_distortion.training.randomness import generator
from recall_distortion.training.replicates import copy_state


class Replicate:
    """One network whose whole training step, the batch's choice included, is on the device.

    The order of the images, the choices of the augmentations and the place in the order are tensors
    that stay where they are, so that a captured step needs nothing from the host. On a GPU
    ``capture`` must come before ``epoch``; on a CPU the same steps run as they are.
    """

    def __init__(self, network: nn.Module, images: DeviceImages, precision: str) -> None:
        self.images = images
        self.stack = Engine(1, precision).open(network, [copy_state(network)])
        device = images.labels.device
        self.parameters = self.stack.parameters
        # Zeros at first are as good as none: the buffer becomes the first gradient either way.
        self.momenta = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.order = torch.zeros(len(images), dtype=torch.int64, device=device)
        self.choices = [choice[0] for choice in images.draw([torch.Generator()])]
        self.counting = torch.arange(setting.BATCH, device=device)
        self.place = torch.zeros((), dtype=torch.int64, device=device)
        self.total = torch.zeros((), device=device)
        self.graphs: dict[int, torch.cuda.CUDAGraph] = {}
        self.stream: torch.cuda.Stream | None = None

    def sizes(self) -> Iterator[int]:
        """Yield the sizes of an epoch's batches."""
        for start in range(0, len(self.images), setting.BATCH):
            yield min(setting.BATCH, len(self.images) - start)

    def begin(self, state: dict[str, Tensor]) -> None:
        """Take a replicate's weights, with no momentum."""
        for name, value in state.items():
            self.stack.tensors[name][0].copy_(value)
        for momentum in self.momenta:
            momentum.zero_()

    def step(self, size: int) -> None:
        """Train on the next batch; nothing here waits for the device."""
        positions = self.counting[:size] + self.place
        index = self.order.index_select(0, positions)
        choices = [choice.index_select(0, positions) for choice in self.choices]
        logits = self.stack.logits(self.images.batch(index, choices), training=True)[0]
        loss = F.cross_entropy(logits, self.images.labels.index_select(0, index))
        gradients = torch.autograd.grad(loss, self.parameters)
        # The fused kernel needs each gradient to lie in memory as its parameter does.
        aligned = [
            torch.empty_like(parameter).copy_(gradient)
            if gradient.stride() != parameter.stride()
            else gradient
            for parameter, gradient in zip(self.parameters, gradients, strict=True)
        ]
        with torch.no_grad():
            sgd(
                self.parameters,
                aligned,
                self.momenta,
                lr=RATE,
                momentum=MOMENTUM,
                nesterov=True,
                weight_decay=DECAY,
                dampening=0.0,
                maximize=False,
                fused=True,
            )
            self.place += size
            self.total += loss.detach() * size

    def capture(self) -> None:
        """Capture the step for each size of batch, on a stream that no other replicate shares.

        cuBLAS keeps its workspace by stream, so graphs that are replayed at the same time must
        have been captured on different ones.
        """
        self.stream = torch.cuda.Stream()
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            for size in sorted(set(self.sizes()), reverse=True):
                for _ in range(3):  # before capturing, libraries must have set themselves up
                    self.place.zero_()
                    self.step(size)
                self.stream.synchronize()
                self.place.zero_()
                self.graphs[size] = torch.cuda.CUDAGraph()
                with torch.cuda.graph(self.graphs[size], stream=self.stream):
                    self.step(size)
        torch.cuda.synchronize()

    def release(self) -> None:
        """Destroy the graphs, before their stream is used by others."""
        for graph in self.graphs.values():
            graph.reset()
        self.graphs = {}

    def draw(self, order: torch.Generator, choices: torch.Generator) -> None:
        """Set what the next epoch will show."""
        self.order.copy_(torch.randperm(len(self.images), generator=order))
        for kept, choice in zip(self.choices, self.images.draw([choices]), strict=True):
            kept.copy_(choice[0])
        self.place.zero_()
        self.total.zero_()


def epoch(replicates: Sequence[Replicate], seeds: Sequence[int]) -> None:
    """Train replicates for an epoch, all at the same step, in the engine's order of images."""
    for replicate, seed in zip(replicates, seeds, strict=True):
        with torch.cuda.stream(replicate.stream):  # None is the stream in use
            replicate.draw(generator(seed, "order"), generator(seed, "augmentation"))
    for size in list(replicates[0].sizes()):
        for replicate in replicates:
            if replicate.stream is None:
                replicate.step(size)
                continue
            with torch.cuda.stream(replicate.stream):
                replicate.graphs[size].replay()


def captured(options: Options, seeds: Sequence[int], streams: int, precision: str) -> Rate:
    """Train replicates by captured steps, so many at once."""
    found = part(options, options.steps)
    clock = Clock(options.device)
    train = on_device(found, options.device).fit
    states = [run.state for run in runs(build(found, "cpu"), seeds)]
    replicates = [Replicate(build(found, options.device), train, precision) for _ in range(streams)]
    for replicate in replicates:
        replicate.capture()
    clock.start()
    for start in range(0, len(seeds), streams):
        group = list(zip(replicates, seeds[start:], states[start:], strict=False))
        for replicate, _, state in group:
            with torch.cuda.stream(replicate.stream):
                replicate.begin(state)
        epoch([replicate for replicate, _, _ in group], [seed for _, seed, _ in group])
        torch.cuda.synchronize()
    rate = clock.stop(len(seeds) * len(found.fit_index))
    for replicate in replicates:
        replicate.release()
    return rate
