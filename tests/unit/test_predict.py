"""Anyone's torch model on anyone's loader: labels, scores, and a model left as it was."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
    TensorDataset,
)

import recall_distortion as rd
from recall_distortion.system.errors import AuditError

IMAGES = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(50) % 3
DATA = TensorDataset(IMAGES, LABELS)
LOADER = DataLoader(DATA, 16)


@pytest.fixture
def model() -> nn.Module:
    """One that answers otherwise in training, by dropout and by batch norm."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))


def test_labels_and_scores_are_those_of_evaluation(model: nn.Module) -> None:
    labels, scores = rd.predict(model, LOADER)
    np.testing.assert_array_equal(labels, LABELS)
    assert scores.dtype == np.float32
    with torch.no_grad():
        expected = model.eval()(IMAGES)
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-6)
    found = rd.audit(labels, scores, scores)
    assert found.tables["models"]["before"][0] == (scores.argmax(1) == LABELS.numpy()).mean()


def test_the_model_is_left_as_it_was(model: nn.Module) -> None:
    model.train()
    model[1].eval()  # frozen, as in fine-tuning
    before = {name: value.clone() for name, value in model.state_dict().items()}
    rd.predict(model, LOADER)
    assert [part.training for part in model] == [True, False, True, True]
    assert model.training
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    assert all(weight.grad is None for weight in model.parameters())


def test_an_error_of_the_model_reaches_its_owner_and_leaves_it_training(model: nn.Module) -> None:
    model.train()
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        rd.predict(model, [(torch.zeros(2, 5), torch.zeros(2))])
    assert all(part.training for part in model.modules())


def test_a_device_is_for_the_time_of_predicting(model: nn.Module) -> None:
    """The device ``meta`` stands for any other; nothing can be computed there."""
    seen = []
    model.register_forward_pre_hook(lambda part, given: seen.append(given[0].device.type))
    with pytest.raises(NotImplementedError):
        rd.predict(model, LOADER, device="meta")
    assert seen == ["meta"]


