"""The wheel: what it says of itself, what is in it, and that it works where it stands alone.

It is built from this checkout without a network. ``twine check`` is no part of the environment;
what it asks for, a description that can be shown, is asked for here.
"""

from __future__ import annotations

import email
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from email.message import Message
from pathlib import Path

import numpy as np
import pytest
import yaml
from core_helpers import REPOSITORY
from test_imports import WITHOUT_EXTRAS, modules, room

from recall_distortion import __version__

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))
PACKAGE = "src/recall_distortion"
# What the extras would bring, by the names it is imported by, and what comes with that.
HIDDEN = [
    *("torch", "torchvision", "numba", "llvmlite", "sklearn", "yaml", "joblib"),
    *("pyarrow", "polars", "formulae", "great_tables", "pymer4", "rpy2", "snakemake", "dvc"),
]
# Python imports it at its start. It is as if these packages were not installed: no module, no spec.
HIDING = f"""
import sys
from importlib.machinery import PathFinder

class Rest(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.partition(".")[0] in {HIDDEN}:
            return None
        return super().find_spec(name, path, target)

sys.meta_path = [Rest if finder is PathFinder else finder for finder in sys.meta_path]
"""
BUILD = "import sys\nfrom setuptools import build_meta\nbuild_meta.build_wheel(sys.argv[1])"
# What the script does that an installer makes of the entry point.
COMMAND = "import sys\nfrom recall_distortion.command import main\nsys.exit(main())"
LABELS = np.repeat([0, 1], 10)
BEFORE = np.array([0] * 9 + [1] * 8 + [0] * 3)
AFTER = np.array([0] * 7 + [1] * 8 + [0] * 5)
# From files of predictions to the page, as a study's jobs do it.
SECOND_LINE = """
import numpy
from pathlib import Path
from recall_distortion.inference.jobs.estimate import write_estimates
from recall_distortion.inference.jobs.fit import write_fits, write_mixed_models
from recall_distortion.inference.jobs.measure import write_measures
from recall_distortion.inference.jobs.summarize import write_summary
from recall_distortion.report import build_report
from recall_distortion.tables.predictions import Predictions, write_predictions
from recall_distortion.vocabulary import Panel

random = numpy.random.default_rng(0)
labels = numpy.arange(3000) % 3
whole = {"panel": Panel("pets", "mine", "own"), "seeds": list(range(8)), "labels": labels,
         "class_names": ["cat", "dog", "eel"], "trained": {}}
def part(method, state, ratio, recalls):
    right = random.random((8, 3000)) < numpy.array(recalls)[labels]
    predicted = numpy.where(right, labels, (labels + 1) % 3)
    return Predictions(method=method, state=state, ratio=ratio, predicted=predicted, **whole)
write_predictions("pets.safetensors", [
    part("dense", "dense", "1", [0.9, 0.8, 0.6]),
    part("control", "retrained", "1", [0.9, 0.8, 0.6]),
    part("magnitude", "retrained", "4", [0.9, 0.8, 0.4])])
tables = Path("tables")
tables.mkdir()
names = ["recall", "networks", "estimates", "tests", "mixed_models", "mixed_model_fits",
         "published", "summary"]
paths = {name: tables / f"{name}.csv" for name in names}
first = (paths["recall"], paths["networks"])
write_measures(["pets.safetensors"], [], *first)
write_estimates(*first, {name: paths[name] for name in ("estimates", "tests", "published")},
                architectures={"mine": ("mine", 1)})
write_fits(*first, [("pets", "mine", "own")], "statsmodels", "one.csv", "two.csv")
write_mixed_models(["one.csv"], ["two.csv"], paths["mixed_models"], paths["mixed_model_fits"])
write_summary(*paths.values())
build_report(tables, Path("report.html"), study={"name": "pets"})
page = Path("report.html").read_text("utf-8")
assert page.count("data:image/webp") > 3, page.count("data:image/webp")
"""


