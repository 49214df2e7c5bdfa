"""A torch model as int8 by ONNX Runtime: exported, calibrated, quantized (QDQ), and run.

Needs onnx, onnxscript and onnxruntime, which are no part of the project.
python docs/recipes/onnx_int8.py FOLDER: writes the predictions, and says which kernels made them.
"""

import platform
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quant_pre_process,
    quantize_static,
)
from torch import nn
from torch.utils.data import DataLoader
from torch_pruned import EPOCHS, build, loaders, train

#: What makes an x86 processor's int8 products exact.
EXACT = ("avx512_vnni", "avx_vnni", "amx_int8")


def processor() -> tuple[str, list[str]]:
    """Return the processor's name and which of the abilities that matter for int8 it has."""
    path = Path("/proc/cpuinfo")
    text = path.read_text() if path.exists() else ""
    name = re.search(r"model name\s*:\s*(.+)", text)
    flags = set(text.split())
    return (
        name[1] if name else platform.processor() or platform.machine(),
        [flag for flag in ("avx2", "avx512f", *EXACT) if flag in flags],
    )


class Calibration(CalibrationDataReader):
    """Training images, by which the ranges of activations are set. Never the test set."""

    def __init__(self, batches: Sequence[np.ndarray]) -> None:
        self.left = iter(batches)

    def get_next(self) -> dict[str, np.ndarray] | None:
        batch = next(self.left, None)
        return None if batch is None else {"images": batch}


def export(model: nn.Module, example: torch.Tensor, path: Path) -> None:
    """Write a model as an ONNX file for any number of images."""
    torch.onnx.export(
        model.eval(),
        (example,),
        path,
        input_names=["images"],
        output_names=["scores"],
        dynamic_shapes=({0: "count"},),
        dynamo=True,
        verbose=False,
    )


def quantize(path: Path, batches: Sequence[np.ndarray]) -> tuple[Path, bool]:
    """Write an int8 model beside an ONNX file; return its path and whether 7 bits were used.

    Without VNNI two products of 8-bit weights and 8-bit activations are added in 16 bits, which
    saturate: the same file answers differently on different processors. Weights of 7 bits cannot.
    """
    plain, found = path.with_suffix(".plain.onnx"), path.with_suffix(".int8.onnx")
    quant_pre_process(path, plain)
    narrow = platform.machine() in ("x86_64", "AMD64") and not set(processor()[1]) & set(EXACT)
    quantize_static(
        plain,
        found,
        Calibration(batches),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        reduce_range=narrow,
    )
    return found, narrow


def scores(path: Path, loader: DataLoader) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels of a loader's images and an ONNX model's scores of them."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    pairs = [(y.numpy(), session.run(None, {"images": x.numpy()})[0]) for x, y in loader]
    labels, found = zip(*pairs, strict=True)
    return np.concatenate(labels), np.concatenate(found)


def main(folder: Path) -> None:
    torch.manual_seed(0)
    training, test = loaders()
    model = build()
    train(model, training, EPOCHS)

    folder.mkdir(parents=True, exist_ok=True)
    batches = [images.numpy() for images, _ in training]
    export(model, torch.from_numpy(batches[0]), folder / "float32.onnx")
    quantized, narrow = quantize(folder / "float32.onnx", batches)
    for name, path in {"before": folder / "float32.onnx", "int8": quantized}.items():
        labels, found = scores(path, test)
        np.save(folder / f"{name}.npy", found)
    np.save(folder / "labels.npy", labels)
    name, abilities = processor()
    print(f"{name}: {' '.join(abilities)}; weights of {7 if narrow else 8} bits")
    print(f"ONNX Runtime {onnxruntime.__version__}, QDQ, calibrated with {len(batches)} batches")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
