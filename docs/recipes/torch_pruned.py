"""A torch model pruned by torch.nn.utils.prune, beside the same training without pruning.

python docs/recipes/torch_pruned.py FOLDER: writes the predictions, audits them, writes the report.
"""

import copy
import sys
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.utils import prune
from torch.utils.data import DataLoader, TensorDataset

import recall_distortion as rd

KEPT, EPOCHS, MORE = 0.03, 30, 15  # share of the weights, epochs of training, of fine-tuning


def loaders(test: int = 900) -> tuple[DataLoader, DataLoader]:
    """Return the digits to train with, in another order each epoch, and those to test with."""
    digits = load_digits()
    images = torch.tensor(digits.images[:, None] / 16, dtype=torch.float32)
    labels = torch.tensor(digits.target)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    first, rest = (TensorDataset(images[at], labels[at]) for at in (order[test:], order[:test]))
    return DataLoader(first, 64, shuffle=True), DataLoader(rest, 500)


def build() -> nn.Module:
    """Return a small network for images of 8 times 8 pixels."""
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 10)),
    )


def train(model: nn.Module, loader: DataLoader, epochs: int) -> None:
    """Train a model further."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    model.train()
    for _ in range(epochs):
        for images, labels in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()


def pruned(model: nn.Module, kept: float) -> nn.Module:
    """Return a copy whose smallest weights are held at zero, in all layers but the last."""
    found = copy.deepcopy(model)
    layers = [part for part in found if isinstance(part, (nn.Conv2d, nn.Linear))]
    weights = [(layer, "weight") for layer in layers[:-1]]
    prune.global_unstructured(weights, prune.L1Unstructured, amount=1 - kept)
    return found


def main(folder: Path) -> None:
    torch.manual_seed(0)
    training, test = loaders()
    before = build()
    train(before, training, EPOCHS)
    after, control = pruned(before, KEPT), copy.deepcopy(before)
    train(after, training, MORE)
    train(control, training, MORE)  # the same further training, and nothing pruned

    folder.mkdir(parents=True, exist_ok=True)
    for name, model in {"before": before, "after": after, "control": control}.items():
        labels, scores = rd.predict(model, test)
        np.save(folder / f"{name}.npy", scores)
    np.save(folder / "labels.npy", labels)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
