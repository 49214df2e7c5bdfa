"""Images that live on the device as tensors and are batched by indexing, never by a loader."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recall_distortion.data.prepared import PreparedData
from recall_distortion.training.augmentation import AUGMENTATIONS


class DeviceImages:
    """Images [N, C, H, W] and labels [N] on a device, normalized per channel when batched.

    Without augmentation they are normalized once; with it they stay bytes, so that a crop is
    filled with black as in the published recipe and a batch is normalized after it.
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        mean: np.ndarray,
        std: np.ndarray,
        *,
        device: str | torch.device = "cpu",
        augmentation: Sequence[str] = (),
    ) -> None:
        self.labels = torch.from_numpy(np.ascontiguousarray(labels)).to(device)
        self._mean = torch.from_numpy(255 * mean)[:, None, None].to(device)
        self._std = torch.from_numpy(255 * std)[:, None, None].to(device)
        self.augmentation = tuple(augmentation)
        self._augmentation = tuple(AUGMENTATIONS[name] for name in augmentation)
        stored = torch.from_numpy(np.ascontiguousarray(images)).to(device)
        if not augmentation:
            stored = self._normalize(stored)
        # A row an image, the channels innermost: a batch is then a selection of whole rows.
        self._rows = stored.permute(0, 2, 3, 1).reshape(len(stored), -1)
        self._shape = stored.shape[1:]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape [C, H, W] of an image."""
        return tuple(self._shape)

    def stored(self) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
        """Return the images as they are kept, [N, H, W, C], and what is still to be done to them.

        That is the channels' means and standard deviations where they are bytes, which are
        normalized when batched, and nothing where they are normalized.
        """
        channels, height, width = self._shape
        rows = self._rows.view(-1, height, width, channels)
        return rows, (self._mean.flatten(), self._std.flatten()) if self._augmentation else None

    def _normalize(self, images: Tensor) -> Tensor:
        # In place behind the conversion: a large set is not held three times.
        floats = images.to(torch.float32, memory_format=torch.channels_last)
        return floats.sub_(self._mean).div_(self._std)

    def draw(self, generators: Sequence[torch.Generator]) -> list[Tensor]:
        """Return one epoch's random choices [K, N, ...] of each augmentation, one row a generator.

        The n-th choice is the n-th image's of the epoch's order. There are none where nothing is
        augmented.
        """
        return [
            torch.stack([augmentation.draw(len(self), generator) for generator in generators]).to(
                self.labels.device
            )
            for augmentation in self._augmentation
        ]

    def batch(self, index: Tensor | slice, choices: Sequence[Tensor] | None = None) -> Tensor:
        """Return normalized images [B, C, H, W]: a slice of them, or those at index [B].

        They are augmented where choices [B, ...] are given, one tensor an augmentation.
        """
        rows = self._rows[index] if isinstance(index, slice) else self._rows.index_select(0, index)
        channels, height, width = self._shape
        # One channel is first and last; said to be first, it suits more of the layers.
        images = (
            rows.view(-1, 1, height, width)
            if channels == 1
            else rows.view(-1, height, width, channels).permute(0, 3, 1, 2)
        )
        if not self._augmentation:
            return images
        if choices is not None:
            for augmentation, choice in zip(self._augmentation, choices, strict=True):
                images = augmentation.apply(images, choice)
        return self._normalize(images)


@dataclass(frozen=True)
class TrainingImages:
    """The images that weights are fitted to, and those that choose the best epoch."""

    fit: DeviceImages
    validation: DeviceImages

    @classmethod
    def of(
        cls,
        data: PreparedData,
        *,
        selection: str,
        device: str | torch.device,
        augmentation: Sequence[str] = (),
    ) -> TrainingImages:
        """Return a prepared data set's images on a device.

        ``selection="holdout"`` fits to the training set without its hold-out and chooses on the
        hold-out; ``"test"`` fits to all of it and chooses on the test set, as was published.
        """
        if selection == "holdout":
            fit = data.train_images[data.fit_index], data.train_labels[data.fit_index]
            validation = (
                data.train_images[data.holdout_index],
                data.train_labels[data.holdout_index],
            )
        else:
            fit = data.train_images, data.train_labels
            validation = data.test_images, data.test_labels
        return cls(
            DeviceImages(*fit, data.mean, data.std, device=device, augmentation=augmentation),
            DeviceImages(*validation, data.mean, data.std, device=device),
        )
