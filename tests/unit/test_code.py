"""What code decides a job's numbers: read from the source, and the same as what a job imports."""

from __future__ import annotations

import json
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest
from core_helpers import REPOSITORY

from recall_distortion.data import sources
from recall_distortion.measures import of_networks
from recall_distortion.system.code import deciding, parted, said

SOURCE = REPOSITORY / "src"
SCRIPTS = REPOSITORY / "workflow/scripts"
MLP = ["recall_distortion.networks.mlp", "recall_distortion.fast.cpu.mlp"]
CNN = ["recall_distortion.networks.cnn", "recall_distortion.fast.cpu.cnn"]
RESNET = ["recall_distortion.networks.resnet", "recall_distortion.fast.gpu.resnet"]
SCORES = "recall_distortion.compression.pruning.scores"
UNITS = "recall_distortion.compression.pruning.units"
SCHEDULES = "recall_distortion.compression.schedules"


def words(script: str, *told: str, source: Path = SOURCE) -> dict[str, str]:
    """Return the words of a script's files, its own by its name."""
    found = deciding(SCRIPTS / f"{script}.py", source, told)
    return {name.removeprefix("recall_distortion/"): word for name, word in found.items()}


CODE = '''"""Sums."""

_NONE = "give " "one"
_MARK = "#"
_MADE = str("made")

# Why.
def total(values):
    """Return the sum."""
    if not values:
        raise ValueError(f"no values in {values!r}: " + _NONE + _MADE)  # none
    print("a # sum" + _MARK)
    return sum(values) + len("#") + len(_MARK)

PAGE = """A text.

  Its end."""
'''


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""Sums."""', '"""Sums of values."""'),
        ("# Why.\n", ""),
        ('"""Return the sum."""', '"""Return the sum.\n\n    Of all.\n    """'),
        ("  # none", "  # nothing: # 'é'"),
        ('f"no values in {values!r}: "', '"none "'),
        ('"give " "one"', '"leave it"'),
        ('print("a # sum"', 'print(f"a {1}"'),
        ("    print", "\n\n    print"),
    ],
)
def test_what_only_people_read_changes_nothing(old: str, new: str) -> None:
    assert old in CODE
    assert said(CODE.replace(old, new)) == said(CODE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("sum(values)", "max(values)"),
        ('len("#")', 'len("##")'),
        ('_MARK = "#"', '_MARK = "##"'),
        ('"made"', '"done"'),
        ("ValueError", "TypeError"),
        ("if not values", "if values"),
        ("A text.\n\n  Its end.", "A text.\n\n\n  Its end."),
        ("A text.\n\n  Its end.", "A text. \n\n  Its end."),
        ("A text.\n\n  Its end.", "A text.\n  Its end."),
    ],
)
def test_what_a_computer_reads_does(old: str, new: str) -> None:
    assert old in CODE
    assert said(CODE.replace(old, new)) != said(CODE)


def test_what_is_left_is_the_program_that_the_file_holds() -> None:
    """Every file of the package parses without its comments, docstrings and messages."""
    for path in SOURCE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        left = said(text)
        for name in ("def ", "class "):
            assert left.count(f"\n{name}") <= text.count(f"\n{name}")
            names = [line for line in text.splitlines() if line.startswith(name)]
            assert [line for line in left.splitlines() if line.startswith(name)] == [
                line.partition("  #")[0].rstrip() for line in names
            ]


def test_a_job_depends_on_its_own_network_and_criteria_alone() -> None:
    trained = words("train", *MLP)
    assert {"networks/mlp.py", "networks/registry.py", "training/loop.py"} <= trained.keys()
    assert {"system/processor.py", "data/prepared.py", "vocabulary.py"} <= trained.keys()
    assert not {"networks/cnn.py", "networks/lenet.py", "networks/plans.py"} & trained.keys()
    fast = {name for name in trained if "fast/cpu/" in name and not name.endswith("__init__.py")}
    assert fast == {
        f"fast/cpu/{name}.py"
        for name in ("mlp", "forms", "rectified", "rectifier", "jumpstart", "compiling")
    }
    assert not any(name.startswith(("compression", "tables", "study")) for name in trained)
    assert {"fast/cpu/kernels.py", "fast/cpu/cnn.py"} <= words("train", *CNN).keys()
    kernels = {"fast/gpu/convolution.py", "fast/gpu/batches.py", "fast/gpu/units.py"}
    assert not kernels & words("train", *CNN).keys()
    assert kernels <= words("train", *RESNET).keys()
    compressed = words("compress", *MLP, f"{SCORES}.undecayed")
    own = {name for name in compressed if name.startswith("compression/pruning/scores/")}
    assert own == {
        f"compression/pruning/scores/{name}.py"
        for name in ("__init__", "undecayed", "undecayed_signed")
    }
    assert "compression/facts.py" not in compressed


def test_tables_depend_on_every_measure() -> None:
    """A new one is a column of its own, whichever studies there are."""
    for script in ("measure", "estimate", "report"):
        found = words(script)
        assert {
            f"measures/of_networks/{m.name}.py" for m in pkgutil.iter_modules(of_networks.__path__)
        } <= found.keys()
    assert not any(name.startswith("measures/") for name in words("evaluate", *CNN))


def test_errors_files_logs_and_simulations_decide_nothing() -> None:
    for script in SCRIPTS.glob("*.py"):
        found = words(script.stem, *CNN)
        assert {name for name in found if name.startswith("system/")} <= {
            "system/processor.py",
            "system/sealed.py",
        }
        assert not any(name.startswith("simulation/") for name in found)


def test_a_package_counts_as_far_as_it_is_imported(tmp_path: Path) -> None:
    package = tmp_path / "house"
    for name, text in {
        "__init__.py": "",
        "rooms/__init__.py": "from house.rooms import kitchen\n",
        "rooms/kitchen.py": "def cook():\n    from house import pantry\n",
        "rooms/attic.py": "",
        "shelves/__init__.py": "import pkgutil\nALL = list(pkgutil.iter_modules(__path__))\n",
        "shelves/upper.py": "",
        "pantry.py": "import house.shelves\nif TYPE_CHECKING:\n    import house.rooms.attic\n",
    }.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    script = tmp_path / "script.py"
    script.write_text("with open('x'):\n    from house.rooms.kitchen import cook\n")
    found = {Path(name).name for name in deciding(script, tmp_path)}
    assert found == {"script.py", "__init__.py", "kitchen.py", "pantry.py", "upper.py"}
    assert "house/rooms/attic.py" in deciding(script, tmp_path, ["house.rooms.attic", "house.none"])


def test_an_edit_changes_the_word_of_its_room_alone() -> None:
    before = deciding(SCRIPTS / "train.py", SOURCE, MLP)
    names = parted(before)
    assert {"networks", "training", "vocabulary.py", "train.py"} <= names.keys()
    assert not any("/" in name for name in names)
    for edited in before:
        after = parted(before | {edited: "edited"})
        assert after.keys() == names.keys()
        assert len({name for name in names if names[name] != after[name]}) == 1


# Runs a job's steps and prints what of the package they imported.
JOBS = """
import json, sys
from pathlib import Path
folder = Path(sys.argv[2])
step, recipe = sys.argv[1], {"phases": [{"epochs": 1, "learning_rate": 0.1}], "batch_size": 64,
    "momentum": 0.9, "weight_decay": 5e-4, "augmentation": []}
