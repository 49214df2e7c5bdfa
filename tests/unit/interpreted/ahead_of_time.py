"""Compile every kernel for GPUs that need not be there, and say what each takes.

python ahead_of_time.py CAPABILITY...     compute capability times ten: 80, 90, 100
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

import torch
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile

from recall_distortion.fast.gpu import batches, convolution, normalization
from recall_distortion.fast.gpu.units import FACT_TILES, OPTIONS, SUMMED_TILE, TILE, products

#: Bytes of shared memory that a program may have (CUDA's programming guide, compute capabilities).
MEMORY = {80: 163 * 1024, 90: 227 * 1024, 100: 227 * 1024}
#: Pointers to what is not in the images' precision.
SINGLE = {"parts_ptr", "facts_ptr", "gamma_ptr", "beta_ptr", "mean_ptr", "variance_ptr", "sums_ptr"}
SINGLE |= {"std_ptr"}
OTHERS = {"rows_ptr": "*u8", "order_ptr": "*i64", "place_ptr": "*i64", "flips_ptr": "*i1"}
OTHERS |= {"shifts_ptr": "*i64", "momentum": "fp32", "eps": "fp32"}


def kernels() -> Iterator[tuple[Any, dict[str, Any], str]]:
    """Yield each kernel with its constants and the type of images that it is compiled for."""
    for dtype, numbers in (("bf16", torch.bfloat16), ("fp32", torch.float32)):
        tiled = {"BM": TILE, **products(numbers)}
        summed = {"BM": SUMMED_TILE, "PRECISION": tiled["PRECISION"]}
        grows = {"CI": 32, "CO": 64, "STRIDE": 2}
        first = {"CI": 3, "PI": 16, "CO": 16, "STRIDE": 1}
        ends = {"CI": 64, "PI": 64, "CO": 64, "FROM": 32, "STRIDE": 1}
        yield convolution.forward, {**first, **tiled}, dtype
        yield convolution.evaluate, {**ends, **tiled}, dtype
        yield convolution.input_gradient, {**grows, "BLOCK": True, **tiled}, dtype
        yield convolution.weight_gradient, {**first, **summed}, dtype
        yield convolution.weight_gradient, {**grows, "PI": 32, **summed}, dtype
    yield normalization.facts, {"C": 64, "BM": TILE, "BT": FACT_TILES}, "bf16"
    yield normalization.forward, {"C": 64, "FROM": 32, "BM": TILE}, "bf16"
    yield normalization.gradient_sums, {"C": 64, "BM": SUMMED_TILE}, "bf16"
    yield normalization.gradient, {"C": 64, "BM": TILE}, "bf16"
    augmented = {"C": 3, "PC": 4, "FLIP": True, "CROP": True, "FLIP_FIRST": True}
    yield batches.gather, {**augmented, "BYTES": True, "BM": batches.TILE}, "bf16"


def build(kernel: Any, constants: dict[str, Any], dtype: str, capability: int) -> str:
    """Compile a kernel, with all its pointers at multiples of 16 bytes."""
    kinds = {name: f"*{dtype}" for name in kernel.arg_names if name.endswith("_ptr")}
    kinds = dict.fromkeys(kernel.arg_names, "i32") | kinds | dict.fromkeys(SINGLE, "*fp32")
    stages = {"num_stages": constants.pop("num_stages")} if "num_stages" in constants else {}
    kinds |= OTHERS | dict.fromkeys(constants, "constexpr")
    source = ASTSource(
        fn=kernel,
        signature={name: kinds[name] for name in kernel.arg_names},
        constexprs=constants,
        attrs={
            (place,): [["tt.divisibility", 16]]
            for place, name in enumerate(kernel.arg_names)
            if name.endswith("_ptr")
        },
    )
    start = time.monotonic()
    target = GPUTarget("cuda", capability, 32)
    built = compile(source, target=target, options=OPTIONS | stages)
    assert built.metadata.shared <= MEMORY[capability]
    return (
        f"{kernel.__module__.rpartition('.')[2]}.{kernel.__name__} {dtype}: "
        f"{time.monotonic() - start:.1f} s, {built.metadata.shared} bytes of shared memory, "
        f"{len(built.asm['cubin'])} bytes of code for {capability}"
    )


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        for one, values, kind in kernels():
            print(build(one, values, kind, int(argument)), flush=True)
