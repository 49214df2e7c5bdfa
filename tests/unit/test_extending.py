"""docs/extending.md, walked: what it says to write, written into a copy of the package, works.

Each walk edits no more files than its section names, and runs what a user would do next.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from core_helpers import REPOSITORY

pytestmark = pytest.mark.slow  # a process each, most of which import torch

PACKAGE = "src/recall_distortion"
# A study's jobs in a folder, from data to predictions: `method` prunes mlp on digits at ratio 4.
STUDY = """
from pathlib import Path
from recall_distortion.compression.blocks import Paths, compress_block
from recall_distortion.compression.files import load_compressed
from recall_distortion.compression.methods import CompressionPlan
from recall_distortion.data.preparing import prepare
from recall_distortion.study import Study
from recall_distortion.training import TrainingPlan, read, train_block

def run(source="digits", architecture="mlp", **method):
    recipe = {"phases": [{"epochs": 2, "learning_rate": 0.05}], "batch_size": 32}
    study = Study.model_validate({
        "description": "Walked.", "seeds": 1, "datasets": {"data": {"source": source}},
        "recipes": {"plain": {"training": recipe, "finetuning": recipe}},
        "methods": {"mine": {"criterion": "magnitude", **method}},
        "panels": [{"dataset": "data", "architectures": [architecture], "methods": ["mine"]}],
        "ratios": [4], "count": "prunable",
    })
    (network,) = study.networks()
    given = study.datasets["data"].preparation()
    prepare(given.pop("source"), "data", data_root="", **given)
    plan = read(TrainingPlan, study.training_parameters(network.panel), "training")
    train_block("data", "dense", "dense.csv", plan, architecture=architecture, seeds=[0])
    plan = read(
        CompressionPlan, study.compression_parameters(network.panel, "mine"), "compression"
    )
    paths = Paths("data", "dense", "compressed", "sparsity.csv", "history.csv")
    compress_block(paths, plan, panel=network.panel, ratios={"mine": ["4"]})
    (found,) = load_compressed("compressed")
    return study, found