from recall_distortion.system import processor
data, dense, compressed = (folder / f"{n}.safetensors" for n in ("data", "dense", "compressed"))
if step == "prepare":
    from recall_distortion.data.preparing import prepare
    prepare("digits", data, path=None, data_root="", holdout=0.1, test_fraction=0.8, seed=0)
elif step == "train":
    from recall_distortion.training import TrainingPlan, read, train_block
    plan = read(TrainingPlan, {"recipe": recipe, "selection": "holdout"}, "training")
    train_block(data, dense, folder / "history.csv", plan, architecture="cnn", seeds=[0, 1])
elif step == "compress":
    from recall_distortion.compression.blocks import Paths, compress_block
    from recall_distortion.compression.methods import CompressionPlan
    from recall_distortion.training import read
    from recall_distortion.vocabulary import Panel
    method = {"criterion": "undecayed", "scope": "global", "schedule": "one_shot",
        "epsilon": 0.1, "gradient_examples": 50}
    plan = {"methods": {"control": None, "mine": method}, "count": "prunable", "recipe": recipe,
        "selection": "holdout"}
    paths = Paths(data, dense, compressed, folder / "sparsity.csv", folder / "history.csv")
    compress_block(paths, read(CompressionPlan, plan, "compression"),
        panel=Panel("digits", "cnn", "usual"), ratios={"control": ["1"], "mine": ["2"]})
elif step == "evaluate":
    from recall_distortion.evaluation.predictions import evaluate_block
    from recall_distortion.vocabulary import Panel
    evaluate_block(data, dense, [compressed], folder / "out.safetensors",
        panel=Panel("digits", "cnn", "usual"))
print(json.dumps([name for name in sys.modules if name.startswith("recall_distortion.")]))
"""
SOURCES = "recall_distortion.data.sources"
TOLD = {
    "prepare": [f"{SOURCES}.digits"],
    "train": CNN,
    "compress": [*CNN, f"{SCORES}.undecayed", f"{SCHEDULES}.one_shot", f"{UNITS}.weight"],
    "evaluate": CNN,
}


@pytest.mark.slow
def test_what_jobs_import_is_what_was_read_from_the_source(tmp_path: Path) -> None:
    """So that nothing which is imported by a name goes unseen."""
    environment = os.environ | {"PYTHONPATH": str(SOURCE)}
    for step in ("prepare", "train", "compress", "evaluate"):
        command = [sys.executable, "-c", JOBS, step, str(tmp_path)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        imported = set(json.loads(done.stdout.splitlines()[-1]))
        expected = {
            name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            for name in words(step, *TOLD.get(step, []))
        }
        unseen = {name.removeprefix("recall_distortion.") for name in imported} - expected
        allowed = {name for name in unseen if name.partition(".")[0] == "system"}
        # Facts of everything there is: of networks, and of sources that the job does not read.
        every = {module.name for module in pkgutil.iter_modules(sources.__path__)}
        plans = {"networks.plans", "networks.structure"}
        others = {f"data.sources.{name}" for name in every - {"digits"}}
        assert unseen - allowed <= {*plans, "data.sources", *others}, step
        assert step != "prepare" or "data.sources.digits" in expected
