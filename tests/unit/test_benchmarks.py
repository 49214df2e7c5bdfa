"""Each benchmark runs, with options that make it small, and prints the table that it promises.

Nothing is asserted of times.
"""

from __future__ import annotations

import importlib
import io
import multiprocessing
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from core_helpers import REPOSITORY, prepared
from PIL import Image

from recall_distortion.data import Shape, describe
from recall_distortion.training import fit_runs
from tests.workflow.warm import commands

BENCHMARKS = REPOSITORY / "benchmarks"
SPREAD = r"([\d.]+) \(([\d.]+)\.\.([\d.]+)\)"


@pytest.fixture
def benchmarks(monkeypatch):
    """Let a test import a benchmark and what lies beside it."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module


def output(name, *options):
    command = [sys.executable, BENCHMARKS / f"{name}.py", *map(str, options)]
    found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert found.returncode == 0, found.stderr
    assert "cores of" in found.stdout.splitlines()[0]
    assert torch.__version__ in found.stdout.splitlines()[0]
    return found.stdout


def rates(text, header):
    """Return way -> (images a second, ratio), each median, smallest and largest, from a table."""
    lines = text.splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith(header)) + 1
    found = {}
    for line in lines[start:]:
        match = re.match(rf"(.+?)\s\s+{SPREAD}\s+{SPREAD}", line)
        if match is None:
            break
        numbers = [float(number) for number in match.groups()[1:]]
        found[match[1]] = numbers[:3], numbers[3:]
    return found


def check(found, first):
    """Assert that the rates are numbers in order, and the ratios those to the first way."""
    assert next(iter(found)) == first
    basis = found[first][0][0]
    for rate, ratio in found.values():
        assert 0 < rate[1] <= rate[0] <= rate[2]
        # One repeat: the ratio of the only rates, which are printed as whole numbers.
        low, high = (rate[0] - 0.5) / (basis + 0.5), (rate[0] + 0.5) / (basis - 0.5)
        assert low - 0.01 <= ratio[0] <= high + 0.01


@pytest.mark.slow
def test_regularizers_prints_what_each_costs():
    names = ["dropout", "jumpstart, norm"]
    options = ("--only", "mlp", "--added", *names, "--repeats", 1, "--seconds", 0.01)
    text = output("regularizers", *options)
    rows = re.findall(
        rf"^mlp, 8 × 8, batch 64\s+(\d+)\s+([\w ,]+?)\s+{SPREAD}$", text, re.MULTILINE
    )
    ways = [f"{name}{way}" for name in names for way in (", to plain modules", "")]
    assert [row[:2] for row in rows] == [(k, way) for k in ("1", "60") for way in ways]
    assert all(float(row[2]) > 0 for row in rows)


@pytest.mark.slow
def test_training_prints_every_way_against_the_usual_loop(real_data):
    text = output(
        "training",
        *("--data-root", real_data, "--cores", 1, "--images", 2000, "--epochs", 1),
        *("--repeats", 1, "--peak-seconds", 0.05),
    )
    found = rates(text, "way")
    assert list(found) == [
        "usual loop",
        "tensors in memory",
        "tensors in memory, a process a core",
        "this project",
        "this project, bfloat16",
        "this project, 10 vectorized",
    ]
    check(found, "usual loop")
    shares = [float(share) for share in re.findall(r"([\d.]+) %", text)]
    assert len(shares) == len(found)
    peak = float(re.search(rf"GFLOP/s: float32 {SPREAD}", text)[1])
    operations = float(re.search(r"step: ([\d.]+) million an image", text)[1])
    assert operations == pytest.approx(6 * 416_520 / 1e6, abs=0.01)  # by hand, from the layers
    for share, (rate, _) in zip(shares, found.values(), strict=True):
        # 2 x 1e4: millions of operations to a thousandth of GFLOP/s, in percent.
        assert share == pytest.approx(rate[0] * operations / peak / 10, rel=0.05, abs=0.1)
    accuracies = [
        float(value) for value in re.findall(r"%\s+([\d.]+) ± \S+ \(n = (?:1|10)\)", text)
    ]
    assert len(accuracies) == len(found)
    # Few steps, but the same weights at the start and the same kind of steps.
    assert all(0.05 < accuracy < 0.95 for accuracy in accuracies)


def test_training_says_which_data_are_missing(benchmarks, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("sys.argv", ["training.py", "--data-root", str(tmp_path)])
    with pytest.raises(SystemExit) as found:
        benchmarks("training").main()
    assert found.value.code == 2
    assert "FashionMNIST is not complete" in capsys.readouterr().err


@pytest.mark.slow
def test_growth_prints_costs_and_exponents():
    text = output(
        "growth",
        *("--replicates", 1, 2, "--scales", 1, 2, "--images", 128),
        *("--architectures", "mlp", "cnn", "--networks", 20, 40, "--test-images", 100),
    )
    # Two series of replicates, one each of images, networks and measuring.
    assert text.count("processor s") == 5
    costs = re.findall(r"^(.+?)\s\s+([\d.]+)\s+(\d+)$", text, re.MULTILINE)
    assert len(costs) == 5 * 2
    for setting, seconds, memory in costs:
        assert float(seconds) >= 0, setting
        assert 20 < int(memory) < 20_000, setting
    for what in ("seconds", "memory"):
        verdicts = re.findall(
            rf"growth of {what}: exponent (-?[\d.]+), at the largest (-?[\d.]+): (.+)", text
        )
        assert len(verdicts) == 5
        for whole, last, verdict in verdicts:
            linear = max(float(whole), float(last)) <= 1.1
            assert verdict == ("at most linear" if linear else "MORE THAN LINEAR")


@pytest.mark.slow
def test_rounds_prints_both_ways():
    text = output("rounds", "--images", 256, "--repeats", 1)
    assert "17 rounds of an epoch, 256 images" in text
    found = rates(text, "way")
    assert list(found) == ["without rounds", "in rounds"]
    check(found, "without rounds")


@pytest.mark.slow
def test_quantization_prints_every_way_beside_the_plain_module():
    text = output("quantization", "--network", "mlp", "--images", 300, "--repeats", 1)
    found = rates(text, "way")
    quantized = ["int8_static", "int8_dynamic", "int8_weights"]
    assert list(found) == ["plain module", "as dense networks are evaluated", *quantized]
    check(found, "plain module")


@pytest.mark.slow
def test_channels_prints_networks_without_some_beside_the_masked_one():
    text = output("channels", "--network", "mlp", "--images", 300, "--repeats", 1)
    found = rates(text, "way")
    assert list(found) == ["masked", *(f"smaller, ratio {ratio}" for ratio in (2, 4, 10))]
    check(found, "masked")
    assert re.search(rf"built and compared in {SPREAD} ms", text)


def test_growth_finds_exponents(benchmarks):
    growth = benchmarks("growth")
    assert growth.exponents([1, 4, 16], [3, 12, 48]) == pytest.approx((1, 1))
    whole, last = growth.exponents([1, 10, 100], [1, 1, 100])
    assert whole == pytest.approx(1)
    assert last == pytest.approx(2)


@pytest.mark.slow
def test_gpu_tries_on_a_cpu_what_needs_no_gpu():
    text = output(
        "gpu",
        *("--device", "cpu", "--replicates", 2, "--images", 32, "--steps", 1, "--repeats", 1),
        *("--alone", 1, "--processes", 1, "--streams", 1, 2),
    )
    assert "random images" in text
    (left_out,) = re.findall("^left out, for want of a GPU: (.*)$", text, re.MULTILINE)
    kinds = [f"fused, {count} at once" for count in (60, 30, 10, 1)]
    kinds += ["captured steps, one after another", "captured steps, 2 streams"]
    precisions = ("bfloat16", "float32")
    assert left_out.split("; ") == [f"{kind}, {p}" for kind in kinds for p in precisions]
    found = rates(text, "way")
    kinds = ("2 at once", "one after another", "1 processes")
    ways = [f"engine, {kind}, {p}" for kind in kinds for p in precisions]
    assert list(found) == ["usual loop", *ways]
    check(found, "usual loop")
    for way, (rate, _) in found.items():
        assert f"\n{way}: {rate[0]:.0f} images a second\n" in text


@pytest.mark.slow
def test_gpu_compares_precisions_and_ends_in_time(tmp_path):
    """Slopes of so few images say nothing; the paired differences are of the means beside them."""
    random = np.random.default_rng(0)
    labels = np.arange(80) % 2
    pixels = random.integers(0, 256, (80, 8, 8, 3), dtype=np.uint8)
    np.savez(tmp_path / "few.npz", images=pixels, labels=labels)
    text = output(
        "gpu",
        *("--device", "cpu", "--replicates", 4, "--images", 32, "--steps", 1, "--repeats", 2),
        *("--alone", 1, "--processes", 1, "--streams", 1, "--epochs", 1, "--block", 2),
        *("--seconds", 1, "--arrays", tmp_path / "few.npz"),
    )
    measured = re.findall(r"^(.+): \d+ images a second$", text, re.MULTILINE)
    (missing,) = re.findall("^left out, for want of time: (.*)$", text, re.MULTILINE)
    assert measured[0] == "usual loop"
    assert measured.count("usual loop") == 1
    assert "engine, 1 processes, float32" in missing.split("; ")
    assert re.search(r"no time for seeds 2 and after, \d+ s for each 2", text)
    assert text.count("n = 2:") == 1
    compared = re.findall(
        r"(\w+) of (\w+), (\w+): bfloat16 ([\d.-]+), float32 ([\d.-]+), difference ([+-][\d.]+) "
        r"\(([+-][\d.]+)\.\.([+-][\d.]+)\)",
        text,
    )
    assert {("accuracy", "dense", "dense"), ("accuracy", "magnitude", "retrained")} <= {
        row[:3] for row in compared
    }
    for *_, half, single, difference, low, high in compared:
        assert float(half) - float(single) == pytest.approx(float(difference), abs=1.01e-4)
        assert float(low) <= float(difference) <= float(high)


def test_gpu_says_that_there_is_none(benchmarks, monkeypatch, capsys):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("sys.argv", ["gpu.py"])
    with pytest.raises(SystemExit) as found:
        benchmarks("gpu").main()
    assert found.value.code == 2
    said = capsys.readouterr()
    assert said.out + said.err == (
        "there is no GPU here; --device cpu tries the parts that need none\n"
    )


@pytest.fixture
def replicates(benchmarks, tmp_path, monkeypatch):
    """The module, small data and two replicates; batches are of 16, the last of an epoch of 8."""
    gpu = benchmarks("gpu")
    monkeypatch.setattr(gpu.setting, "BATCH", 16)
    found = prepared(tmp_path / "data.safetensors", train=64, channels=3, size=8)
    assert len(found.fit_index) % 16 == 8
    return gpu, found, gpu.runs(gpu.build(found, "cpu"), (3, 4))


def test_the_step_that_is_captured_is_the_engine_s(replicates):
    gpu, found, runs = replicates
    images = gpu.on_device(found, "cpu")
    expected = list(fit_runs(gpu.build(found, "cpu"), images, gpu.recipe(1), runs))
    captured = importlib.import_module("captured")
    replicate = captured.Replicate(gpu.build(found, "cpu"), images.fit, "float32")
    for own, fitted in zip(runs, expected, strict=True):  # one after the other in one module
        replicate.begin(own.state)
        captured.epoch([replicate], [own.seed])
        loss = float(replicate.total) / len(images.fit)
        assert loss == pytest.approx(fitted.history[0]["training_loss"], rel=1e-4)
        for name, value in fitted.state.items():
            found_value = replicate.stack.tensors[name][0]
            torch.testing.assert_close(found_value, value, rtol=1e-3, atol=1e-4)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_captured_steps_do_what_the_others_do(replicates):
    gpu, found, runs = replicates
    captured = importlib.import_module("captured")
    images = gpu.on_device(found, "cuda").fit
    states = []
    for capture in (False, True):
        pair = [captured.Replicate(gpu.build(found, "cuda"), images, "float32") for _ in runs]
        if capture:
            for replicate in pair:
                replicate.capture()
        for replicate, own in zip(pair, runs, strict=True):
            replicate.begin(own.state)
        torch.cuda.synchronize()
        captured.epoch(pair, [own.seed for own in runs])
        torch.cuda.synchronize()
        states.append(
            [
                {name: value[0] for name, value in replicate.stack.tensors.items()}
                for replicate in pair
            ]
        )
    for eager, replayed in zip(*states, strict=True):
        for name, value in eager.items():
            torch.testing.assert_close(replayed[name], value, rtol=1e-2, atol=1e-2)


def test_encoded_images_become_the_folder_that_they_were(benchmarks, tmp_path):
    encoded_folder = benchmarks("encoded_folder")
    files = [Image.new("RGB", (8, 8), (value, 0, 0)) for value in range(0, 250, 50)]
    streams = []
    for image in files:
        stream = io.BytesIO()
        image.save(stream, format="JPEG")
        streams.append(stream.getvalue())
    parts = {}
    for part, chosen in (("train", streams[:4]), ("test", streams[3:])):
        parts[f"{part}_bytes"] = np.frombuffer(b"".join(chosen), np.uint8)
        parts[f"{part}_offsets"] = np.cumsum([0, *map(len, chosen)])
        parts[f"{part}_labels"] = np.arange(len(chosen)) % 2
    np.savez(tmp_path / "encoded.npz", label_names=["cat", "dog"], **parts)
    counts = encoded_folder.write(tmp_path / "encoded.npz", tmp_path / "pets", 3)
    assert counts == {"train": 3, "test": 2}
    assert (tmp_path / "pets/train/cat/00002.jpg").read_bytes() == streams[2]
    assert (tmp_path / "pets/test/dog/00001.jpg").read_bytes() == streams[4]
    assert describe("folder", path=str(tmp_path / "pets")) == Shape(3, 8, 2)


@pytest.mark.slow
def test_study_prints_its_time_and_its_jobs(benchmarks, monkeypatch, capsys, tmp_path):
    """Its commands cost no imports here; what they would take is not asserted."""
    monkeypatch.setenv("PATH", commands(), prepend=os.pathsep)
    study = benchmarks("study")
    study.copy(REPOSITORY, tmp_path)
    # Every rule, in few jobs.
    test = tmp_path / "config/studies/test.yaml"
    jobs = "  replicates: 3\n  ratios: 3\n  bundles: {both: [magnitude, control]}\n"
    test.write_text(test.read_text().replace("  replicates: 2\n", jobs))
    monkeypatch.setattr(study, "REPOSITORY", tmp_path)
    options = ("--study", "test", "--repeats", "1", "--cores", "2")
    monkeypatch.setattr("sys.argv", ["study.py", *options])
    study.main()
    text = capsys.readouterr().out
    assert "cores of" in text.splitlines()[0]
    assert torch.__version__ in text.splitlines()[0]
    found = rates(text, "version")
    assert list(found) == ["this version"]
    check(found, "this version")
    table = text.split("rule, this version")[1]
    jobs = {line.split()[0]: line.split()[1] for line in table.splitlines()[1:]}
    assert jobs.keys() >= {"train", "compress", "fit", "report"}
    assert all(int(count) > 0 for count in jobs.values())


def test_study_refuses_what_is_no_checkout(tmp_path):
    command = [sys.executable, BENCHMARKS / "study.py", "--beside", tmp_path]
    found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert found.returncode == 2
    assert f"{tmp_path} is no checkout of this project" in found.stderr


@pytest.mark.slow
def test_load_prints_every_step_of_every_study_and_its_growth(benchmarks, monkeypatch, capsys):
    """One fitter says enough of what both do, and the processes share what they import."""
    load = benchmarks("load")
    monkeypatch.setattr(load, "FITTERS", ("statsmodels",))
    context = multiprocessing.get_context("forkserver")
    jobs = [f"recall_distortion.inference.jobs.{job}" for job in ("estimate", "fit", "summarize")]
    pages = [f"recall_distortion.report.{name}" for name in ("page", "figures", "figures.alpha")]
    context.set_forkserver_preload(["inference", "statsmodels.api", *jobs, *pages])
    monkeypatch.setattr(load, "get_context", lambda _: context)
    options = ("--many", 72, "--few", 36, "--classes", 4, 6, "--seeds", 3, 3, "--images", 20)
    monkeypatch.setattr("sys.argv", ["load.py", *map(str, options)])
    load.main()
    text = capsys.readouterr().out
    steps = ["measure", "estimate", "fit statsmodels"]
    steps += ["compare_fits", "summarize", "figures", "report"]
    costs = re.findall(r"^(\w+(?: \w+)?)\s\s+([\d.]+)\s+(\d+)$", text, re.MULTILINE)
    assert [step for step, _, _ in costs] == 3 * steps
    for step, seconds, memory in costs:
        assert float(seconds) > 0, step
        assert 20 < int(memory) < 20_000, step
    assert re.findall(r"^(\d+ networks x \d+ classes \(\d panels\))", text, re.MULTILINE) == [
        "36 networks x 4 classes (1 panels)",
        "72 networks x 4 classes (2 panels)",
        "36 networks x 6 classes (1 panels)",
    ]
    exponents = re.findall(r"^(\w+(?: \w+)?)\s+-?\d+\.\d\d\s+-?\d+\.\d\d$", text, re.MULTILINE)
    assert exponents == steps
    assert len(re.findall(r"report.html: [\d.]+ MB; recall.csv: [\d.]+ MB", text)) == 3


@pytest.mark.slow
def test_audit_prints_its_time_beside_that_of_imports():
    text = output("audit", "--repeats", 1, "--largest", 10_000)
    settings = ("answers", "scores")
    rows = re.findall(
        rf"^10,000 images x 10 classes, 1 x (\w+)\s+{SPREAD}\s+{SPREAD}\s+(\d+)$",
        text,
        re.MULTILINE,
    )
    assert tuple(row[0] for row in rows) == settings
    for _, seconds, *_, imports, _, _, memory in rows:
        assert float(seconds) > 0
        assert float(imports) > 0
        assert 50 < int(memory) < 20_000


@pytest.mark.slow
def test_populations_prints_time_and_memory():
    text = output("populations", "--repeats", 1, "--only", 9, 500, 7)
    (row,) = re.findall(rf"^9 networks x 500 images x 7 classes\s+{SPREAD}\s+([\d.]+)$", text, re.M)
    assert float(row[0]) >= 0
    assert 0.02 < float(row[3]) < 5


@pytest.mark.slow
def test_steps_prints_a_time_and_a_rate_for_every_setting():
    text = output(
        "steps",
        *("--only", "mlp", "--at-once", 1, 3, "--precision", "float32", "bfloat16"),
        *("--seconds", 0.01, "--repeats", 1),
    )
    rows = re.findall(r"^mlp, (8|28) × \d+, batch 64, (\w+)\s+(.*)$", text, re.MULTILINE)
    assert [row[:2] for row in rows] == [
        (side, precision) for side in ("8", "28") for precision in ("float32", "bfloat16")
    ]
    for *_, cells in rows:
        found = re.findall(r"(\d+) \(([\d,]+)\)", cells)
        assert len(found) == 2
        for microseconds, rate in found:
            # 64 images a network's step, whatever the number of networks; both numbers are whole.
            rounded = float(rate.replace(",", ""))
            expected = 64e6 / rounded
            assert float(microseconds) == pytest.approx(
                expected, abs=0.6 + 0.5 * expected / rounded
            )
