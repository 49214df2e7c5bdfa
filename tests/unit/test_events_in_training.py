"""Events during training: what they choose, what becomes of it, and what goes on after a kill."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from compression_helpers import same
from core_helpers import method, prepared, recipe
from training_helpers import images_of
from unfinished_helpers import Killed, always_kept, assert_same, killing_after

from recall_distortion import networks
from recall_distortion.compression.methods import CompressionPlan, EventsPlan
from recall_distortion.compression.schedules import events as module
from recall_distortion.system.errors import NetworkError
from recall_distortion.training import Engine, NonFiniteLoss, Unfinished, fit_runs
from recall_distortion.training.images import DeviceImages
from recall_distortion.training.randomness import generator

# Two phases, so that the optimizer starts anew within a removal that lasts.
PLAN = recipe((4, 0.05), (4, 0.02), batch_size=17)  # 5 batches an epoch
END = 6
#: By network and layer: what reads its units, and how many places each has there.
READ_BY = {
    "mlp": {"fc1": ("fc2", 1), "fc2": ("classifier", 1)},
    "cnn": {"conv1": ("conv2", 1), "conv2": ("fc1", 4), "fc1": ("classifier", 1)},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return prepared(tmp_path_factory.mktemp("data") / "data.safetensors")


@pytest.fixture(scope="module")
def images(data):
    return images_of(data)


class Right:
    """Counts by class what networks get right of the test images."""

    def __init__(self, data):
        self.images = DeviceImages(data.test_images, data.test_labels, data.mean, data.std)

    @torch.no_grad()
    def __call__(self, stack):
        answers = stack.logits(self.images.batch(slice(0, len(self.images)))).argmax(2)
        right = answers == self.images.labels
        return torch.stack([(right & (self.images.labels == c)).sum(1) for c in range(4)], 1)


@pytest.fixture(scope="module")
def watch(data):
    return Right(data)


def pruned(unit, target="lowest", removal="permanent", steps=0, start=1, every=2):
    criterion = {"weight": "magnitude", "channel": "l2_norm"}[unit]
    own = {"start": start, "every": every, "removal": removal, "steps": steps}
    return method(
        "random" if target == "random" else criterion,
        unit=unit, scope="layer", schedule="events", events=own,
        target="lowest" if target == "random" else target,
    )  # fmt: skip


def runs_of(images, architecture, methods, ratio="2", seeds=(3,), plan=PLAN, end=END, count=None):
    """Return a network, and runs of methods by a schedule's own way, one after another."""
    network = networks.build(architecture, channels=1, classes=4)
    network = network.to(memory_format=torch.channels_last)
    own = EventsPlan(plan, end)
    of_job = CompressionPlan(methods, count or "prunable", plan, "holdout", events=own)
    starts = module.drawn(network, seeds, "initialization")
    found = [
        list(module._runs(network, images, of_job, own, name, ratio, starts)) for name in methods
    ]
    return network, [run for own in found for run in own]


def fitted(images, architecture, methods, *, engine=None, watch=None, plan=PLAN, **options):
    network, runs = runs_of(images, architecture, methods, plan=plan, **options)
    engine = engine or Engine()
    return runs, list(fit_runs(network, images, plan, runs, engine=engine, watch=watch))