def files() -> list[str]:
    """Return what of this checkout is the project's, as git knows it; new files too.

    Where there is no git, as in an archive, whatever Python and setuptools have not left there.
    """
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    top = ["README.md", "LICENSE", "pyproject.toml"]
    done = subprocess.run(
        [*command, *top, PACKAGE], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    found = done.stdout.splitlines()
    if done.returncode:
        paths = (path.relative_to(REPOSITORY) for path in (REPOSITORY / PACKAGE).rglob("*"))
        found = top + [path.as_posix() for path in paths if "__pycache__" not in path.parts]
    return [name for name in found if (REPOSITORY / name).is_file()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built in a copy: what an earlier build left in this folder must not be in it."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in files():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, source / name)
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(out)], cwd=source, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "Deprecat" not in done.stderr, done.stderr
    (found,) = out.iterdir()
    return found


@pytest.fixture(scope="module")
def unpacked(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which the wheel is unpacked: it holds what site-packages would."""
    folder = tmp_path_factory.mktemp("site-packages")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def metadata(unpacked: Path) -> Message:
    """What an index would show of the wheel."""
    (path,) = unpacked.glob("*.dist-info/METADATA")
    return email.message_from_string(path.read_text("utf-8"))


@pytest.fixture
def alone(unpacked: Path, tmp_path: Path):
    """A function that runs code with words behind it, with the unpacked wheel alone.

    Neither this checkout nor R nor what the extras bring can be found; the working folder is
    ``tmp_path``.
    """
    hiding = tmp_path / "hiding"
    hiding.mkdir()
    (hiding / "sitecustomize.py").write_text(HIDING, encoding="utf-8")
    surroundings = {
        key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "R_"))
    }
    surroundings |= {"PYTHONPATH": os.pathsep.join(map(str, (hiding, unpacked))), "PATH": ""}

    def run(code: str, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", code, *words],
            cwd=tmp_path,
            env=surroundings,
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run


def test_the_wheel_says_what_pyproject_and_the_citation_say(metadata: Message) -> None:
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text("utf-8"))
    project = PROJECT["project"]
    assert metadata["Name"] == "recall-distortion"
    assert metadata["Version"] == citation["version"] == __version__
    assert metadata["Summary"] == project["description"]
    assert metadata["Requires-Python"] == project["requires-python"]
    assert metadata["License-Expression"] == citation["license"]
    assert metadata["License-File"] == "LICENSE"
    assert metadata["Author"] == ", ".join(author["name"] for author in citation["authors"])
    assert metadata["Keywords"].split(",") == citation["keywords"]
    addresses = {line.partition(", ")[2] for line in metadata.get_all("Project-URL")}
    assert addresses == {reference["url"] for reference in citation["references"]}
    classifiers = metadata.get_all("Classifier")
    # An index refuses one beside a license expression.
    assert not [text for text in classifiers if text.startswith("License ::")]
    (versions,) = re.findall(r"\^3\\\.1\[1-(\d)\]", (REPOSITORY / "run").read_text("utf-8"))
    assert {f"Programming Language :: Python :: 3.1{i}" for i in range(1, int(versions) + 1)} == {
        text for text in classifiers if re.search(r"Python :: 3\.\d+$", text)
    }


def test_the_description_can_be_shown(metadata: Message) -> None:
    """Of Markdown everything can; what twine would complain of is a description without a type."""
    assert metadata["Description-Content-Type"] == "text/markdown"
    readme = (REPOSITORY / "README.md").read_text("utf-8")
    assert metadata.get_payload().strip() == readme.strip()


def test_what_computes_networks_is_required_by_extras_alone(metadata: Message) -> None:
    project = PROJECT["project"]
    extras = project["optional-dependencies"]
    assert set(metadata.get_all("Provides-Extra")) == set(extras)
    without = [text for text in metadata.get_all("Requires-Dist") if "extra ==" not in text]
    names = {re.match(r"[\w-]+", text)[0] for text in without}
    assert names == {re.match(r"[\w-]+", text)[0] for text in project["dependencies"]}
    assert not names & {re.match(r"[\w-]+", text)[0] for text in extras["train"]}


def test_everything_of_the_package_is_in_the_wheel_and_nothing_else(unpacked: Path) -> None:
    found = {
        path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*") if path.is_file()
    }
    found = {name for name in found if ".dist-info/" not in name and "__pycache__" not in name}
    assert found == {name.removeprefix("src/") for name in files() if name.startswith(PACKAGE)}


def test_every_pattern_of_package_data_finds_a_file() -> None:
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["recall_distortion"]
    root = REPOSITORY / PACKAGE
    assert not [pattern for pattern in patterns if not next(root.glob(pattern), None)]


def test_the_command_is_the_one_that_is_run_here(unpacked: Path) -> None:
    (path,) = unpacked.glob("*.dist-info/entry_points.txt")
    assert "recall-distortion = recall_distortion.command:main" in path.read_text("utf-8")


def test_without_the_extras_the_wheel_is_found_and_they_are_not(alone, unpacked: Path) -> None:
    """What the other tests rest on; a room that needs more says so."""
    code = f"""
import importlib.util, recall_distortion as rd
assert rd.__file__.startswith({str(unpacked)!r}), rd.__file__
assert not [name for name in {HIDDEN} if importlib.util.find_spec(name)]
try:
    rd.study
except ModuleNotFoundError as error:
    assert "extra 'train'" in str(error), error
else:
    raise AssertionError("a study was read without yaml")
"""
    done = alone(code)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_without_the_extras_the_command_answers(alone, tmp_path: Path) -> None:
    done = alone(COMMAND, "--help")
    assert done.returncode == 0, done.stderr
    assert "slope" in done.stdout
    assert alone(COMMAND, "--version").stdout == f"recall-distortion {__version__}\n"
    assert alone(COMMAND, "simulate", "--help").returncode == 0
    np.save(tmp_path / "labels.npy", LABELS)
    np.savetxt(tmp_path / "before.csv", BEFORE)
    np.save(tmp_path / "after.npy", AFTER)
    done = alone(COMMAND, "slope", "labels.npy", "before.csv", "after.npy", "--classes", "cat,dog")
    assert done.returncode == 0, done.stderr
    assert "slope     1.3333: " in done.stdout
    done = alone(COMMAND, "slope", "labels.npy", "before.csv", "nowhere.npy")
    assert done.returncode == 2
    assert done.stderr == "recall-distortion slope: error: nowhere.npy: there is no such file\n"


def test_without_the_extras_a_slope_is_computed(alone) -> None:
    code = f"""
import recall_distortion as rd
labels, before, after = {LABELS.tolist()}, {BEFORE.tolist()}, {AFTER.tolist()}
tables = [rd.recall_table(labels, found, ["cat", "dog"]) for found in (before, after)]
print(round(rd.slope(*(table["normalized_balance"] for table in tables)), 4))
"""
    done = alone(code)
    assert done.stdout == "1.3333\n", done.stderr


@pytest.mark.slow
def test_without_the_extras_every_module_that_reads_predictions_is_imported(alone) -> None:
    chosen = [name for name in modules() if name and room(name) in WITHOUT_EXTRAS]
    assert len(chosen) > 80
    lines = [f"import recall_distortion.{name}" for name in chosen]
    done = alone("\n".join(lines))
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_without_the_extras_predictions_become_a_page(alone) -> None:
    done = alone(SECOND_LINE)
    assert done.returncode == 0, done.stderr
