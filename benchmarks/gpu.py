"""How fast many ResNet-20s are trained on one GPU: the usual loop, and other ways, side by side.

``python benchmarks/gpu.py`` trains 30 replicates on colour images of 32 x 32, random ones or those
of ``--arrays`` (an ``.npz`` as docs/your-data.md has it), with batches of 128, flips and crops:

- the usual loop, a network at a time: torchvision's transforms image by image in a DataLoader with
  a worker a core, ``torch.optim.SGD``;
- this project's engine, vectorized over 30, 15 and 10 replicates, and one after another;
- the same step captured as a CUDA graph and replayed, one replicate after another;
- such graphs of several replicates at once, each on a CUDA stream of its own;
- the engine one after another in several processes that share the GPU.

All but the usual loop in single precision and in bfloat16. Timed is training over ``--steps``
batches for every network; starting processes, capturing and a first run of two steps are not, and
in the engine's a validation on 16 images is. One repeat measures all ways one after the other, and
ratios are within a repeat. From the medians follows what the whole panel would take: 30 dense
networks of 60 epochs, and for each six of 25 epochs (magnitude at five ratios, the control), with
the hold-out's evaluation taken as a third of training on as many images. With ``--arrays`` all
replicates are also trained for a few epochs in both precisions and their accuracies compared.

``--device cpu`` tries what needs no GPU, and says what it leaves out; its figures mean nothing.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from side_by_side import Workers, machine, print_table, ratios, spread
from torch import Tensor, nn
from torch.optim.sgd import sgd

from recall_distortion import data, networks, processor
from recall_distortion.data import PreparedData
from recall_distortion.errors import DataError
from recall_distortion.machine import cores
from recall_distortion.replicates import copy_state, generator
from recall_distortion.training import DeviceImages, Engine, Run, TrainingImages, fit_runs

ARCHITECTURE = "resnet20"
SIDE, CHANNELS, CLASSES = 32, 3, 10  # of the random images
BATCH, RATE, MOMENTUM, DECAY = 128, 0.1, 0.9, 5e-4
AUGMENTATION = ("flip", "crop")
PRECISIONS = ("float32", "bfloat16")
EPOCHS, FINETUNING_EPOCHS, PRUNED = 60, 25, 6  # of the panel; pruned networks for each dense one
WARM_STEPS = 2
VALIDATED = 16  # images that the engine validates on within what is timed
EVALUATED = 1000  # test images at once


@dataclass(frozen=True)
class Options:
    """What every process of the benchmark has to know."""

    device: str
    images: int
    steps: int
    prepared: str | None  # a prepared data set's file, or None for random images


@dataclass(frozen=True)
class Rate:
    """Images a second of a way, and the peak memory in GB that it reserved on the GPU."""

    images: float
    memory: float


@functools.cache
def images(options: Options) -> PreparedData:
    """Return the data, cut to so many training images."""
    if options.prepared:
        found = data.load(options.prepared)
        return replace(found, fit_index=found.fit_index[: options.images])
    rng = np.random.default_rng(0)
    count = options.images + VALIDATED
    pixels = rng.integers(0, 256, (count, CHANNELS, SIDE, SIDE), dtype=np.uint8)
    labels = rng.integers(0, CLASSES, count)
    half = np.full(CHANNELS, 0.5, np.float32)
    index = np.arange(count)
    return PreparedData(
        train_images=pixels,
        train_labels=labels,
        fit_index=index[: options.images],
        holdout_index=index[options.images :],
        test_images=pixels[:VALIDATED],
        test_labels=labels[:VALIDATED],
        mean=half,
        std=half / 2,
        class_names=tuple(map(str, range(CLASSES))),
        source="random",
        checksum="",
    )


def part(options: Options, steps: int) -> PreparedData:
    """Return the data cut to so many batches, for which all networks are timed."""
    found = images(options)
    count = min(steps * BATCH, len(found.fit_index))
    return replace(
        found, fit_index=found.fit_index[:count], holdout_index=found.holdout_index[:VALIDATED]
    )


def on_device(found: PreparedData, device: str) -> TrainingImages:
    """Return a data set on the device, augmented."""
    return TrainingImages.of(found, selection="holdout", device=device, augmentation=AUGMENTATION)


def build(found: PreparedData, device: str) -> nn.Module:
    """Return a network for the data, with the channels last as in the workflow's jobs."""
    _, channels, _, _ = found.train_images.shape
    network = networks.build(ARCHITECTURE, channels=channels, classes=len(found.class_names))
    return network.to(device, memory_format=torch.channels_last)


