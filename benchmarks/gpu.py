"""How fast many ResNet-20s are trained on one GPU: the usual loop, and other ways, side by side.

``python benchmarks/gpu.py`` trains 30 replicates on colour images of 32 x 32, random ones or those
of ``--arrays`` (an ``.npz`` as docs/your-data.md has it), with batches of 128, flips and crops:

- the usual loop, a network at a time: torchvision's transforms image by image in a DataLoader with
  a worker a core, ``torch.optim.SGD``;
- this project's engine, vectorized over 30, 15 and 10 replicates, and one after another;
- residual networks of so many replicates in fused units, each step captured as a CUDA graph, where
  that proves itself on the GPU (``recall_distortion.training.proof``);
- the engine's step captured as a CUDA graph and replayed, one replicate after another;
- such graphs of several replicates at once, each on a CUDA stream of its own;
- the engine one after another in several processes that share the GPU.

All but the usual loop in single precision and in bfloat16. Timed is training over ``--steps``
batches for every network; starting processes, capturing and a first run of two steps are not, and
in the engine's a validation on 16 images is, in the fused one also capturing its step. One repeat
measures all ways one after the other, and ratios are within a repeat. From the medians follows what
the whole panel would take: 30 dense networks of 60 epochs, and for each six of 25 epochs (magnitude
at five ratios, the control), with the hold-out's evaluation taken as a third of training on as many
images. With ``--arrays`` dense, retrained and pruned networks are also computed in both precisions
and their accuracies and slopes compared, seed by seed.

Each rate is printed when it is measured. After ``--seconds``, of which the comparison of precisions
has half, nothing is begun that was not measured before or takes longer than what is left.

``--device cpu`` tries what needs no GPU, and says what it leaves out; its figures mean nothing.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import gpu_precisions
import gpu_setting as setting
import numpy as np
import torch
import torch.nn.functional as F
from captured import captured
from gpu_setting import (
    ARCHITECTURE,
    DECAY,
    MOMENTUM,
    PRECISIONS,
    RATE,
    Clock,
    Options,
    Rate,
    build,
    images,
    on_device,
    part,
    recipe,
    runs,
)
from side_by_side import Workers, machine, print_table, ratios, spread
from torch import Tensor

from recall_distortion import data
from recall_distortion.system import processor
from recall_distortion.system.errors import DataError
from recall_distortion.system.machine import cores
from recall_distortion.training import Engine, fit_runs
from recall_distortion.training.proof import is_proved

EPOCHS, FINETUNING_EPOCHS, PRUNED = 60, 25, 6  # of the panel; pruned networks for each dense one
WARM_STEPS = 2


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
        batch_size=setting.BATCH,
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


def engine(
    options: Options, seeds: Sequence[int], at_once: int, precision: str, fused: bool = False
) -> Rate:
    """Train replicates by this project's engine."""
    work = prepared_engine(options, seeds, at_once, precision, fused)
    clock = Clock(options.device)
    next(work)
    clock.start()
    count = next(work)
    return clock.stop(count)


def prepared_engine(
    options: Options, seeds: Sequence[int], at_once: int, precision: str, fused: bool = False
) -> Iterator[int]:
    """Make ready and do two steps; then train; yield how many images each has seen."""
    few, found = part(options, WARM_STEPS), part(options, options.steps)
    network = build(found, options.device)
    states = runs(network, seeds)
    network.to(options.device)
    way = Engine(at_once, precision, fused=fused)
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


@dataclass(frozen=True)
class Way:
    """A way to train, what measures it, and whether a CPU can do it."""

    name: str
    measure: Callable[[], Rate]
    needs_gpu: bool = False


