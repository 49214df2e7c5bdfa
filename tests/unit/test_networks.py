"""Networks: the published parameter counts, shapes, initial weights and shortcuts."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call, stack_module_state, vmap

from recall_distortion import networks
from recall_distortion.compression.ratios import fraction_to_keep
from recall_distortion.networks import plans
from recall_distortion.networks.resnet import Block
from recall_distortion.system.errors import NetworkError

# name, classes: total, prunable weights, fraction kept at ratio 2, 4, 10, 20, 50, for 3 channels
# (ShrinkBench's accounting, derived from the published architectures).
PUBLISHED = {
    ("resnet20", 10): (269_722, 267_696, (0.49622, 0.24432, 0.09319, 0.04281, 0.01258)),
    ("resnet32", 10): (464_154, 461_232, (0.49683, 0.24525, 0.09430, 0.04398, 0.01379)),
    ("resnet44", 10): (658_586, 654_768, (0.49708, 0.24563, 0.09475, 0.04446, 0.01429)),
    ("resnet56", 10): (853_018, 848_304, (0.49722, 0.24583, 0.09500, 0.04472, 0.01455)),
    ("resnet110", 10): (1_727_962, 1_719_216, (0.49746, 0.24618, 0.09542, 0.04517, 0.01501)),
    ("resnet56", 100): (858_868, 848_304, (0.49377, 0.24066, 0.08879, 0.03817, 0.00780)),
}

THIN = ("thin_mlp_3x5", "thin_cnn_2x3")


def test_names_are_those_of_the_catalogue():
    assert all(callable(networks.constructor(name)) for name in plans.ARCHITECTURES)


@pytest.mark.parametrize(("name", "classes"), PUBLISHED)
def test_published_counts_and_fractions(name, classes):
    total, prunable, fractions = PUBLISHED[name, classes]
    found = networks.counts(networks.build(name, channels=3, classes=classes))
    assert (found.total, found.prunable_modules) == (total, prunable)
    for ratio, fraction in zip((2, 4, 10, 20, 50), fractions, strict=True):
        assert fraction_to_keep(found, ratio, "total") == pytest.approx(fraction, abs=5e-6)


def test_lenet_counts():
    found = networks.counts(networks.build("lenet5", channels=1, classes=10))
    assert found.total == 61_706
    kept = fraction_to_keep(found, 50, "total") * found.prunable_weights
    assert round(kept) == 383


def test_lenet300_counts():
    """266,610 parameters; by the published rates, a fifth a round and a tenth of the output layer,
    51.3, 21.1, 13.5 and 3.6 % of the weights are left after 3, 7, 9 and 15 rounds (Frankle and
    Carbin, ICLR 2019, arXiv 1803.03635).
    """
    network = networks.build("lenet300", channels=1, classes=10)
    found = networks.counts(network)
    assert (found.total, found.prunable_modules, found.prunable_weights) == (
        266_610,
        265_600,
        265_200,
    )
    outputs = network.classifier.weight.numel()
    weights = found.prunable_weights + outputs
    left = [found.prunable_weights * 0.8**n + outputs * 0.9**n for n in (3, 7, 9, 15)]
    assert [round(100 * one / weights, 1) for one in left] == [51.3, 21.1, 13.5, 3.6]


@pytest.mark.parametrize(
    ("size", "parameters"),
    [("20x8", 11_490), ("10x16", 21_658), ("20x32", 177_258), ("10x64", 335_434)],
)
def test_thin_cnns_are_those_of_riera_et_al(size, parameters):
    """For CIFAR-10, by the layers of their public configuration."""
    assert plans.parameter_counts(f"thin_cnn_{size}", 3, 10).total == parameters


@pytest.mark.parametrize("side", [8, 12])
def test_thin_networks_are_the_plain_ones(side):
    mlp, cnn = (networks.build(name, channels=2, classes=4) for name in THIN)
    images = torch.randn(5, 2, side, side)
    layers = [part for layer in mlp.hidden for part in (layer, nn.ReLU())]
    plain = nn.Sequential(nn.AdaptiveAvgPool2d(8), nn.Flatten(), *layers, mlp.classifier)
    torch.testing.assert_close(mlp(images), plain(images))
    x = nn.Sequential(*(part for layer in cnn.hidden for part in (layer, nn.ReLU())))(images)
    pooled = torch.cat([nn.AdaptiveAvgPool2d(1)(x), nn.AdaptiveMaxPool2d(1)(x)], dim=1)
    torch.testing.assert_close(cnn(images), cnn.classifier(pooled.flatten(1)))


@pytest.mark.parametrize("name", ["thin_mlp", "thin_mlp_0x8", "thin_mlp_08x8", "thin_cnn_2x3x1"])
def test_a_thin_network_without_a_size(name):
    with pytest.raises(NetworkError, match=rf"'{name}'.*thin_mlp_<depth>x<width>"):
        networks.build(name, channels=1, classes=10)


@pytest.mark.parametrize("name", [*plans.ARCHITECTURES, *THIN])
@pytest.mark.parametrize(("channels", "classes"), [(1, 10), (3, 7)])
def test_counts_agree_with_the_catalogue(name, channels, classes):
    network = networks.build(name, channels=channels, classes=classes)
    assert networks.counts(network) == plans.parameter_counts(name, channels, classes)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        (name, size)
        for name in (*plans.ARCHITECTURES, *THIN)
        for size in (8, 28, 32)
        if size >= plans.architecture(name).minimum_image_size
    ],
)
def test_forward_shapes(name, size):
    for channels in (1, 3):
        network = networks.build(name, channels=channels, classes=7)
        assert network(torch.rand(2, channels, size, size)).shape == (2, 7)


@pytest.mark.parametrize("name", ["mlp", "cnn", "lenet300", "lenet5", "resnet20", *THIN])
def test_forward_at_the_smallest_size_and_of_oblong_images(name):
    smallest = plans.architecture(name).minimum_image_size
    network = networks.build(name, channels=1, classes=3)
    for height, width in ((smallest, smallest), (smallest, smallest + 3), (30, 41)):
        images = torch.rand(2, 1, height, width)
        out = network(images)
        assert out.shape == (2, 3)
        assert out.isfinite().all()


def test_lenet_at_28_is_the_plain_network():
    network = networks.build("lenet5", channels=1, classes=10)
    plain = nn.Sequential(
        network.conv1,
        nn.ReLU(),
        nn.MaxPool2d(2),
        network.conv2,
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        network.fc1,
        nn.ReLU(),
        network.fc2,
        nn.ReLU(),
        network.classifier,
    )
    images = torch.randn(4, 1, 28, 28)
    torch.testing.assert_close(network(images), plain(images))


def test_lenet300_at_28_is_the_plain_network_and_averages_larger_images():
    network = networks.build("lenet300", channels=2, classes=10)
    plain = nn.Sequential(
        nn.Flatten(), network.fc1, nn.ReLU(), network.fc2, nn.ReLU(), network.classifier
    )
    images = torch.randn(4, 2, 28, 28)
    torch.testing.assert_close(network(images), plain(images))
    larger = images.repeat_interleave(2, -1).repeat_interleave(3, -2)
    torch.testing.assert_close(network(larger), network(images))


@pytest.mark.parametrize("name", [*plans.ARCHITECTURES, *THIN])
def test_prunable_are_all_weights_but_the_classifiers(name):
    network = networks.build(name, channels=1, classes=10)
    expected = [
        f"{key}.weight"
        for key, module in network.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear) and key != "classifier"
    ]
    found = networks.prunable_parameters(network)
    assert list(found) == expected
    parameters = dict(network.named_parameters())
    assert all(found[key] is parameters[key] for key in found)
    last = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    assert network.classifier is last


def state(network):
    return {key: value.clone() for key, value in network.state_dict().items()}


def same(left, right):
    return all(torch.equal(left[key], right[key]) for key in left)


@pytest.mark.parametrize("name", ["mlp", "cnn", "lenet300", "lenet5", "resnet20", *THIN])
def test_initialize_depends_on_the_generator_only(name):
    network = networks.build(name, channels=1, classes=10)
    networks.initialize(network, torch.Generator().manual_seed(1))
    first = state(network)

    torch.manual_seed(123)
    other = networks.build(name, channels=1, classes=10)
    # Training leaves traces in parameters and buffers; none may survive.
    other.train()
    other(torch.randn(4, 1, 28, 28)).square().sum().backward()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1)
    before = torch.get_rng_state()
    networks.initialize(other, torch.Generator().manual_seed(1))
    assert torch.equal(torch.get_rng_state(), before)
    assert same(first, state(other))

    networks.initialize(other, torch.Generator().manual_seed(2))
    drawn = [
        key
        for key, value in first.items()
        if ".running" not in key and "num_batches" not in key and "bn" not in key
    ]
    assert not any(torch.equal(first[key], other.state_dict()[key]) for key in drawn)


@pytest.mark.parametrize("name", ["mlp", "cnn", "lenet300", "lenet5", *THIN])
def test_default_scheme_is_pytorchs(name):
    # The layers draw weight, then bias, in the order in which they are built. A convolution's
    # numbers come in another order than torch's: always that of the channels last.
    torch.manual_seed(4)
    expected = state(networks.constructor(name)(1, 10))
    for key, value in expected.items():
        if value.dim() == 4:
            outputs, channels, rows, columns = value.shape
            drawn = value.reshape(outputs, rows, columns, channels)
            expected[key] = drawn.permute(0, 3, 1, 2)
    network = networks.build(name, channels=1, classes=10)
    networks.initialize(network, torch.Generator().manual_seed(4))
    found = state(network)
    assert all(torch.allclose(found[key], expected[key], rtol=1e-6) for key in expected)


def test_resnet_weights_are_kaiming_normal():
    network = networks.build("resnet56", channels=3, classes=10)
    networks.initialize(network, torch.Generator().manual_seed(0))
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            fan_in = module.weight[0].numel()
            scaled = module.weight.detach() * (fan_in / 2) ** 0.5
            # Four standard errors of a mean and of a standard deviation of normal draws.
            assert abs(scaled.mean()) < 4 / scaled.numel() ** 0.5
            assert abs(scaled.std() - 1) < 4 / (2 * scaled.numel()) ** 0.5
            assert module.bias is None
        if isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all()
            assert (module.bias == 0).all()
            assert (module.running_mean == 0).all()
            assert (module.running_var == 1).all()
            assert module.num_batches_tracked == 0


def test_shortcut_where_the_width_grows_is_subsampled_and_padded_identity():
    block = Block(16, 32).eval()
    nn.init.zeros_(block.conv1.weight)
    nn.init.zeros_(block.conv2.weight)
    x = torch.rand(2, 16, 9, 8)
    out = block(x)
    assert out.shape == (2, 32, 5, 4)
    assert torch.equal(out[:, 8:24], x[:, :, ::2, ::2])
    assert not out[:, :8].any()
    assert not out[:, 24:].any()
    assert not [key for key, _ in block.named_parameters() if "shortcut" in key]


def test_shortcut_of_equal_width_is_the_identity():
    block = Block(16, 16).eval()
    nn.init.zeros_(block.conv2.weight)
    x = torch.rand(2, 16, 8, 8)
    assert torch.equal(block(x), x)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("mlp", 12),
        ("cnn", 8),
        ("lenet300", 28),
        ("lenet300", 30),
        ("lenet5", 28),
        ("lenet5", 32),
        ("resnet20", 8),
        ("thin_mlp_3x5", 12),
        ("thin_cnn_2x3", 8),
    ],
)
def test_stacked_replicates_have_the_gradients_of_single_ones(name, size):
    # In double precision: batch norm over few values amplifies the rounding of single precision.
    replicates = [networks.build(name, channels=1, classes=4).double() for _ in range(2)]
    images = torch.randn(2, 6, 1, size, size, dtype=torch.float64)
    labels = torch.randint(4, (2, 6))
    parameters, buffers = stack_module_state(copy.deepcopy(replicates))
    with torch.device("meta"):
        skeleton = networks.build(name, channels=1, classes=4)

    def logits(parameters, buffers, images):
        return functional_call(skeleton, (parameters, buffers), (images,))

    found = vmap(logits)(parameters, buffers, images)
    loss = nn.functional.cross_entropy(found.mT, labels, reduction="none").mean(1).sum()
    gradients = dict(zip(parameters, torch.autograd.grad(loss, parameters.values()), strict=True))
    for index, network in enumerate(replicates):
        nn.functional.cross_entropy(network(images[index]), labels[index]).backward()
        for key, parameter in network.named_parameters():
            torch.testing.assert_close(gradients[key][index], parameter.grad)


def test_errors():
    with pytest.raises(NetworkError, match="unknown architecture 'vgg'; known are mlp, cnn"):
        networks.build("vgg", channels=1, classes=10)
    with pytest.raises(NetworkError, match="at least 1 channel and 2 classes"):
        networks.build("mlp", channels=0, classes=10)
    network = networks.build("mlp", channels=1, classes=10)
    network.extra = nn.LayerNorm(3)
    with pytest.raises(NetworkError, match="how to initialize extra, a LayerNorm"):
        networks.initialize(network, torch.Generator())
