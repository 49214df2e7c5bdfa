"""LeNet-5 on Fashion-MNIST, pruned: what helps a class that loses? Plain torch, one thread.

python docs/recipes/fashion_mnist.py FOLDER DATA: DATA has FashionMNIST/raw, as torchvision has it.
Writes labels, images and the predictions of every network, and prints what the ways cost Shirts.
"""

import copy
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.utils import prune
from torchvision.datasets import FashionMNIST

import recall_distortion as rd

EPOCHS, MORE, LONGER = 10, 3, 9  # of training, of fine-tuning, of longer fine-tuning
BATCH, HELD_OUT = 128, 10_000  # images of the training set by which classes are weighted
WEAKEST = "Shirt"


def arrays(data: Path, train: bool) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return images [N, 28, 28], labels [N] and the classes' names."""
    found = FashionMNIST(data, train=train)
    return found.data.numpy(), found.targets.numpy(), found.classes


def batches(images: np.ndarray, labels: np.ndarray, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield images [B, 1, 28, 28] and labels in their order."""
    for start in range(0, len(labels), size):
        part = slice(start, start + size)
        pixels = torch.from_numpy(images[part, None].astype(np.float32) / 255)
        yield pixels, torch.from_numpy(labels[part])


def train(
    model: nn.Module,
    images: np.ndarray,
    labels: np.ndarray,
    epochs: int,
    rate: float,
    weights: np.ndarray | None = None,
) -> nn.Module:
    """Train a model further at a falling rate, each class by its weight; the seed is the same."""
    rng = np.random.default_rng(0)
    loss = nn.CrossEntropyLoss(None if weights is None else torch.tensor(weights).float())
    optimizer = torch.optim.SGD(model.parameters(), rate, momentum=0.9, weight_decay=5e-4)
    steps = epochs * -(-len(labels) // BATCH)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    model.train()
    for _ in range(epochs):
        order = rng.permutation(len(labels))
        for pixels, targets in batches(images[order], labels[order], BATCH):
            optimizer.zero_grad()
            loss(model(pixels), targets).backward()
            optimizer.step()
            falling.step()
    return model


def pruned(model: nn.Module, ratio: float) -> nn.Module:
    """Return a copy that keeps one weight of ``ratio``, the largest, in all layers but the last."""
    found = copy.deepcopy(model)
    layers = [part for part in found.modules() if isinstance(part, (nn.Conv2d, nn.Linear))]
    weights = [(layer, "weight") for layer in layers if layer is not found.classifier]
    prune.global_unstructured(weights, prune.L1Unstructured, amount=1 - 1 / ratio)
    return found


def missed(model: nn.Module, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return for each class the share of its images that a model misses, the mean made 1."""
    true, scores = rd.predict(model, batches(images, labels, 1000))
    wrong = np.bincount(true[scores.argmax(1) != true], minlength=10) / np.bincount(true)
    return wrong / wrong.mean()


def networks(images: np.ndarray, labels: np.ndarray) -> Iterator[tuple[str, nn.Module]]:
    """Yield every network by its name, each control after what it is a control of."""
    held, fitted = slice(-HELD_OUT, None), slice(-HELD_OUT)
    own = images[fitted], labels[fitted]
    torch.manual_seed(0)
    dense = train(rd.networks.build("lenet5", channels=1, classes=10), *own, EPOCHS, 0.05)
    yield "dense", dense

    def tuned(model: nn.Module, epochs: int = MORE, weights: np.ndarray | None = None) -> nn.Module:
        return train(model, *own, epochs, 0.02, weights)

    at_50 = tuned(pruned(dense, 50))
    yield "at_50", at_50
    yield "at_50_control", tuned(copy.deepcopy(dense))
    yield "at_10", tuned(pruned(dense, 10))  # its control is the same
    yield "longer", tuned(pruned(dense, 50), LONGER)
    yield "longer_control", tuned(copy.deepcopy(dense), LONGER)
    weights = missed(at_50, images[held], labels[held])
    yield "balanced", tuned(pruned(dense, 50), MORE, weights)
    yield "balanced_control", tuned(copy.deepcopy(dense), MORE, weights)


def compared(folder: Path, classes: list[str]) -> pd.DataFrame:
    """Return what each way did to the weakest class and to the rest, each beside its control."""
    saved = {path.stem: np.load(path) for path in folder.glob("*.npy")}
    rows = []
    for name in ("at_50", "at_10", "longer", "balanced"):
        control = saved.get(f"{name}_control", saved["at_50_control"])
        found = rd.audit(
            saved["labels"], saved["dense"], saved[name], control=control, classes=classes
        )
        (whole,) = found.tables["models"].to_dict("records")
        groups = found.tables["groups"].set_index("name")
        row, worst = groups.loc[WEAKEST], groups["change"].idxmin()
        over = f"{100 * row.over_control_low:+.1f} to {100 * row.over_control_high:+.1f}"
        rows.append(
            {
                "network": name,
                "accuracy": f"{whole['before']:.3f} -> {whole['after']:.3f}",
                WEAKEST: f"{100 * row.change:+.1f}",
                "less control's": f"{100 * row.over_control:+.1f} ({over})",
                "loses most": f"{worst} {100 * groups['change'].min():+.1f}",
                "alpha": f"{whole['alpha']:.2f}",
                "its control's": f"{whole['alpha_control']:.2f}",
            }
        )
    return pd.DataFrame(rows)


def main(folder: Path, data: Path) -> None:
    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    test_images, test_labels, classes = arrays(data, train=False)
    np.save(folder / "labels.npy", test_labels)
    np.save(folder / "images.npy", test_images)
    (folder / "classes.txt").write_text("\n".join(classes))
    for name, model in networks(*arrays(data, train=True)[:2]):
        if name == "dense":
            torch.save(model.state_dict(), folder / "dense.pt")
        _, scores = rd.predict(model, batches(test_images, test_labels, 1000))
        np.save(folder / f"{name}.npy", scores)
        print(f"{name}: {(scores.argmax(1) == test_labels).mean():.4f}", flush=True)
    print(compared(folder, classes).to_string(index=False))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