class Reference:
    """The same by a plain loop over one network, without anything of the package's but streams."""

    def __init__(self, images, architecture, seed, own, fraction, watch):
        self.images, self.seed, self.own, self.watched = images, seed, own, watch.images
        self.unit, self.highest, self.fraction = own.unit, own.target == "highest", fraction
        self.network = networks.build(architecture, channels=1, classes=4)
        networks.initialize(self.network, generator(seed, "initialization"))
        self.readers = READ_BY[architecture]
        self.epochs = range(own.events.start, END + 1, own.events.every)
        self.held = {n: torch.zeros_like(p, dtype=bool) for n, p in self.parameters()}
        self.chosen = {
            layer: torch.zeros_like(self.score(layer), dtype=bool) for layer in self.readers
        }
        self.span = None

    def parameters(self):
        return list(self.network.named_parameters())

    def weight(self, layer):
        return self.network.get_parameter(f"{layer}.weight").detach()

    def score(self, layer):
        if self.unit == "weight":
            return self.weight(layer).abs()
        return self.weight(layer).flatten(1).square().sum(1).sqrt()

    def choose(self, number):
        """Return by layer what this event takes, and the deviation of what none had taken."""
        found = {}
        for layer, chosen in self.chosen.items():
            score = self.score(layer)
            share = (1 - self.fraction) * number / len(self.epochs)
            many = score.numel() - round((1 - share) * score.numel()) - int(chosen.sum())
            ranked = score.masked_fill(chosen, -math.inf if self.highest else math.inf)
            places = ranked.flatten().argsort(descending=self.highest)[:many]
            newest = torch.zeros_like(chosen).flatten()
            newest[places] = True
            kept = self.weight(layer)[~chosen]
            found[layer] = newest.view_as(chosen), kept.std(correction=0).item()
            self.chosen[layer] = chosen | newest.view_as(chosen)
        return found

    def places(self, layer, newest, whole):
        """Yield the parameters' parts that an event is at: of a unit, its weights or all of it."""
        yield f"{layer}.weight", newest
        if self.unit == "channel" and whole:
            yield f"{layer}.bias", newest
            reader, each = self.readers[layer]
            yield f"{reader}.weight", (slice(None), newest.repeat_interleave(each))

    @torch.no_grad()
    def event(self, epochs, optimizer):
        before, removal = self.right(), self.own.events.removal
        chosen = self.choose(self.epochs.index(epochs) + 1)
        self.span = [self.own.events.steps, epochs, chosen, {}]
        for name, value in self.parameters():
            self.span[3][name] = value.clone()
        if removal == "gaussian":
            self.noise()
        else:
            for layer, (newest, _) in chosen.items():
                for name, part in self.places(layer, newest, removal != "zero_and_regrow"):
                    self.held[name][part] = True
            for name, value in self.parameters():
                value[self.held[name]] = 0
                state = optimizer.state.get(value, {})
                for moment in ("momentum_buffer", "exp_avg", "exp_avg_sq"):
                    if moment in state:
                        state[moment][self.held[name]] = 0
        return {"epoch": epochs, "before": before, "after": self.right()}

    def noise(self):
        left, epochs, chosen, _ = self.span
        drawing = generator(self.seed, f"event noise {epochs} {left}")
        for layer, (newest, deviation) in chosen.items():
            weight = self.weight(layer)
            noise = torch.randn(weight.shape, generator=drawing)
            weight[newest] += deviation * noise[newest]

    @torch.no_grad()
    def after_step(self):
        removal = self.own.events.removal
        if removal == "permanent" or self.span is None:
            return
        self.span[0] -= 1
        left, _, chosen, values = self.span
        if left and removal == "gaussian":
            self.noise()
        if left:
            return
        if removal == "restore":
            for layer, (newest, _) in chosen.items():
                for name, part in self.places(layer, newest, True):
                    self.network.get_parameter(name)[part] = values[name][part]
        for held in self.held.values():
            held.fill_(False)
        self.span = None

    @torch.no_grad()
    def right(self):
        self.network.eval()
        images = self.watched
        answers = self.network(images.batch(slice(0, len(images)))).argmax(1)
        return [int(((answers == c) & (images.labels == c)).sum()) for c in range(4)]

    def train(self, optimizers):
        """Yield after each epoch the network's state, the loss of the held-out images, the rows."""
        fit, held, order = self.images.fit, self.images.validation, generator(self.seed, "order")
        epoch, rows = 0, []
        for phase in PLAN.phases:
            optimizer = optimizers(self.network.parameters(), phase.learning_rate)
            for _ in range(phase.epochs):
                if epoch in self.epochs:
                    rows.append(self.event(epoch, optimizer))
                self.network.train()
                for index in torch.randperm(len(fit), generator=order).split(PLAN.batch_size):
                    optimizer.zero_grad()
                    F.cross_entropy(self.network(fit.batch(index)), fit.labels[index]).backward()
                    for name, value in self.parameters():
                        value.grad[self.held[name]] = 0
                    optimizer.step()
                    self.after_step()
                epoch += 1
                self.network.eval()
                with torch.no_grad():
                    logits = self.network(held.batch(slice(0, len(held))))
                    loss = F.cross_entropy(logits, held.labels).item()
                state = {n: v.clone() for n, v in self.network.state_dict().items()}
                yield state, loss, list(rows)


