"""Small pictures of test images for the page, as many as it may hold."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from recall_distortion.data.prepared import load
from recall_distortion.system.files import write_json
from recall_distortion.tables.gallery import chosen

LARGEST_SIDE = 64  # pixels
LARGEST = 1_500_000  # characters of all pictures of a study together
# Above this side a photograph is smaller as JPEG than as PNG.
_LARGE = 40


def write_thumbnails(
    images_csv: str | Path,
    datasets: Mapping[str, str | Path],
    output: str | Path,
    *,
    shown: Mapping[str, bool],
) -> None:
    """Write pictures of the images that the page shows as JSON.

    ``datasets`` are prepared data by name, ``shown`` says of which the page may hold images. The
    file has ``pictures``, data URIs by data set and image, ``left_out``, how many images would have
    made the page too large, and ``withheld``, the data sets that may not be shown.
    """
    wanted = chosen(pd.read_csv(images_csv))
    pictures: dict[str, dict[str, str]] = {}
    size = left_out = 0
    for name, path in datasets.items():
        numbers = wanted.loc[wanted["dataset"] == name, "image"].drop_duplicates()
        if not shown[name] or numbers.empty:
            continue
        of_set = load(path).test_images
        own = pictures.setdefault(name, {})
        for number in numbers:
            text = picture(of_set[int(number)])
            if size + len(text) > LARGEST:
                left_out += 1
                continue
            size += len(text)
            own[str(int(number))] = text
    withheld = [name for name in datasets if not shown[name]]
    found: dict[str, Any] = {"pictures": pictures, "left_out": left_out, "withheld": withheld}
    write_json(output, found)


def picture(image: np.ndarray) -> str:
    """Return an image [C, H, W] of one or three channels as a data URI, made small if it is large.

    Of any other number of channels the mean is shown.
    """
    if image.shape[0] not in (1, 3):
        image = image.mean(axis=0, keepdims=True).round().astype(np.uint8)
    pixels = image[0] if image.shape[0] == 1 else np.ascontiguousarray(image.transpose(1, 2, 0))
    found = Image.fromarray(pixels)
    found.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
    kind = "JPEG" if image.shape[0] == 3 and max(found.size) > _LARGE else "PNG"
    stream = io.BytesIO()
    found.save(stream, kind, **({"quality": 80} if kind == "JPEG" else {"optimize": True}))
    text = base64.b64encode(stream.getvalue()).decode("ascii")
    return f"data:image/{kind.lower()};base64,{text}"
