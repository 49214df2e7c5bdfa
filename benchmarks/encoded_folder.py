"""Write images that lie encoded in one ``.npz`` as files, as the source ``folder`` reads them.

``python benchmarks/encoded_folder.py ENCODED.npz FOLDER --train 30000``: the archive has for the
parts ``train`` and ``test`` the files' bytes one after another (``train_bytes``), where each begins
and the last ends (``train_offsets``), labels and ``label_names``. Nothing is decoded, so a set
stays as small as it is; the first images of the training part are taken.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np


def write(archive: Path, folder: Path, train: int | None) -> dict[str, int]:
    """Write FOLDER/part/class/number.jpg and return how many images each part has."""
    counts = {}
    with np.load(archive, allow_pickle=False) as encoded:
        names = [str(name) for name in encoded["label_names"]]
        for part in ("train", "test"):
            stream, offsets = encoded[f"{part}_bytes"], encoded[f"{part}_offsets"]
            labels = encoded[f"{part}_labels"][: train if part == "train" else None]
            for name in names:
                (folder / part / name).mkdir(parents=True)
            for place, label in enumerate(labels):
                image = stream[offsets[place] : offsets[place + 1]]
                (folder / part / names[label] / f"{place:05d}.jpg").write_bytes(image.tobytes())
            counts[part] = len(labels)
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archive", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--train", type=int, help="how many training images; all by default")
    asked = parser.parse_args()
    if asked.folder.exists():
        parser.error(f"{asked.folder} exists; name a new folder")
    counts = write(asked.archive, asked.folder, asked.train)
    print(f"{asked.folder}: {counts['train']} training images, {counts['test']} test images")


if __name__ == "__main__":
    main()