def sgd(parameters, rate):
    return torch.optim.SGD(
        parameters, rate, PLAN.momentum, weight_decay=PLAN.weight_decay, nesterov=True
    )


@pytest.mark.parametrize("architecture", ["mlp", "cnn"])
@pytest.mark.parametrize("unit", ["weight", "channel"])
@pytest.mark.parametrize(
    ("removal", "steps", "target"),
    [
        ("permanent", 0, "lowest"),
        ("permanent", 0, "highest"),
        ("zero_and_regrow", 3, "highest"),
        ("zero_and_regrow", 7, "lowest"),
        ("restore", 7, "highest"),
        ("restore", 5, "lowest"),
        ("gaussian", 7, "highest"),
    ],
)
def test_it_is_what_a_plain_loop_makes(images, watch, architecture, unit, removal, steps, target):
    own = pruned(unit, target, removal, steps)
    (run,), (found,) = fitted(images, architecture, {"own": own}, watch=watch)
    loop = Reference(images, architecture, 3, own, run.events.fraction, watch)
    epochs = list(loop.train(sgd))
    # Rounding: the loop's and this one's sums differ in the last digits of single precision.
    assert [row["validation_loss"] for row in found.history] == pytest.approx(
        [loss for _, loss, _ in epochs], rel=1e-4
    )
    best = min(range(END, len(epochs)), key=lambda epoch: epochs[epoch][1])
    assert [row["selected"] for row in found.history].index(1) == best
    assert found.events == epochs[-1][2]
    assert [row["epoch"] for row in found.events] == [1, 3, 5]
    for name, value in epochs[best][0].items():
        torch.testing.assert_close(found.state[name], value, rtol=1e-3, atol=1e-5)
    gone = {name: ~mask for name, mask in found.masks.items()}
    for name, held in loop.held.items():
        assert torch.equal(gone.get(name, torch.zeros_like(held)), held)
    assert any(mask.any() for mask in gone.values()) == (removal == "permanent")


def test_by_adam_as_well(images, watch):
    plan = recipe((4, 0.01), (4, 0.005), batch_size=17, optimizer="adam")
    own = pruned("channel", "highest", "restore", 7)
    (run,), (found,) = fitted(images, "cnn", {"own": own}, watch=watch, plan=plan)
    loop = Reference(images, "cnn", 3, own, run.events.fraction, watch)
    rates = iter([0.01, 0.005])
    epochs = list(
        loop.train(lambda p, _: torch.optim.Adam(p, next(rates), weight_decay=PLAN.weight_decay))
    )
    assert [row["validation_loss"] for row in found.history] == pytest.approx(
        [loss for _, loss, _ in epochs], rel=1e-3
    )
    assert found.events == epochs[-1][2]


@pytest.mark.parametrize("unit", ["weight", "channel"])
def test_as_many_are_chosen_as_are_asked_for(images, unit):
    """Linear in units, each event within what the one before left, the ratio exact at the last."""
    methods = {target: pruned(unit, target) for target in ("lowest", "highest", "random")}
    methods["once"] = pruned(unit, "random", every=END + 1)
    _, runs = runs_of(images, "cnn", methods, ratio="4")
    final = {}
    for name, run in zip(methods, runs, strict=True):
        state, left = (
            run.state,
            {n: torch.ones_like(run.state[n], dtype=bool) for n in run.events.names},
        )
        epochs = [epoch for epoch in range(9) if run.events.number(epoch)]
        assert epochs == ([1] if name == "once" else [1, 3, 5])
        for number, epoch in enumerate(epochs, start=1):
            after = run.events.happen(epoch, state, left).left
            assert all((after[n] <= left[n]).all() for n in after)
            left = after
            share = 1 - (1 - run.events.fraction) * number / len(epochs)
            for layer in READ_BY["cnn"]:
                mask = after[f"{layer}.weight"]
                rows = mask.flatten() if unit == "weight" else mask.flatten(1).any(1)
                assert int(rows.sum()) == max(round(share * rows.numel()), unit == "channel")
        final[name] = left
    assert not same(final["lowest"], final["highest"])
    assert same(final["random"], final["once"])  # one order, however many events
    other = runs_of(images, "cnn", methods, ratio="4", seeds=(4,))[1][2].events
    whole = {n: torch.ones_like(mask) for n, mask in final["random"].items()}
    assert not same(other.happen(5, state, whole).left, final["random"])