def runs(network: nn.Module, seeds: Sequence[int]) -> list[Run]:
    """Return replicates with their initial weights."""
    found = []
    for seed in seeds:
        networks.initialize(network.cpu(), generator(seed, "initialization"))
        found.append(Run(seed, copy_state(network)))
    return found


def recipe(epochs: int) -> dict[str, object]:
    return {
        "phases": [{"epochs": epochs, "learning_rate": RATE}],
        "batch_size": BATCH,
        "momentum": MOMENTUM,
        "weight_decay": DECAY,
        "augmentation": AUGMENTATION,
    }


class Clock:
    """Times what is within, and counts the GPU's memory reserved meanwhile."""

    def __init__(self, device: str) -> None:
        self.on_gpu = device == "cuda"
        if self.on_gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def start(self) -> None:
        if self.on_gpu:
            torch.cuda.synchronize()
        self.started = time.monotonic()

    def stop(self, count: int) -> Rate:
        """Return the rate of so many images since the start."""
        if self.on_gpu:
            torch.cuda.synchronize()
        seconds = time.monotonic() - self.started
        return Rate(count / seconds, self.memory())

    def memory(self) -> float:
        return torch.cuda.max_memory_reserved() / 1e9 if self.on_gpu else float("nan")


class Pictures(torch.utils.data.Dataset):
    """Images that are transformed one by one, as torchvision's data sets have them."""

    def __init__(self, pixels: np.ndarray, labels: np.ndarray, transform: Callable) -> None:
        self.pixels = np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))
        self.labels = labels.tolist()
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        from PIL import Image

        return self.transform(Image.fromarray(self.pixels[index])), self.labels[index]


def usual(options: Options) -> Rate:
    """Train one network by the usual loop."""
    from torch.utils.data import DataLoader
    from torchvision import transforms

    found = part(options, options.steps)
    side = found.train_images.shape[-1]
    transform = transforms.Compose(
        [
            transforms.RandomCrop(side, padding=4),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(found.mean.tolist(), found.std.tolist()),
        ]
    )
    pixels, labels = found.train_images[found.fit_index], found.train_labels[found.fit_index]
    loader = DataLoader(
        Pictures(pixels, labels, transform),
        batch_size=BATCH,
        shuffle=True,
        num_workers=cores(),
        persistent_workers=True,
        pin_memory=options.device == "cuda",
    )
    torch.manual_seed(0)
    network = build(found, options.device).to(memory_format=torch.contiguous_format).train()
    optimizer = torch.optim.SGD(
        network.parameters(), lr=RATE, momentum=MOMENTUM, weight_decay=DECAY, nesterov=True
    )

    def train(most: int) -> None:
        for number, (x, y) in enumerate(loader):
            if number == most:
                break
            x, y = (value.to(options.device, non_blocking=True) for value in (x, y))
            optimizer.zero_grad()
            F.cross_entropy(network(x), y).backward()
            optimizer.step()

    clock = Clock(options.device)
    train(WARM_STEPS)
    clock.start()
    train(options.steps)
    return clock.stop(len(labels))


def engine(options: Options, seeds: Sequence[int], at_once: int, precision: str) -> Rate:
    """Train replicates by this project's engine."""
    work = prepared_engine(options, seeds, at_once, precision)
    clock = Clock(options.device)
    next(work)
    clock.start()
    count = next(work)
    return clock.stop(count)


def prepared_engine(
    options: Options, seeds: Sequence[int], at_once: int, precision: str
) -> Iterator[int]:
    """Make ready and do two steps; then train; yield how many images each has seen."""
    few, found = part(options, WARM_STEPS), part(options, options.steps)
    network = build(found, options.device)
    states = runs(network, seeds)
    network.to(options.device)
    way = Engine(at_once, precision)
    warm = on_device(few, options.device)
    list(fit_runs(network, warm, recipe(1), states[:at_once], engine=way))
    train = on_device(found, options.device)
    yield len(seeds) * len(few.fit_index)
    list(fit_runs(network, train, recipe(1), states, engine=way))
    yield len(seeds) * len(found.fit_index)