def ways(options: Options, asked: argparse.Namespace, workers: Workers) -> list[Way]:
    """Return the ways, what matters most first; the first is what the others are held against."""
    seeds = range(asked.replicates)
    few = seeds[: asked.alone]
    most_first = functools.partial(sorted, reverse=True)
    found: list[tuple[str, Callable[[str], Rate], bool]] = []
    if options.device == "cpu" or is_proved(ARCHITECTURE, options.device):
        for count in most_first(asked.fused):
            job = functools.partial(engine, options, range(count), count, fused=True)
            found.append((f"fused, {count} at once", job, True))
    for count in most_first({min(n, asked.replicates) for n in asked.at_once}):
        job = functools.partial(engine, options, seeds, count)
        found.append((f"engine, {count} at once", job, False))
    found.append(("engine, one after another", functools.partial(engine, options, few, 1), False))
    for streams in asked.streams:
        many = few if streams == 1 else range(streams)
        name = "one after another" if streams == 1 else f"{streams} streams"
        job = functools.partial(captured, options, many, streams)
        found.append((f"captured steps, {name}", job, True))
    for count in asked.processes:
        job = functools.partial(shared, options, workers, count)
        found.append((f"engine, {count} processes", job, False))
    return [
        Way("usual loop", lambda: usual(options)),
        *(
            Way(f"{name}, {precision}", functools.partial(job, precision=precision), needs_gpu)
            for name, job, needs_gpu in found
            for precision in PRECISIONS
        ),
    ]


def shared(options: Options, workers: Workers, count: int, precision: str) -> Rate:
    """Train a network in each of several processes at the same time."""
    if options.device == "cuda":
        torch.cuda.empty_cache()
    timed = workers.run(in_process, [(options, (seed,), precision) for seed in range(count)])
    trained = count * len(part(options, options.steps).fit_index)
    return Rate(trained / timed.seconds, sum(timed.values))


def compare(options: Options, asked: argparse.Namespace, until: float) -> None:
    """Measure every way in every repeat, and print the table and the panel's estimate."""
    with Workers(max(asked.processes)) as workers:
        all_ways = ways(options, asked, workers)
        measured = [way for way in all_ways if options.device == "cuda" or not way.needs_gpu]
        if left_out := [way.name for way in all_ways if way not in measured]:
            print(f"left out, for want of a GPU: {'; '.join(left_out)}")
        found = rates_until(until, measured, asked.repeats)
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
            spread(ratios(own, basis[: len(own)])),
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


def rates_until(until: float, measured: Sequence[Way], repeats: int) -> dict[str, list[Rate]]:
    """Measure ways in turn, and print each; name those for which there is no time.

    The first way is measured in any case. Another begins before ``until``, and in later repeats
    only where the time left is at least what it took before.
    """
    found: dict[str, list[Rate]] = {}
    took: dict[str, float] = {}
    for repeat in range(repeats):
        for way in measured:
            start = time.monotonic()
            if found and start + took.get(way.name, 0.0) > until:
                continue
            if repeat and len(found[way.name]) < repeat:
                continue  # ratios are within a repeat
            rate = way.measure()
            took[way.name] = time.monotonic() - start
            found.setdefault(way.name, []).append(rate)
            print(f"{way.name}: {rate.images:.0f} images a second", flush=True)
    if missing := [way.name for way in measured if way.name not in found]:
        print(f"left out, for want of time: {'; '.join(missing)}")
    return found


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
    parser.add_argument("--fused", **whole, default=[1, 10, 30, 60], help="networks at once")
    parser.add_argument("--alone", type=int, default=2, help="networks timed one after another")
    parser.add_argument("--streams", **whole, default=[1, 4, 8])
    parser.add_argument("--processes", **whole, default=[2, 4, 8])
    parser.add_argument("--epochs", type=int, default=4, help="of networks in both precisions")
    parser.add_argument("--block", type=int, default=10, help="of seeds in both precisions")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin nothing after")
    asked = parser.parse_args()
    start = time.monotonic()
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
            f"{'images' if prepared else 'random images'}, batch {setting.BATCH}, "
            f"{asked.replicates} replicates, {asked.steps} steps each, {asked.repeats} repeats; "
            "median (smallest..largest); TF32 in float32 convolutions: "
            f"{torch.backends.cudnn.conv.fp32_precision == 'tf32'}"
        )
        compare(options, asked, start + asked.seconds / (2 if prepared else 1))
        if prepared:
            gpu_precisions.compare(
                prepared,
                options.device,
                range(asked.replicates),
                block=asked.block,
                epochs=asked.epochs,
                until=start + asked.seconds,
            )


if __name__ == "__main__":
    main()