def test_noise_has_the_stated_deviation(images):
    """Without steps of its own the network walks: m times the deviation of its layer's weights."""
    still = recipe((8, 0.0), batch_size=17, weight_decay=0.0)
    steps = 8
    own = pruned("channel", "lowest", "gaussian", steps, every=END + 1)
    (run,), (found,) = fitted(images, "mlp", {"own": own}, ratio="2", plan=still)
    for layer in READ_BY["mlp"]:
        before = run.state[f"{layer}.weight"]
        moved = found.state[f"{layer}.weight"] - before
        touched = moved.flatten(1).any(1)
        assert 0 < int(touched.sum()) < len(touched)
        # A standard deviation of n values is known to 1 / sqrt(2 n); five times that.
        noise, n = moved[touched], int(touched.sum()) * before.shape[1]
        wanted = math.sqrt(steps) * before.std(correction=0).item()
        assert noise.std().item() == pytest.approx(wanted, rel=5 / math.sqrt(2 * n))
        assert torch.equal(found.state[f"{layer}.bias"], run.state[f"{layer}.bias"])


@pytest.mark.parametrize("unit", ["weight", "channel"])
def test_what_is_restored_is_as_it_was(images, unit):
    """Without steps of its own the network is in the end what it was."""
    still = recipe((8, 0.0), batch_size=17, weight_decay=0.0)
    own = pruned(unit, "highest", "restore", 6)
    (run,), (found,) = fitted(images, "cnn", {"own": own}, plan=still)
    for name, value in run.state.items():
        assert torch.equal(found.state[name], value), name


def test_batch_norm_is_restored_with_its_channels(tmp_path):
    """Its statistics, too, which move with the images while the channel is gone."""
    data = prepared(tmp_path / "data.safetensors", train=32, holdout=8)
    images, plan = images_of(data), recipe((3, 0.0), batch_size=24, weight_decay=0.0)
    own = pruned("channel", "highest", "restore", 1, start=1, every=2)
    (run,), (found,) = fitted(images, "resnet20", {"own": own}, plan=plan, end=2)
    event = run.events.happen(
        1, run.state, {n: torch.ones_like(run.state[n], dtype=bool) for n in run.events.names}
    )
    statistics = [name for name in event.touched if "running" in name]
    assert statistics
    for name, value in run.state.items():
        if "num_batches" not in name and "running" not in name:
            assert torch.equal(found.state[name], value), name
    # Half of the channels were gone for one batch of three; the others' statistics went on.
    plain = fitted(images, "resnet20", {"control": None}, plan=plan, end=2)[1][0]
    for name in statistics:
        touched = event.touched[name]
        assert 0 < int(touched.sum()) < touched.numel()
        assert not torch.equal(found.state[name][touched], plain.state[name][touched])


def test_zeroed_weights_regrow(images):
    """They get a gradient as soon as they are let go, without momentum."""
    plan = recipe((8, 0.05), batch_size=72)
    own = pruned("weight", "highest", "zero_and_regrow", 2, start=5, every=9)
    network, (run,) = runs_of(images, "mlp", {"own": own}, plan=plan)
    seen = {}

    class Watched(type(run.events)):
        def happen(self, epochs, state, left):
            found = super().happen(epochs, state, left)
            seen.update(touched=found.touched, state=state)
            return found

    watched = Watched(*[getattr(run.events, f) for f in run.events.__dataclass_fields__])
    found = []

    def report(rows, places):
        name = "fc2.weight"
        found.append(seen["state"][name][seen["touched"][name]].clone() if seen else None)

    run = type(run)(run.seed, run.state, events=watched)
    list(fit_runs(network, images, plan, [run], engine=Engine(), report=report))
    assert found[:5] == [None] * 5
    assert all((values == 0).all() for values in found[5:7])
    assert (found[7] != 0).float().mean() > 0.5  # but of dead units


