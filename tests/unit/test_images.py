"""Images on a device: which are fitted to, how they are normalized and augmented."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from core_helpers import prepared
from training_helpers import images_of, normalized, prepared_colored

from recall_distortion.training import (
    DeviceImages,
    augmentation,
)
from recall_distortion.training.randomness import generator


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return prepared(tmp_path_factory.mktemp("data") / "small.safetensors")


@pytest.fixture(scope="module")
def colored(tmp_path_factory):
    return prepared_colored(tmp_path_factory.mktemp("data") / "colored.safetensors")


def test_selection_chooses_which_images_are_fitted_and_which_validate(data):
    everything = slice(None)
    held = images_of(data)
    for part, index in ((held.fit, data.fit_index), (held.validation, data.holdout_index)):
        expected = normalized(data, data.train_images[index])
        torch.testing.assert_close(part.batch(everything), expected, rtol=1e-4, atol=1e-5)
        assert part.labels.tolist() == data.train_labels[index].tolist()
        assert len(part) == len(index)
    on_test = images_of(data, selection="test")
    for part, images, labels in (
        (on_test.fit, data.train_images, data.train_labels),
        (on_test.validation, data.test_images, data.test_labels),
    ):
        torch.testing.assert_close(
            part.batch(everything), normalized(data, images), rtol=1e-4, atol=1e-5
        )
        assert part.labels.tolist() == labels.tolist()


def test_making_device_images_does_not_change_the_data(data):
    before = data.test_images.copy()
    images_of(data, selection="test")
    np.testing.assert_array_equal(data.test_images, before)


def shifted(image: np.ndarray, down: int, right: int) -> np.ndarray:
    """Return an image [C, H, W] moved by whole pixels, black filling in."""
    _, height, width = image.shape
    moved = np.zeros_like(image)
    for y in range(height):
        for x in range(width):
            if 0 <= y - down < height and 0 <= x - right < width:
                moved[:, y, x] = image[:, y - down, x - right]
    return moved


@pytest.fixture(scope="module")
def pixels():
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.integers(1, 256, (1, 3, 7, 10), dtype=np.uint8))


def test_a_crop_is_a_shift_by_up_to_four_pixels_filled_with_black(pixels):
    count = 1500
    shifts = augmentation.draw_shifts(count, generator(0, "augmentation"))
    found = augmentation.crop(pixels.expand(count, -1, -1, -1), shifts)
    assert found.dtype == torch.uint8
    assert found.shape == (count, 3, 7, 10)
    possible = {
        shifted(pixels[0].numpy(), down, right).tobytes(): (down, right)
        for down in range(-4, 5)
        for right in range(-4, 5)
    }
    assert len(possible) == 81
    shifts = [possible[image.contiguous().numpy().tobytes()] for image in found]
    times = np.array([shifts.count(shift) for shift in possible.values()])
    # All 81 shifts are equally likely: chi-squared with 80 degrees of freedom, 0.001 is 124.8.
    assert ((times - count / 81) ** 2 / (count / 81)).sum() < 124.8


def test_a_crop_moves_each_image_of_a_batch_by_itself():
    rng = np.random.default_rng(1)
    images = torch.from_numpy(rng.integers(1, 256, (20, 2, 6, 5), dtype=np.uint8))
    found = augmentation.crop(images, augmentation.draw_shifts(20, generator(1, "x")))
    for image, original in zip(found, images, strict=True):
        assert any(
            np.array_equal(image.numpy(), shifted(original.numpy(), down, right))
            for down in range(-4, 5)
            for right in range(-4, 5)
        )


def test_a_flip_mirrors_half_of_the_images():
    rng = np.random.default_rng(2)
    images = torch.from_numpy(rng.integers(0, 256, (2000, 2, 3, 4), dtype=np.uint8))
    choices = augmentation.draw_flips(len(images), generator(0, "augmentation"))
    found = augmentation.flip(images, choices).numpy()
    mirrored = images.numpy()[:, :, :, ::-1]
    is_mirrored = (found == mirrored).all((1, 2, 3))
    is_same = (found == images.numpy()).all((1, 2, 3))
    assert (is_mirrored ^ is_same).all()
    assert abs(is_mirrored.mean() - 0.5) < 4 * 0.5 / 2000**0.5


def test_augmentation_follows_the_generator():
    for augment in augmentation.AUGMENTATIONS.values():
        first = augment.draw(30, generator(1, "augmentation"))
        assert torch.equal(first, augment.draw(30, generator(1, "augmentation")))
        assert not torch.equal(first, augment.draw(30, generator(2, "augmentation")))


def test_images_are_augmented_before_they_are_normalized_and_only_with_a_generator(colored):
    plain = DeviceImages(colored.train_images, colored.train_labels, colored.mean, colored.std)
    augmented = DeviceImages(
        colored.train_images,
        colored.train_labels,
        colored.mean,
        colored.std,
        augmentation=["flip", "crop"],
    )
    index = torch.arange(20)
    assert torch.equal(augmented.batch(index), plain.batch(index))
    assert torch.equal(augmented.batch(slice(3, 9)), plain.batch(slice(3, 9)))
    flips, shifts = augmented.draw([generator(0, "augmentation")])
    assert flips.shape == (1, len(augmented))
    found = augmented.batch(index, [flips[0, :20], shifts[0, :20]])
    raw = augmentation.flip(torch.from_numpy(colored.train_images[:20]), flips[0, :20])
    raw = augmentation.crop(raw, shifts[0, :20])
    torch.testing.assert_close(found, normalized(colored, raw.numpy()), rtol=1e-4, atol=1e-5)
    black = normalized(colored, np.zeros((1, 3, 1, 1)))[0]
    assert torch.isclose(found, black, atol=1e-4).all(1).any()
    # The stored bytes are untouched, and without augmentation there is nothing to draw.
    assert torch.equal(augmented.batch(index), plain.batch(index))
    assert plain.draw([generator(0, "augmentation")]) == []


def test_the_validation_images_are_never_augmented(colored):
    images = images_of(colored, augmentation=["crop"])
    assert images.validation.draw([generator(0, "augmentation")]) == []
    found = images.validation.batch(slice(None))
    expected = normalized(colored, colored.train_images[colored.holdout_index])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