"""


class Walk:
    """A copy of the package in a folder, and which of its files were edited."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.edited: set[str] = set()
        shutil.copytree(
            REPOSITORY / PACKAGE, folder / PACKAGE, ignore=shutil.ignore_patterns("*.nb[ci]*")
        )

    def add(self, path: str, text: str) -> None:
        """Write a new file of the package."""
        assert not (self.folder / PACKAGE / path).exists()
        (self.folder / PACKAGE / path).write_text(text)
        self.edited.add(path)

    def insert(self, path: str, before: str, text: str) -> None:
        """Write a text before another that stands once in a file."""
        file = self.folder / PACKAGE / path
        old = file.read_text()
        assert old.count(before) == 1, (path, before)
        file.write_text(old.replace(before, text + before))
        self.edited.add(path)

    def run(self, script: str) -> str:
        """Return what a script prints that imports the copy."""
        environment = {**os.environ, "PYTHONPATH": str(self.folder / "src")}
        found = subprocess.run(
            [sys.executable, "-c", script], cwd=self.folder, env=environment,
            capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert found.returncode == 0, found.stdout[-2000:] + found.stderr[-4000:]
        return found.stdout


@pytest.fixture
def walk(tmp_path: Path) -> Walk:
    return Walk(tmp_path)


def section_of(title: str) -> str:
    """Return a section of the document."""
    text = (REPOSITORY / "docs/extending.md").read_text("utf-8")
    parts = re.split(r"^## ", text, flags=re.MULTILINE)
    (found,) = (part for part in parts if part.startswith(f"{title}\n"))
    return found


def named_in(section: str) -> set[str]:
    """Return the files and folders of the package that a section of the document names."""
    folders = "scores|schedules|sources|of_networks"
    found = section_of(section)
    return set(re.findall(rf"`(?:{PACKAGE}/)?([\w/]+(?:\.py|/|{folders}))`", found))


def follows(walk: Walk, section: str) -> bool:
    """Return whether what was edited is what the section names, in three files at most."""
    named = {name.rstrip("/") for name in named_in(section)}
    return len(walk.edited) <= 3 and all(
        path in named or str(Path(path).parent) in named for path in walk.edited
    )


def test_a_criterion(walk: Walk) -> None:
    walk.add(
        "compression/pruning/scores/largest.py",
        "def score(weight, gradient=None, *, epsilon, generator):\n    return -weight.abs()\n",
    )
    walk.insert(
        "compression/facts.py", "        Criterion(\n            \"magnitude\",",
        'Criterion("largest", "−|θ|", "The largest weights go.", "here"),\n',
    )  # fmt: skip
    assert follows(walk, "A criterion")
    walk.run(
        STUDY
        + """
from recall_distortion.report.definitions import definitions
study, found = run(criterion="largest")
from recall_distortion.training.replicates import load_block
state = load_block("dense").state(0)
kept = [state[name][mask[0]].abs() for name, mask in found.masks.items()]
gone = [state[name][~mask[0]].abs() for name, mask in found.masks.items()]
assert max(part.max() for part in kept) <= min(part.min() for part in gone)
mine, *_ = definitions(study.facts(), ["mine"])
assert mine.formula == "−|θ|" and "The largest weights go." in mine.sentence
"""
    )


def test_a_schedule(walk: Walk) -> None:
    walk.add(
        "compression/schedules/twice.py",
        "from recall_distortion.compression.schedules import Round\n\n"
        "def chains(fractions):\n"
        "    return [(Round((1 + f) / 2, ratio, asked=False), Round(f, ratio))\n"
        "            for ratio, f in fractions.items()]\n",
    )
    walk.insert(
        "compression/facts.py", '        Schedule("one_shot"',
        '        Schedule("twice", "pruned in two rounds, each fine-tuned"),\n',
    )  # fmt: skip
    assert follows(walk, "A schedule")
    walk.run(
        STUDY
        + """
import pandas
study, found = run(schedule="twice")
history = pandas.read_csv("history.csv")
assert list(history["epoch"]) == [1, 2, 3, 4]  # two epochs a round
rows = pandas.read_csv("sparsity.csv")
assert abs(rows["realised_ratio"][0] - 4) < 0.01
assert study.facts()["methods"]["mine"]["schedule"] == "twice"
"""
    )


def test_a_network(walk: Walk) -> None:
    walk.add(
        "networks/linear.py",
        """
from torch import nn

class Linear(nn.Module):
    kaiming_normal = False

    def __init__(self, channels, classes):
        super().__init__()
        self.hidden = nn.Linear(64 * channels, 24)
        self.classifier = nn.Linear(24, classes)

    def forward(self, images):
        return self.classifier(self.hidden(images.flatten(1)))

NETWORKS = {"linear": Linear}
""",
    )
    walk.insert(
        "networks/plans.py", '    "mlp": Architecture(',
        '    "linear": Architecture("linear", 2, 8, lambda channels, classes, image: ['
        'linear("hidden", 64 * channels, Group("hidden", 24)), '
        'linear("classifier", Group("hidden", 24), classes, prunable=False)]),\n',
    )  # fmt: skip
    assert follows(walk, "A network")
    walk.run(
        STUDY
        + """
from recall_distortion import networks
from recall_distortion.networks.plans import parameter_counts
built = networks.counts(networks.build("linear", channels=1, classes=10))
assert built == parameter_counts("linear", 1, 10)
study, found = run(architecture="linear")
assert found.seeds == [0] and list(found.masks) == ["hidden.weight"]
assert study.series() == {"linear": ("linear", 2)}
study, found = run(architecture="linear", criterion="l1_norm", unit="channel")
assert found.masks["hidden.bias"].sum() < 24
"""
    )


def test_a_data_source(walk: Walk) -> None:
    walk.add(
        "data/sources/stripes.py",
        """
import numpy as np
from recall_distortion.data.images import RawData, Source, check_class_names, check_labels
from recall_distortion.data.prepared import Shape

def read(place):
    labels = np.arange(200) % 2
    images = np.zeros((200, 1, 8, 8), np.uint8)
    images[labels == 0, :, ::2] = 200
    images[labels == 1, :, :, ::2] = 200
    images[:, 0, 0, 0] = np.arange(200)
    names = check_class_names(("across", "down"), "stripes")
    labels = check_labels(labels, len(images), len(names), "stripes")
    return RawData(images, labels, None, None, names, "sha256:0")

SOURCES = {"stripes": Source("stripes", read, Shape(1, 8, 2), has_test_set=False)}
""",
    )
    assert follows(walk, "A data source")
    walk.run(
        STUDY
        + """
from recall_distortion.data import load
study, found = run(source="stripes")
assert load("data").class_names == ("across", "down")
assert study.source_modules("data") == ["recall_distortion.data.sources.stripes"]
"""
    )


def test_a_measure(walk: Walk) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", section_of("A measure"), re.DOTALL)
    walk.add("measures/of_networks/silent_classes.py", example)
    assert follows(walk, "A measure")
    assert len(walk.edited) == 1
    shutil.copytree(REPOSITORY / "docs", walk.folder / "docs")
    walk.run("""
import subprocess, sys
import numpy as np, pandas as pd
from recall_distortion.inference.jobs.estimate import write_estimates
from recall_distortion.inference.jobs.measure import write_measures
from recall_distortion.report.html_tables import listing
from recall_distortion.tables.predictions import Predictions, Trained, write_predictions
from recall_distortion.tables.views import spread
from recall_distortion.vocabulary import Panel

rng = np.random.default_rng(0)
labels = np.arange(90) % 3
cells = [("dense", "1", "dense"), ("control", "1", "retrained"), ("mine", "2", "retrained")]
parts = [
    Predictions(Panel("data", "mlp", "plain"), *cell, [0, 1, 2, 3], ["a", "b", "c"], labels,
                rng.integers(0, 2 if cell[0] == "mine" else 3, (4, 90)), {Trained(): 4})
    for cell in cells
]
write_predictions("predictions", parts)
write_measures(["predictions"], [], "recall.csv", "networks.csv")
outputs = {name: f"{name}.csv" for name in ("estimates", "tests", "published")}
write_estimates("recall.csv", "networks.csv", outputs, architectures={"mlp": ("mlp", 2)})
rows = pd.read_csv("estimates.csv").query("quantity == 'silent classes' and method == 'mine'")
assert rows[["against", "estimate"]].fillna("").values.tolist() == [
    ["", 1.0], ["dense", 1.0], ["control", 1.0]
]
estimates = pd.read_csv("estimates.csv").astype({"class": str})
page = listing("measures", spread("measures", estimates.fillna({"note": "", "against": ""})))
assert "silent classes" in str(page) and "Silent classes: How many classes" in page.note
subprocess.run([sys.executable, "docs/tables.py"], check=True)
said = "- `silent_classes`, silent classes: How many classes the network never names. Source: here."
assert said in open("docs/tables.md").read()
""")


def test_a_question(walk: Walk) -> None:
    walk.add(
        "inference/questions/scatter.py",
        """
from recall_distortion.inference.questions.slopes import compared
from recall_distortion.vocabulary import CELL_STATE

def scatter(networks):
    cells = compared(networks).groupby(CELL_STATE, sort=False)["alpha"]
    return cells.agg(n="size", sd="std").reset_index()
""",
    )
    walk.insert(
        "tables/views.py", '    "slopes": View(',
        '    "scatter": View([Part("standard deviation of alpha", COUNT, alone("sd"))]),\n',
    )  # fmt: skip
    walk.insert("inference/estimates.py", "    seeds_needed,\n", "    scatter,\n")
    walk.insert(
        "inference/estimates.py", '        "slopes": of_slopes,\n',
        '        "scatter": scatter.scatter(networks),\n',
    )  # fmt: skip
    assert follows(walk, "A question")
    walk.run("""
from recall_distortion.inference.estimates import answers, estimates
from recall_distortion.simulation.design import Cell, Design
from recall_distortion.simulation.tables import study
tables = study(Design((Cell("magnitude", 2.0, 0.9),), seeds=6, images=50), 1)
networks = tables["networks"]
rows = estimates(answers(tables["recall"], networks))
rows = rows[(rows["quantity"] == "standard deviation of alpha") & (rows["method"] == "magnitude")]
own = networks.loc[networks["method"] == "magnitude", "alpha"]
assert rows["estimate"].tolist() == [own.std()]
""")


def test_every_section_that_is_walked_is_there() -> None:
    sections: Mapping[str, str] = {
        "A criterion": "compression/facts.py",
        "A schedule": "compression/facts.py",
        "A network": "networks/plans.py",
        "A data source": "data/images.py",
        "A measure": "measures/measure.py",
        "A question": "tables/views.py",
    }
    for section, file in sections.items():
        assert file in named_in(section), section