class ByName(nn.Module):
    """A model that takes tensors by name and returns an object, as those of transformers do."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form

    def forward(self, pixels: torch.Tensor, mask: torch.Tensor | None = None):
        scores = pixels[:, :3] if mask is None else pixels[:, :3] * mask
        return {
            "object": SimpleNamespace(logits=scores),
            "dictionary": {"loss": 0, "logits": scores},
            "tuple": (scores, pixels),
            "half precision": scores.bfloat16(),
        }[self.form]


@pytest.mark.parametrize("form", ["object", "dictionary", "tuple", "half precision"])
@pytest.mark.parametrize("name", ["labels", "label", "targets", "target", "y"])
def test_batches_may_be_dictionaries_and_scores_logits(form: str, name: str) -> None:
    batches = [{"pixels": IMAGES, name: LABELS, "file": ["x"] * 50}]
    labels, scores = rd.predict(ByName(form), batches)
    np.testing.assert_array_equal(labels, LABELS)
    np.testing.assert_allclose(scores, IMAGES[:, :3], rtol=1e-2)
    masked = [{"pixels": IMAGES, "mask": torch.zeros(50, 1), name: LABELS}]
    assert not rd.predict(ByName(form), masked)[1].any()


def test_labels_may_be_texts_and_lists() -> None:
    labels, _ = rd.predict(nn.Identity(), [(IMAGES[:2], ["cat", "dog"]), (IMAGES[:1], ("cat",))])
    assert labels.tolist() == ["cat", "dog", "cat"]


@pytest.mark.parametrize(
    ("model", "loader", "words"),
    [
        (lambda x: x, LOADER, "the model is a torch.nn.Module, not function"),
        (
            nn.Identity(),
            DataLoader(TensorDataset(IMAGES, LABELS), shuffle=True),
            "the loader shuffles",
        ),
        (nn.Identity(), [], "the loader gives no batch"),
        (nn.Identity(), [IMAGES], "batch 0 is Tensor; give (inputs, labels)"),
        (nn.Identity(), [(IMAGES,)], "batch 0 is tuple; give (inputs, labels)"),
        (nn.Identity(), [{"x": IMAGES}], "put its labels under one of labels, label"),
        (nn.Identity(), [{"y": LABELS}], "has labels, and no tensor beside them"),
        (nn.Identity(), [(IMAGES, LABELS[:9])], "labels of shape [9] and scores of shape [50, 4]"),
        (nn.Identity(), [(IMAGES[:, None], LABELS)], "gives shape [50, 1, 4]; an audit reads one"),
        (nn.Identity(), [(["x"], ["y"])], "the model gives str, not a tensor of scores"),
        (
            nn.Identity(),
            [(IMAGES, LABELS), (IMAGES[:, :2], LABELS)],
            "rows of different lengths: [(2,), (4,)]",
        ),
    ],
)
def test_what_cannot_be_right_is_one_message(model, loader, words: str) -> None:
    with pytest.raises(AuditError) as found:
        rd.predict(model, loader)
    assert words in str(found.value)
    assert "\n" not in str(found.value)


class Stream(IterableDataset):
    """Images without a length."""

    def __iter__(self):
        return iter(DATA)


class Mine(Sampler):
    """A sampler that shuffles, of no kind that torch has."""

    def __init__(self, shuffled: bool = True) -> None:
        self.shuffled = shuffled

    def __iter__(self):
        return iter(torch.randperm(50).tolist() if self.shuffled else range(50))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch_sampler": BatchSampler(RandomSampler(DATA), 10, False)}, "the loader shuffles"),
        (
            {"sampler": DistributedSampler(DATA, 1, 0, shuffle=True), "batch_size": 10},
            "the loader shuffles",
        ),
        ({"sampler": Mine()}, "the loader shuffles"),
        ({"batch_sampler": BatchSampler(Mine(), 10, False)}, "the loader shuffles"),
        (
            {"sampler": DistributedSampler(DATA, 2, 0, shuffle=False)},
            "gives one process's part of the images",
        ),
        ({"batch_size": 30, "drop_last": True}, "drops its last batch"),
        (
            {"batch_sampler": BatchSampler(SequentialSampler(DATA), 30, True)},
            "drops its last batch",
        ),
    ],
)
def test_a_loader_that_shuffles_or_leaves_images_out_is_refused(options, words: str) -> None:
    with pytest.raises(AuditError, match=words):
        rd.predict(nn.Identity(), DataLoader(DATA, **options))


def test_a_stream_that_drops_its_last_batch_is_refused() -> None:
    with pytest.raises(AuditError, match="drops its last batch"):
        rd.predict(nn.Identity(), DataLoader(Stream(), 30, drop_last=True))


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 10, "drop_last": True},
        {"sampler": Mine(shuffled=False)},
        {"sampler": DistributedSampler(DATA, 1, 0, shuffle=False)},
        {"batch_sampler": BatchSampler(SequentialSampler(DATA), 30, False)},
    ],
)
def test_a_loader_that_gives_every_image_in_its_order_is_taken(options) -> None:
    np.testing.assert_array_equal(rd.predict(nn.Identity(), DataLoader(DATA, **options))[1], IMAGES)


@pytest.mark.slow
def test_an_exported_program_needs_no_mode() -> None:
    linear = nn.Linear(4, 3)
    exported = torch.export.export(linear, (IMAGES,)).module()
    _, scores = rd.predict(exported, [(IMAGES, LABELS)])
    np.testing.assert_allclose(scores, linear(IMAGES).detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("inputs", [torch.float64, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("weights", [torch.float64, torch.bfloat16, torch.float32])
def test_inputs_get_the_precision_of_the_model(weights, inputs) -> None:
    linear = nn.Linear(4, 3)
    expected = linear(IMAGES).detach()
    _, scores = rd.predict(linear.to(weights), [(IMAGES.to(inputs), LABELS)])
    np.testing.assert_allclose(scores, expected, atol=0.1)


def test_an_index_beside_the_images_is_none_of_the_models() -> None:
    batch = {"image": IMAGES, "index": LABELS, "label": LABELS}
    np.testing.assert_array_equal(rd.predict(nn.Identity(), [batch])[1], IMAGES)
    batch = {"pixels": IMAGES, "mask": torch.zeros(50, 1), "index": LABELS, "label": LABELS}
    assert not rd.predict(ByName("tuple"), [batch])[1].any()
    with pytest.raises(AuditError, match="has the tensors left, right, and the model takes input"):
        rd.predict(nn.Identity(), [{"left": IMAGES, "right": IMAGES, "label": LABELS}])


def test_scores_may_be_sparse_and_labels_have_a_gradient() -> None:
    labels, scores = rd.predict(
        nn.Identity(), [(IMAGES.to_sparse(), LABELS.float().requires_grad_())]
    )
    np.testing.assert_array_equal(scores, IMAGES)
    np.testing.assert_array_equal(labels, LABELS)


@pytest.mark.parametrize(
    ("loader", "options", "words"),
    [
        ([(IMAGES, LABELS.bfloat16())], {}, "batch 0 has labels of bfloat16"),
        ([(IMAGES, LABELS), (IMAGES, LABELS[:, None])], {}, "different shapes: [(), (1,)]"),
        ([(IMAGES, LABELS), (IMAGES, ["x"] * 50)], {}, "labels are <U1 and int64"),
        ([(IMAGES, [[0], [0, 1]])], {}, "batch 0 has labels of different lengths"),
        ([(IMAGES + 0j, LABELS)], {}, "batch 0: the model gives complex numbers"),
        (LOADER, {"device": "nope"}, "predict: device 'nope': Expected one of"),
        (LOADER, {"device": "xpu"}, "predict: device xpu: "),
    ],
)
def test_what_torch_or_numpy_would_stumble_over_is_one_message(loader, options, words) -> None:
    model = nn.BatchNorm1d(4) if options else nn.Identity()
    model.train()
    with pytest.raises(AuditError) as found:
        rd.predict(model, loader, **options)
    assert words in str(found.value)
    assert "\n" not in str(found.value)
    assert model.training