def test_networks_at_once_are_those_alone(images, watch):
    methods = {
        "control": None,
        "gone": pruned("channel", "highest"),
        "noise": pruned("channel", "lowest", "gaussian", 7),
        "back": pruned("weight", "lowest", "restore", 7, start=0),
    }
    alone, together = (
        fitted(images, "cnn", methods, engine=Engine(n), watch=watch, seeds=(3, 4))[1]
        for n in (1, 8)
    )
    for one, other in zip(alone, together, strict=True):
        assert [row["selected"] for row in one.history] == [r["selected"] for r in other.history]
        assert same(one.masks, other.masks)
        assert [row["epoch"] for row in one.events] == [row["epoch"] for row in other.events]
        for name, value in one.state.items():
            torch.testing.assert_close(other.state[name], value, rtol=1e-3, atol=1e-5)


def test_the_control_is_the_dense_network_of_late_epochs(images):
    network, (run,) = runs_of(images, "mlp", {"control": None})
    (found,) = fit_runs(network, images, PLAN, [run], engine=Engine())
    networks.initialize(network, generator(3, "initialization"))
    dense = type(run)(3, {n: v.clone() for n, v in network.state_dict().items()})
    (own,) = fit_runs(network, images, PLAN, [dense], engine=Engine())
    kept = ("training_loss", "validation_loss", "validation_accuracy")
    assert [[row[n] for n in kept] for row in found.history] == [
        [row[n] for n in kept] for row in own.history
    ]
    losses = [row["validation_loss"] for row in found.history]
    assert [row["selected"] for row in found.history].index(1) == min(
        range(END, len(losses)), key=losses.__getitem__
    )
    assert (found.masks, found.events) == ({}, [])


def test_a_network_that_fails_stops_no_other(images, watch):
    network, runs = runs_of(images, "mlp", {"own": pruned("channel")}, seeds=(3, 4))
    broken = {name: value * float("nan") for name, value in runs[0].state.items()}
    runs = [type(runs[0])(3, broken, events=runs[0].events), runs[1]]
    failed, found = fit_runs(network, images, PLAN, runs, engine=Engine(2), watch=watch)
    assert isinstance(failed, NonFiniteLoss)
    (alone,) = fit_runs(network, images, PLAN, runs[1:], engine=Engine(2), watch=watch)
    assert same(found.masks, alone.masks)
    assert found.events == alone.events


@pytest.fixture
def _kept(monkeypatch):
    yield from always_kept(monkeypatch)


@pytest.mark.usefixtures("_kept")
@pytest.mark.parametrize("at_once", [1, 3])
def test_a_killed_job_goes_on_with_the_same_bits(images, watch, tmp_path, at_once):
    """Between events, and where a removal, or noise, goes on over the end of an epoch."""
    methods = {
        "gone": pruned("channel", "highest"),
        "noise": pruned("channel", "lowest", "gaussian", 8),
        "back": pruned("channel", "lowest", "restore", 8),
    }
    network, runs = runs_of(images, "cnn", methods)

    def train(folder, report=None):
        return list(
            fit_runs(
                network, images, PLAN, runs, engine=Engine(at_once), report=report,
                unfinished=Unfinished(folder), watch=watch,
            )
        )  # fmt: skip

    whole = train(None)
    for epochs in (2, 3) if at_once == 3 else (10, 12, 20):
        with pytest.raises(Killed):
            train(tmp_path / "kept", killing_after(epochs))
        again = train(tmp_path / "kept")
        assert_same(again, whole)
        assert [one.events for one in again] == [one.events for one in whole]
        Unfinished(tmp_path / "kept").remove()


def test_a_removal_that_outlasts_its_epochs_is_refused(images):
    """The job says so, which knows how many images there are: 5 batches after the last event."""
    for steps in (5, 6):
        methods = {"slow": pruned("channel", "lowest", "restore", steps)}
        plan = CompressionPlan(methods, "prunable", PLAN, "holdout", events=EventsPlan(PLAN, END))
        network = networks.build("mlp", channels=1, classes=4)
        trained = (network, images, plan, {"slow": []}, [3], Engine(), Unfinished(), None)
        if steps == 5:
            assert not module.train_all(*trained).made
            continue
        with pytest.raises(NetworkError, match=r"slow: .* 6 steps, .* after 5 .* 6 there are 5"):
            module.train_all(*trained)