def in_process(
    options: Options, seeds: Sequence[int], precision: str
) -> Generator[None, None, float]:
    """Train replicates one after another in one of several processes; return its memory."""
    processor.prepare(1, options.device)
    clock = Clock(options.device)
    work = prepared_engine(options, seeds, 1, precision)
    next(work)
    yield
    next(work)  # ends by reading the losses, so the GPU has done its work
    yield
    return clock.memory()


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
        self.counting = torch.arange(BATCH, device=device)
        self.place = torch.zeros((), dtype=torch.int64, device=device)
        self.total = torch.zeros((), device=device)
        self.graphs: dict[int, torch.cuda.CUDAGraph] = {}
        self.stream: torch.cuda.Stream | None = None

    def sizes(self) -> Iterator[int]:
        """Yield the sizes of an epoch's batches."""
        for start in range(0, len(self.images), BATCH):
            yield min(BATCH, len(self.images) - start)

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


@dataclass(frozen=True)
class Way:
    """A way to train, what measures it, and whether a CPU can do it."""

    name: str
    measure: Callable[[], Rate]
    needs_gpu: bool = False


def ways(options: Options, asked: argparse.Namespace, workers: Workers) -> list[Way]:
    """Return the ways; the first is what the others are held against."""
    found = [Way("usual loop", lambda: usual(options))]
    seeds = range(asked.replicates)
    few = seeds[: asked.alone]
    for precision in PRECISIONS:
        for at_once in sorted({min(n, asked.replicates) for n in asked.at_once}, reverse=True):
            job = functools.partial(engine, options, seeds, at_once, precision)
            found.append(Way(f"engine, {at_once} at once, {precision}", job))
        job = functools.partial(engine, options, few, 1, precision)
        found.append(Way(f"engine, one after another, {precision}", job))
        for streams in asked.streams:
            many = few if streams == 1 else range(streams)
            job = functools.partial(captured, options, many, streams, precision)
            name = "one after another" if streams == 1 else f"{streams} streams"
            found.append(Way(f"captured steps, {name}, {precision}", job, needs_gpu=True))
        for count in asked.processes:
            job = functools.partial(shared, options, workers, count, precision)
            found.append(Way(f"engine, {count} processes, {precision}", job))
    return found


def shared(options: Options, workers: Workers, count: int, precision: str) -> Rate:
    """Train a network in each of several processes at the same time."""
    if options.device == "cuda":
        torch.cuda.empty_cache()
    timed = workers.run(in_process, [(options, (seed,), precision) for seed in range(count)])
    trained = count * len(part(options, options.steps).fit_index)
    return Rate(trained / timed.seconds, sum(timed.values))


def compare(options: Options, asked: argparse.Namespace) -> None:
    """Measure every way in every repeat, and print the table and the panel's estimate."""
    with Workers(max(asked.processes)) as workers:
        all_ways = ways(options, asked, workers)
        measured = [way for way in all_ways if options.device == "cuda" or not way.needs_gpu]
        if left_out := [way.name for way in all_ways if way not in measured]:
            print(f"left out, for want of a GPU: {'; '.join(left_out)}")
        found: dict[str, list[Rate]] = {way.name: [] for way in measured}
        for _ in range(asked.repeats):
            for way in measured:
                found[way.name].append(way.measure())
    rates = {name: [rate.images for rate in own] for name, own in found.items()}
    basis = rates[measured[0].name]
    # The panel as it would be: nine tenths of the images to fit, a tenth held out.
    whole = len(images(options).fit_index)
    epochs = asked.replicates * (EPOCHS + PRUNED * FINETUNING_EPOCHS)
    passes = epochs * whole * (1 + 1 / 9 / 3)
    rows = [
        (
            name,
            spread(own, "{:.0f}"),
            spread(ratios(own, basis)),
            "-" if options.device == "cpu" else f"{max(r.memory for r in found[name]):.1f}",
            f"{passes / statistics.median(own) / 3600:.2f}",
        )
        for name, own in rates.items()
    ]
    print_table(("way", "images a second", "times the usual loop", "GB", "panel, hours"), rows)
    print(
        f"panel: {asked.replicates} replicates of {EPOCHS} epochs and for each {PRUNED} of "
        f"{FINETUNING_EPOCHS}, {whole} images an epoch; memory is what torch reserved, without "
        "each process's CUDA context"
    )


