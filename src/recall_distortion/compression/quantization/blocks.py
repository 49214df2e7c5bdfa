"""A block of replicates, dense or compressed, quantized by a bundle of methods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch
from torch import Tensor, nn

from recall_distortion.compression.files import load_compressed
from recall_distortion.compression.methods import Cell
from recall_distortion.compression.quantization.calibration import calibrate
from recall_distortion.compression.quantization.files import save_quantized
from recall_distortion.compression.quantization.folding import Layers
from recall_distortion.compression.quantization.plan import STATIC, QuantizationPlan, Quantizer
from recall_distortion.compression.quantization.stored import Size, quantized
from recall_distortion.data.prepared import load
from recall_distortion.system.errors import TableError
from recall_distortion.training import DeviceImages, TrainingImages
from recall_distortion.training.replicates import Block, load_block, software, write_rows
from recall_distortion.vocabulary import CELL, DENSE, UNCOMPRESSED_TEXT, Panel

SIZE_COLUMNS = (*CELL, "seed", *(field.name for field in fields(Size)))

#: What made networks that nothing was trained for.
ENGINE = "quantized, one after another"


@dataclass(frozen=True)
class Paths:
    """What ``quantize_block`` reads, data, networks, and the files that it writes.

    ``origins`` are the files of compressed networks that are quantized beside the dense ones.
    """

    data: str | Path
    dense: str | Path
    origins: Sequence[str | Path]
    weights: str | Path
    sparsity: str | Path


@dataclass(frozen=True)
class _Origin:
    """Replicates that are quantized, and the masks that they were pruned by."""

    networks: Block
    mask_seeds: Sequence[int] = ()
    masks: Mapping[str, Tensor] | None = None

    def masks_of(self, seed: int) -> dict[str, Tensor]:
        """Return the masks of a replicate by parameter; none where nothing was pruned."""
        if not self.masks:
            return {}
        index = list(self.mask_seeds).index(seed)
        return {name: value[index] for name, value in self.masks.items()}


def quantize_block(
    paths: Paths,
    plan: QuantizationPlan,
    *,
    panel: Panel,
    cells: Mapping[str, Mapping[str, str]],
    device: str = "cpu",
) -> None:
    """Quantize a block's networks by each method in its cells and write them, and their sizes.

    ``cells`` maps a method to its ratios, and each of these to that of the networks that it
    quantizes, ``1`` of dense ones. Compressed networks are taken after their retraining; a
    replicate that is not there is left out. Raises ``TableError`` for networks that no file has.
    """
    prepared = load(paths.data)
    dense = load_block(paths.dense)
    images = TrainingImages.of(prepared, selection=plan.selection, device=device).fit
    network = dense.module(prepared.test_images.shape[2:]).to(device)
    layers = Layers.of(network, images.batch(slice(0, 1)))
    origins = _origins(dense, paths.origins)
    made: dict[Cell, dict[int, dict[str, Tensor]]] = {}
    sizes = []
    for cell, of in _cells(cells, plan.methods):
        quantizer = plan.methods[cell.method]
        if of not in origins:
            raise TableError(f"{cell} quantizes {of}, of which no file of this job has networks")
        made[cell] = {}
        for seed in origins[of].networks.seeds:
            state = origins[of].networks.state(seed)
            stored = _quantize(network, layers, state, images, quantizer, seed)
            size = Size.of(stored, origins[of].masks_of(seed), network, quantizer, of.ratio)
            made[cell][seed] = stored
            sizes.append({**panel._asdict(), **asdict(cell), "seed": seed, **asdict(size)})
    write_rows(paths.sparsity, SIZE_COLUMNS, sizes)
    metadata = {
        "architecture": dense.architecture,
        "methods": {name: asdict(quantizer) for name, quantizer in plan.methods.items()},
        "facts": {"device": str(device), "engine": ENGINE, **software()},
    }
    save_quantized(paths.weights, made, metadata)


def _cells(
    cells: Mapping[str, Mapping[str, str]], methods: Mapping[str, Quantizer]
) -> Iterator[tuple[Cell, Cell]]:
    """Yield each cell and the one that it quantizes."""
    for name, ratios in cells.items():
        for ratio, origin in ratios.items():
            yield Cell(name, ratio), Cell(methods[name].of, origin)


def _origins(dense: Block, paths: Sequence[str | Path]) -> dict[Cell, _Origin]:
    found = {Cell(DENSE, UNCOMPRESSED_TEXT): _Origin(dense)}
    for path in paths:
        for part in load_compressed(path):
            block = Block(dense.architecture, 0, 0, part.seeds, part.retrained)
            found[part.cell] = _Origin(block, part.mask_seeds, part.masks)
    return found


@torch.no_grad()
def _quantize(
    network: nn.Module,
    layers: Layers,
    state: Mapping[str, Tensor],
    images: DeviceImages,
    quantizer: Quantizer,
    seed: int,
) -> dict[str, Tensor]:
    """Return the stored tensors of one replicate."""
    device = images.labels.device
    folded = layers.folded(network, {name: value.to(device) for name, value in state.items()})
    inputs = None
    if quantizer.activations == STATIC:
        plain = layers.without_norms(network)
        inputs = calibrate(plain, layers, folded, images, quantizer, seed=seed)
    return quantized(folded, layers, quantizer, inputs)
