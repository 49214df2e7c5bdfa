"""The dense LeNet-5 of fashion_mnist.py as int8 by ONNX Runtime, calibrated with training images.

python docs/recipes/fashion_mnist_int8.py FOLDER DATA: FOLDER is what fashion_mnist.py wrote.
"""

import sys
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from fashion_mnist import arrays, batches
from onnx_int8 import export, processor, quantize, scores

import recall_distortion as rd

CALIBRATION = 1000  # training images


def main(folder: Path, data: Path) -> None:
    model = rd.networks.build("lenet5", channels=1, classes=10)
    model.load_state_dict(torch.load(folder / "dense.pt", weights_only=True))
    images, labels, _ = arrays(data, train=True)
    examples = [pixels for pixels, _ in batches(images[:CALIBRATION], labels[:CALIBRATION], 100)]
    export(model, examples[0], folder / "dense.onnx")
    quantized, narrow = quantize(folder / "dense.onnx", [pixels.numpy() for pixels in examples])
    images, labels, _ = arrays(data, train=False)
    _, found = scores(quantized, batches(images, labels, 1000))
    np.save(folder / "int8.npy", found)
    name, abilities = processor()
    print(f"{name}: {' '.join(abilities)}; weights of {7 if narrow else 8} bits")
    print(f"ONNX Runtime {onnxruntime.__version__}, QDQ, calibrated with {CALIBRATION} images")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