@torch.no_grad()
def accuracies(options: Options, asked: argparse.Namespace, precision: str) -> list[float]:
    """Train all replicates for a few epochs and return their accuracies on the test set."""
    found = images(options)
    network = build(found, options.device)
    states = runs(network, range(asked.replicates))
    network.to(options.device)
    way = Engine(min(max(asked.at_once), asked.replicates), precision)
    with torch.enable_grad():
        fitted = list(
            fit_runs(
                network,
                on_device(found, options.device),
                recipe(asked.parity_epochs),
                states,
                engine=way,
            )
        )
    test = DeviceImages(
        found.test_images, found.test_labels, found.mean, found.std, device=options.device
    )
    result = []
    for replicate in fitted:
        if isinstance(replicate, Exception):
            raise replicate
        # Evaluation is in single precision whatever training was, as in the workflow.
        stack = Engine().open(network, [replicate.state])
        correct = 0
        for start in range(0, len(test), EVALUATED):
            batch = slice(start, start + EVALUATED)
            predicted = stack.logits(test.batch(batch))[0].argmax(1)
            correct += (predicted == test.labels[batch]).sum().item()
        result.append(correct / len(test))
    return result


def compare_accuracies(options: Options, asked: argparse.Namespace) -> None:
    """Print the accuracies in both precisions, seed by seed the same networks at the start."""
    single, half = (accuracies(options, asked, precision) for precision in PRECISIONS)
    differences = [b - a for a, b in zip(single, half, strict=True)]
    count = len(differences)
    error = statistics.stdev(differences) / count**0.5 if count > 1 else float("nan")
    print(
        f"test accuracy after {asked.parity_epochs} epochs: float32 {statistics.mean(single):.4f}, "
        f"bfloat16 {statistics.mean(half):.4f}, difference {statistics.mean(differences):+.4f} "
        f"± {error:.4f} (standard error, n = {count})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    whole = {"type": int, "nargs": "+"}
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--arrays", type=Path, help="an .npz with images and labels")
    parser.add_argument("--replicates", type=int, default=30)
    parser.add_argument("--images", type=int, default=45_000, help="training images an epoch")
    parser.add_argument("--steps", type=int, default=100, help="timed batches of each network")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--at-once", **whole, default=[30, 15, 10])
    parser.add_argument("--alone", type=int, default=2, help="networks timed one after another")
    parser.add_argument("--streams", **whole, default=[1, 4, 8])
    parser.add_argument("--processes", **whole, default=[2, 4, 8])
    parser.add_argument("--parity-epochs", type=int, default=3)
    asked = parser.parse_args()
    if asked.device == "cuda" and not torch.cuda.is_available():
        parser.exit(2, "there is no GPU here; --device cpu tries the parts that need none\n")
    if asked.device == "cuda":
        processor.prepare_gpu()  # in this process too, for every way is to be as precise
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        prepared = None
        if asked.arrays:
            prepared = str(Path(folder) / "data.safetensors")
            split = {"data_root": "", "holdout": 0.1, "test_fraction": None, "seed": 0}
            try:
                data.prepare("arrays", Path(prepared), path=str(asked.arrays), **split)
            except DataError as error:
                parser.error(str(error))
        options = Options(asked.device, asked.images, asked.steps, prepared)
        channels, side, _ = images(options).train_images.shape[1:]
        print(
            f"{ARCHITECTURE} on {channels} x {side} x {side} "
            f"{'images' if prepared else 'random images'}, batch {BATCH}, "
            f"{asked.replicates} replicates, {asked.steps} steps each, {asked.repeats} repeats; "
            "median (smallest..largest); TF32 in float32 convolutions: "
            f"{torch.backends.cudnn.conv.fp32_precision == 'tf32'}"
        )
        compare(options, asked)
        if prepared:
            compare_accuracies(options, asked)


if __name__ == "__main__":
    main()
