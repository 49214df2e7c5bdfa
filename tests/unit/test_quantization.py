"""The arithmetic of few bits, folding, calibration, sizes and files of quantized networks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
import whole_numbers
from core_helpers import compression_plan, method, recipe
from hypothesis import given
from hypothesis import strategies as st
from quantization_helpers import PANEL, Trained, quantizer, trained
from torch import Tensor, nn
from torch.func import functional_call

from recall_distortion.compression import blocks, facts, formats
from recall_distortion.compression.files import load_compressed
from recall_distortion.compression.quantization import arithmetic, plan
from recall_distortion.compression.quantization.blocks import Paths, quantize_block
from recall_distortion.compression.quantization.calibration import calibrate
from recall_distortion.compression.quantization.files import load_quantized
from recall_distortion.compression.quantization.folding import Layers
from recall_distortion.compression.quantization.layers import precision
from recall_distortion.compression.quantization.plan import QuantizationPlan
from recall_distortion.compression.quantization.stored import Size, carried, computing
from recall_distortion.networks import build, counts, prunable_parameters
from recall_distortion.system.errors import NetworkError, TableError
from recall_distortion.training.replicates import load_block

FLOATS = st.floats(-1e3, 1e3, width=32)


@pytest.fixture(scope="module")
def mlp(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return trained(tmp_path_factory.mktemp("mlp"), "mlp", test=60)


@pytest.fixture(scope="module")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return trained(tmp_path_factory.mktemp("resnet"), "resnet20", test=60)


def test_weights_worked_out_by_hand() -> None:
    weights = torch.tensor([[0.5, -1.0, 0.0, 0.26], [0.0, 0.0, 0.0, 0.0]])
    levels, scale = arithmetic.quantize_weights(weights, 3)  # levels -3 to 3
    assert scale.tolist() == pytest.approx([1 / 3, 1])
    assert levels.tolist() == [[2, -3, 0, 1], [0, 0, 0, 0]]  # 1.5 is rounded to even


def test_what_a_layer_gets_worked_out_by_hand() -> None:
    found = arithmetic.affine(torch.tensor(-1.0), torch.tensor(2.0), 2)  # levels -2 to 1
    assert (float(found.scale), float(found.zero)) == (1.0, -1.0)
    values = torch.tensor([-5.0, -1.0, 0.0, 0.6, 9.0])
    assert arithmetic.above_zero(values, found, 2).tolist() == [-1, -1, 0, 1, 2]
    nothing = arithmetic.affine(torch.zeros(()), torch.zeros(()), 8)
    assert arithmetic.above_zero(torch.zeros(3), nothing, 8).tolist() == [0, 0, 0]


@given(
    weights=st.lists(st.lists(FLOATS, min_size=3, max_size=3), min_size=1, max_size=4),
    bits=st.integers(2, 8),
)
def test_weights_are_within_half_a_step_and_zero_stays_zero(
    weights: list[list[float]], bits: int
) -> None:
    given_ones = torch.tensor(weights)
    levels, scale = arithmetic.quantize_weights(given_ones, bits)
    wanted, of = whole_numbers.weight_levels(given_ones.numpy(), bits)
    assert np.array_equal(levels, wanted)
    assert np.array_equal(scale, of)
    assert levels.abs().max() <= 2 ** (bits - 1) - 1
    assert (levels[given_ones == 0] == 0).all()
    error = (levels.double() * scale[:, None].double() - given_ones.double()).abs()
    assert (error <= 0.5001 * scale[:, None].double()).all()


@given(values=st.lists(FLOATS, min_size=2, max_size=20), bits=st.integers(2, 8))
def test_levels_of_a_range_hold_zero_and_every_number(values: list[float], bits: int) -> None:
    given_ones = torch.tensor(values)
    low, high = given_ones.min(), given_ones.max()
    found = arithmetic.affine(low, high, bits)
    scale, zero = whole_numbers.levels_of(low.numpy(), high.numpy(), bits)
    assert (float(found.scale), float(found.zero)) == (float(scale), float(zero))
    levels = arithmetic.above_zero(given_ones, found, bits)
    assert torch.equal(levels, levels.round())
    assert levels.abs().max() <= 2**bits - 1
    assert float(arithmetic.above_zero(torch.zeros(1), found, bits)) == 0
    error = (levels.double() * found.scale.double() - given_ones.double()).abs()
    assert error.max() <= 1.001 * float(found.scale)  # where zero was rounded, an end is a step off


def test_sums_are_exact_in_the_precision_of_their_layer() -> None:
    assert precision(518, 8, 8) == torch.float32
    assert precision(519, 8, 8) == torch.float64
    worst = torch.full((1, 518), 127.0) @ torch.full((518, 1), 255.0)
    assert float(worst) == 518 * 127 * 255
    assert precision(9000, 4, 8) == torch.float32
    assert precision(10_000, 4, 8) == torch.float64


def test_half_precision_saturates_and_rounds_to_even() -> None:
    values = torch.tensor([1e6, -1e6, 1 + 2**-11, 1 + 3 * 2**-11])
    assert arithmetic.rounded(values, "float16").tolist() == [65504, -65504, 1, 1 + 2**-9]
    assert arithmetic.rounded(values[2:], "bfloat16").tolist() == [1, 1]


@pytest.mark.slow
def test_batch_norm_is_folded_into_the_layer_that_it_follows(resnet: Trained) -> None:
    images, network = resnet.images().batch(slice(None)), resnet.network()
    state = load_block(resnet.dense).state(8)
    network.load_state_dict(state)
    layers = Layers.of(network, images[:1])
    assert layers.norms["stage2.0.conv1"] == "stage2.0.bn1"
    assert layers.norms["classifier"] == ""
    assert len(layers.norms) == 20
    folded = layers.without_norms(network).eval()
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    network.eval()
    with torch.no_grad():
        found = functional_call(folded, layers.folded(network, state), (images,))
        torch.testing.assert_close(found, network(images), rtol=1e-4, atol=1e-4)
    assert any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


class _Odd(nn.Module):
    def __init__(self, *, twice: bool) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1)
        self.twice = twice

    def forward(self, images: Tensor) -> Tensor:
        return self.conv(self.conv(images)) if self.twice else self.norm(images)


@pytest.mark.parametrize(("twice", "what"), [(True, "conv twice"), (False, "norm of _Odd")])
def test_what_cannot_be_folded_is_refused(twice: bool, what: str) -> None:
    with pytest.raises(NetworkError, match=what):
        Layers.of(_Odd(twice=twice), torch.zeros(1, 1, 2, 2))


@pytest.mark.parametrize("padding", [{"padding": "same"}, {"padding_mode": "circular"}])
def test_a_padding_that_cannot_be_computed_is_refused(padding: dict[str, str]) -> None:
    network = nn.Sequential(nn.Conv2d(1, 1, 3, **padding))
    layers = Layers.of(network, torch.zeros(1, 1, 4, 4))
    with pytest.raises(NetworkError, match="padding"):
        computing(network, layers, quantizer())


def test_strides_dilation_and_groups_are_those_of_torch() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2), groups=2)
    network = nn.Sequential(layer)
    images = torch.randn(5, 4, 9, 8)
    layers = Layers.of(network, images[:1])
    module = computing(network, layers, quantizer(activations="dynamic"))
    whole = module[0]
    whole.weight.copy_(torch.randint(-127, 128, whole.weight.shape))
    levels = torch.randint(-255, 256, images.shape).float()
    found = whole._products(levels, torch.ones(5, 1, 1, 1))
    wanted = nn.functional.conv2d(
        levels.double(), whole.weight.double(), None, layer.stride, layer.padding,
        layer.dilation, layer.groups,
    )  # fmt: skip
    assert torch.equal(found.double(), wanted)


def test_an_image_s_prediction_does_not_depend_on_its_neighbours(mlp: Trained) -> None:
    network, images = mlp.network(), mlp.images().batch(slice(None))
    way = quantizer(activations="dynamic")
    (found,) = load_quantized(mlp.quantize(m=way))
    module = computing(network, Layers.of(network, images[:1]), way)
    module.load_state_dict(carried(found.networks.state(3), module))
    together, loud = module(images), images.clone()
    loud[1:] *= 100
    assert torch.equal(module(loud)[0], together[0])
    assert torch.equal(torch.cat([module(image[None]) for image in images]), together)
    with pytest.raises(RuntimeError, match="does not require grad"):
        together.sum().backward()


def test_ranges_are_percentiles_of_all_that_a_layer_gets(mlp: Trained) -> None:
    network, images = mlp.network(), mlp.images()
    state = load_block(mlp.dense).state(3)
    layers = Layers.of(network, images.batch(slice(0, 1)))
    folded = layers.folded(network, state)
    seen = {}
    network.load_state_dict(state)
    network.fc2.register_forward_pre_hook(lambda module, given: seen.update(fc2=given[0]))
    with torch.no_grad():
        network(images.batch(slice(None)))  # all 60, in any order
    values = seen["fc2"].flatten()
    for way, share in ((quantizer(), 1.0), (quantizer(range="percentile", percentile=95.0), 0.95)):
        found = calibrate(network, layers, folded, images, way, seed=1)["fc2"]
        low, high = (
            torch.tensor(np.quantile(values, part, method=rank))
            for part, rank in ((1 - share, "higher"), (share, "inverted_cdf"))
        )
        wanted = arithmetic.affine(low, high, 8)
        assert float(found.scale) == pytest.approx(float(wanted.scale), rel=1e-5)
    few = [
        calibrate(network, layers, folded, images, quantizer(calibration_images=9), seed=seed)
        for seed in (1, 1, 2)
    ]
    assert few[0] == few[1] != few[2]


def test_sizes_are_counted_as_the_networks_are_stored(mlp: Trained) -> None:
    network = mlp.network()
    weights, channels, total = 64 * 32 + 32 * 32 + 32 * 10, 32 + 32 + 10, counts(network).total
    assert total == weights + channels
    wanted = {
        "float16": 16 * total,
        "int8_static": 8 * weights + 2 * 32 * channels + 3 * (32 + 8),
        "int8_dynamic": 8 * weights + 2 * 32 * channels,
        "int3_weights": 3 * weights + 2 * 32 * channels,
    }
    ways = {
        name: quantizer(facts.QUANTIZERS[name].weights, facts.QUANTIZERS[name].activations)
        for name in wanted
    }
    path = mlp.quantize(**ways)
    table = pd.read_csv(path.with_suffix(".csv")).set_index(["method", "seed"])
    for found in load_quantized(path):
        stored = found.networks.state(3)
        row = table.loc[found.cell.method, 3]
        assert row["bytes"] == -(-wanted[found.cell.method] // 8)
        assert row["realised_ratio"] == pytest.approx(4 * total / row["bytes"])
        assert row["bits"] == found.quantizer.bits
        zeros = sum(int((v == 0).sum()) for n, v in stored.items() if n.endswith("weight"))
        assert row["zeros"] == zeros
        assert (row["kept_fraction"], row["origin"], row["origin_ratio"]) == (1, "dense", 1)
        masks = {"fc2.weight": torch.ones(32, 32, dtype=torch.bool)}
        masks["fc2.weight"][:, :16] = False
        pruned = Size.of(stored, masks, network, found.quantizer)
        saved = 512 * found.quantizer.bits - 32 * 32  # one bit a weight says which are kept
        assert pruned.bytes == -(-(wanted[found.cell.method] - saved) // 8)
        assert pruned.kept_prunable == pruned.prunable - 512


def test_pruned_networks_stay_as_sparse_and_the_control_has_no_masks(mlp: Trained) -> None:
    methods = {"control": None, "magnitude": method("magnitude")}
    pruned = mlp.folder / "pruned.safetensors"
    made = [mlp.folder / f"pruned.{kind}.csv" for kind in ("sparsity", "history")]
    blocks.compress_block(
        blocks.Paths(mlp.data, mlp.dense, pruned, *made),
        compression_plan(methods, recipe((1, 0.02))),
        panel=PANEL,
        ratios={"control": ["1"], "magnitude": ["2", "10"]},
    )
    path = mlp.folder / "of_pruned.safetensors"
    ways = {"a": quantizer(of="magnitude"), "b": quantizer("int4", "float", of="control")}
    quantize_block(
        Paths(mlp.data, mlp.dense, [pruned], path, path.with_suffix(".csv")),
        QuantizationPlan(ways, "holdout"),
        panel=PANEL,
        cells={"a": {"8": "2", "40": "10"}, "b": {"8": "1"}},
    )
    origins = {str(part.cell): part for part in load_compressed(pruned)}
    for found in load_quantized(path):
        of = {"a at 8": "magnitude at 2", "a at 40": "magnitude at 10", "b at 8": "control at 1"}
        origin = origins[of[str(found.cell)]]
        assert found.networks.seeds == origin.seeds
        for name, mask in origin.masks.items():
            levels = found.networks.tensors[name]
            assert (levels[~mask] == 0).all()
            assert (levels[mask] != 0).double().mean() > 0.9
    table = pd.read_csv(path.with_suffix(".csv"))
    assert table["origin_ratio"].tolist() == [2, 2, 10, 10, 1, 1]
    prunable = sum(weight.numel() for weight in prunable_parameters(mlp.network()).values())
    assert table["kept_prunable"].tolist()[:2] == [round(prunable / 2)] * 2
    assert (table["zeros"][:4] >= prunable - table["kept_prunable"][:4]).all()
    with pytest.raises(TableError, match="magnitude at 4, of which no file"):
        quantize_block(
            Paths(mlp.data, mlp.dense, [pruned], path, path.with_suffix(".csv")),
            QuantizationPlan(ways, "holdout"),
            panel=PANEL,
            cells={"a": {"16": "4"}},
        )


def test_a_file_of_anything_else_is_refused(mlp: Trained) -> None:
    with pytest.raises(TableError, match="not a file of quantized replicates"):
        load_quantized(mlp.dense)


def test_facts_are_those_of_the_code() -> None:
    assert set(facts.ACTIVATIONS) == {plan.FLOAT, plan.STATIC, plan.DYNAMIC}
    assert set(facts.RANGES) == {plan.MIN_MAX, plan.PERCENTILE}
    for name, bits in formats.BITS.items():
        way = replace(quantizer(), weights=name)
        assert way.bits == bits
        assert way.integer_weights == name.startswith("int")
        assert facts.weights_meaning(name)
        if way.integer_weights:
            assert f"/ {arithmetic.largest_weight(bits)}" in facts.weights_formula(name)
    assert formats.ratio("float16") == 2
    assert formats.ratio("int4") == 8
    assert formats.ratio("int6") == 5.33
    assert formats.ratio("int8", 10) == 40


def test_networks_of_few_bits_are_the_plain_ones_with_other_weights(mlp: Trained) -> None:
    network = build("mlp", channels=1, classes=10)
    layers = Layers.of(network, mlp.images().batch(slice(0, 1)))
    assert computing(network, layers, quantizer("bfloat16", "float")) is network
    state = load_block(mlp.dense).state(3)
    for weights, most in (("bfloat16", 2**-8), ("float16", 2**-11), ("int8", 1 / 127)):
        path = mlp.quantize(m=quantizer(weights, "float"))
        (found,) = load_quantized(path)
        for name, value in carried(found.networks.state(3), network).items():
            error = (value - state[name]).abs().amax()
            assert error <= most * state[name].abs().amax()
