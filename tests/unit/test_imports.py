"""Each room imports only from those before it in its line (DESIGN, the flow); read from the source.

A room is a folder or file of the package. What a file imports counts at any depth of its code.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest
from core_helpers import REPOSITORY

SOURCE = REPOSITORY / "src"
PACKAGE = SOURCE / "recall_distortion"

BASE = ["vocabulary", "system", "tables"]
COMPUTES = [
    *BASE,
    "networks",
    "data",
    "study",
    "fast",
    "training",
    "compression",
    "evaluation",
]
READS = [*BASE, "measures", "inference", "report", "auditing"]
# Joins a study and its data for the workflow, and says what inference will not answer of it; does
# a study's jobs without a workflow; what invents studies of known truth; the command
# `recall-distortion`, which only itself may need.
APART = {
    "configuration": {*BASE, "data", "study", "inference"},
    "run": {*COMPUTES, "configuration"},
    "simulation": {*BASE, "measures", "inference", "auditing"},
    "command": {*READS, "simulation", "run"},
}
# Facts without torch, which lie before the study though their rooms do not. The page, too, reads
# what a criterion is.
FACTS = {
    "study": {
        "networks.definition",
        "networks.parameters",
        "networks.plans",
        "networks.structure",
        "compression.channel_ratios",
        "compression.controls",
        "compression.event_facts",
        "compression.facts",
        "compression.formats",
        "compression.ratios",
        "compression.spans",
    },
    "report": {
        "compression.controls",
        "compression.event_facts",
        "compression.facts",
        "compression.formats",
    },
}

TORCH = {"networks", "fast", "training", "compression", "evaluation"}
TORCH_OF_RUN = {"run.work", "run.duration"}
NO_TORCH = FACTS["study"]
TORCH_IN_FUNCTIONS = {"system.processor", "system.gpu"} | {
    f"data.sources._torchvision_{part}" for part in ("files", "read")
}
# What is installed with the package alone reads predictions: these of its modules use nothing else.
WITHOUT_EXTRAS = {*READS, "simulation", "command", ""}
# The names by which packages are imported where they differ from those they are installed by.
IMPORTED_AS = {"pillow": "PIL", "pyyaml": "yaml", "scikit-learn": "sklearn"}
# Imported within functions, which say what is missing where it is.
BY_EXTRA = {
    "mixed-models": {"inference.mixed.fitters.pymer4", "inference.mixed.fitters.r_packages"},
}
# Comes with torch where that computes on a GPU, and is asked for there alone.
WITH_TORCH = {"fast.gpu"} | {
    f"fast.gpu.{name}" for name in ("batches", "convolution", "normalization", "units")
}
# Editing a column or how a table is written must rerun no job that computes networks.
JOBS = {*TORCH, "data"}
TABLES_OF_JOBS = {"tables.schema", "tables.files"}

# What stands apart and is started by others; nothing starts the command.
STARTS = {("command", "simulation"), ("command", "run"), ("run", "configuration")}

LOADS_BY_NAME = {
    "compression.blocks",
    "compression.pruning.channels",
    "compression.pruning.criteria",
    "compression.pruning.units",
    "compression.schedules",
    "data",
    "data.sources",
    "evaluation.predictions",
    "fast.cpu",
    "fast.gpu",
    "measures.of_networks",
    "networks.own",
    "networks.registry",
}

LONGEST_FILE = 400
LONGEST_FUNCTION = 60
# Numba compiles each of these as a whole.
COMPILED = {"fast/cpu/extremes.py", "fast/cpu/kernels.py"}


@cache
def modules() -> Mapping[str, Path]:
    """Return the file of each module by its dotted name, the package's own being ``""``."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def room(module: str) -> str:
    """Return the room that a module is in."""
    return module.partition(".")[0]


@cache
def tree(path: Path) -> ast.Module:
    """Return what a source file says."""
    return ast.parse(path.read_text(encoding="utf-8"))


def names(node: ast.AST) -> Iterator[str]:
    """Yield the dotted names that a piece of code imports."""
    for part in ast.walk(node):
        if isinstance(part, ast.Import):
            yield from (alias.name for alias in part.names)
        elif isinstance(part, ast.ImportFrom):
            assert part.level == 0, "a relative import"
            yield from (f"{part.module}.{alias.name}" for alias in part.names)


@cache
def of_package(module: str) -> frozenset[str]:
    """Return the package's modules that a module imports, itself and the package's own left out."""
    found = set()
    for name in names(tree(modules()[module])):
        if name.startswith(f"{PACKAGE.name}."):
            inner = name.removeprefix(f"{PACKAGE.name}.")
            found.add(inner if inner in modules() else inner.rpartition(".")[0])
    return frozenset(found - {"", module})


def foreign(node: ast.AST) -> set[str]:
    """Return the top-level packages that a piece of code imports."""
    return {name.partition(".")[0] for name in names(node)}


def before(module: str, used: str) -> bool:
    """Return whether what a module uses lies before it."""
    name = room(module)
    if room(used) == name or used in FACTS.get(name, ()):
        return True
    if module in NO_TORCH:
        return used in NO_TORCH or room(used) in ("vocabulary", "system")
    if name in APART:
        return room(used) in APART[name]
    return any(room(used) in line[: line.index(name)] for line in (COMPUTES, READS) if name in line)


def test_every_module_has_its_place():
    assert {room(module) for module in modules() if module} == {*COMPUTES, *READS, *APART}


def test_no_module_imports_a_later_one():
    wrong = [
        f"{module} imports {used}"
        for module in modules()
        for used in of_package(module)
        if module and not before(module, used)
    ]
    assert not wrong


@pytest.mark.slow
def test_the_package_itself_imports_nothing_before_it_is_asked():
    """What a name needs is imported with it: torch for networks, and nothing of it for a slope."""
    check = (
        "import sys, recall_distortion as rd\n"
        "assert set(dir(rd)) >= {'recall_table', 'slope', 'study', 'networks', 'compression'}\n"
        "assert [name for name in sys.modules if name.startswith('recall_distortion.')] == []\n"
        "assert rd.slope([-0.5, 0.25, 0.25], [-0.75, 0.375, 0.375]) == 1.5\n"
        "assert rd.study.load and 'torch' not in sys.modules\n"
        "assert rd.networks.build('mlp', channels=1, classes=10) and 'torch' in sys.modules\n"
    )
    environment = os.environ | {"PYTHONPATH": str(PACKAGE.parent)}
    subprocess.run([sys.executable, "-c", check], env=environment, check=True, timeout=60)


def test_the_second_half_stands_alone():
    """It reads files: predictions, and tables of facts about networks."""
    first = set(COMPUTES) - set(BASE)
    wrong = [
        f"{module} imports {used}"
        for module in modules()
        if room(module) in {*READS, "simulation"} - set(BASE)
        for used in of_package(module)
        if room(used) in first and used not in FACTS.get(room(module), ())
    ]
    assert not wrong


def test_modules_before_data_do_not_use_the_study():
    """Only what asks for jobs reads a study; the steps take plain values."""
    users = {
        room(module)
        for module in modules()
        if module and any(room(used) == "study" for used in of_package(module))
    }
    assert users == {"study", "configuration", "run"}


def test_nobody_imports_what_stands_apart():
    wrong = [
        f"{module} imports {used}"
        for module in modules()
        for used in of_package(module)
        if room(used) in APART
        and room(module) != room(used)
        and (room(module), room(used)) not in STARTS
    ]
    assert not wrong


def test_no_job_that_computes_networks_depends_on_how_tables_are_described():
    """Nor on what a criterion is said to be: a better sentence retrains nothing."""
    wrong = [
        f"{module} imports {used}"
        for module in modules()
        if room(module) in JOBS and module != "compression.facts"
        for used in of_package(module) & {*TABLES_OF_JOBS, "compression.facts"}
    ]
    assert not wrong


def test_torch_is_imported_only_where_weights_are():
    wrong = []
    for module, path in modules().items():
        if module in TORCH_OF_RUN or (room(module) in TORCH and module not in NO_TORCH):
            continue
        code = tree(path)
        if module in TORCH_IN_FUNCTIONS:
            functions = (ast.FunctionDef, ast.AsyncFunctionDef)
            code = ast.Module([part for part in code.body if not isinstance(part, functions)], [])
        if {"torch", "torchvision"} & foreign(code):
            wrong.append(module)
    assert not wrong


def test_what_reads_predictions_uses_no_function_that_imports_torch():
    """Nor through another module: such a function would fail where there is no torch.

    What the command hands over to ``run`` needs the extras.
    """
    wrong = []
    for module in modules():
        if room(module) in WITHOUT_EXTRAS - {"system"}:
            reached, waiting = set(), {module}
            while waiting:
                reached |= waiting
                used = {used for name in waiting for used in of_package(name)}
                waiting = {name for name in used if room(name) != "run"} - reached
            wrong += [f"{module} reaches {name}" for name in TORCH_IN_FUNCTIONS & reached]
    assert not wrong


def test_no_module_imports_by_a_text_that_no_rule_here_could_read():
    """Only the package itself does, for a room that it is asked for, and what loads by name.

    What is loaded so lies in the loader's own room, and is told to ``system.code``.
    """
    wrong = [
        f"{module}, line {node.lineno}"
        for module, path in modules().items()
        if module and module not in LOADS_BY_NAME
        for node in ast.walk(tree(path))
        if (isinstance(node, ast.Attribute) and node.attr == "import_module")
        or (isinstance(node, ast.Name) and node.id in ("__import__", "import_module"))
    ]
    assert not wrong


@cache
def promised(extra: str = "") -> frozenset[str]:
    """Return the names by which to import what pyproject.toml requires, alone or for an extra."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = project["optional-dependencies"][extra] if extra else project["dependencies"]
    found = {re.match(r"[\w-]+", text)[0] for text in wanted}
    return frozenset(IMPORTED_AS.get(name, name) for name in found)


def test_every_module_imports_only_what_is_installed_with_it():
    """What reads predictions needs the dependencies alone, what computes networks `train` too."""
    wrong = []
    for module, path in modules().items():
        allowed = {*sys.stdlib_module_names, PACKAGE.name, *promised()}
        if room(module) not in WITHOUT_EXTRAS or module in TORCH_IN_FUNCTIONS:
            allowed |= promised("train")
        for extra, users in BY_EXTRA.items():
            if module in users:
                allowed |= promised(extra)
        allowed |= {"triton"} if module in WITH_TORCH else set()
        wrong += [f"{module} imports {name}" for name in foreign(tree(path)) - allowed]
    assert not wrong


def test_every_dependency_is_imported_somewhere():
    used = {name for path in modules().values() for name in foreign(tree(path))}
    # Its files of digits are read, without importing it.
    assert promised() | promised("train") <= used | {"sklearn"}


def test_no_module_imports_what_is_private_to_another():
    """``system.code`` takes a private constant for a message by how its own module uses it."""
    wrong = [
        f"{module}, line {node.lineno}: {alias.name}"
        for module, path in modules().items()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE.name)
        for alias in node.names
        if alias.name.startswith("_") and not alias.name.startswith("__")
    ]
    assert not wrong


def test_no_module_imports_itself_by_others():
    """Read from the files, so that imports within functions, which would run late, count, too."""
    done: set[str] = set()
    circles = []

    def follow(module: str, way: tuple[str, ...]) -> None:
        if module in way:
            circles.append(" > ".join((*way[way.index(module) :], module)))
        elif module not in done:
            for used in sorted(of_package(module)):
                follow(used, (*way, module))
            done.add(module)

    for module in modules():
        follow(module, ())
    assert not circles


def lengths(path: Path) -> Iterator[tuple[str, int]]:
    """Yield the name and the number of lines of each function in a source file."""
    for node in ast.walk(tree(path)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1


def test_no_file_and_no_function_is_too_long_to_be_read_at_once():
    wrong = []
    for path in modules().values():
        name = path.relative_to(PACKAGE).as_posix()
        if name in COMPILED:
            continue
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > LONGEST_FILE:
            wrong.append(f"{name}: {lines} lines")
        wrong += [
            f"{name}: {function} has {count} lines"
            for function, count in lengths(path)
            if count > LONGEST_FUNCTION
        ]
    assert not wrong, "\n".join(["too long:", *wrong])


def test_what_only_some_jobs_need_is_imported_by_no_other():
    """Each of these costs every job that imports it about a second or more."""
    check = (
        "import sys\n"
        "import recall_distortion.inference.jobs.measure, recall_distortion.report\n"
        "import recall_distortion.inference.jobs.summarize\n"
        "late = {'matplotlib', 'scipy.stats', 'statsmodels', 'rpy2', 'pymer4'}\n"
        "found = late & set(sys.modules)\n"
        "assert not found, found\n"
    )
    subprocess.run([sys.executable, "-c", check], check=True)


def test_the_package_does_not_know_snakemake():
    wrong = [
        module
        for module, path in modules().items()
        if any(name.startswith("snakemake") for name in foreign(tree(path)))
    ]
    assert not wrong


@pytest.mark.slow
def test_importing_the_second_half_leaves_torch_out():
    """What reads predictions and what reads a study; each module, in one process."""
    rooms = {*READS, *APART, "study"}
    chosen = [
        module
        for module in modules()
        if module
        and (room(module) in rooms or module in NO_TORCH)
        and module not in TORCH_OF_RUN
        and not module.endswith("__main__")
    ]
    late = {"torch", "torchvision", "numba", "llvmlite", "sklearn", "rpy2", "pymer4", "polars"}
    late |= {"snakemake", "dvc"}
    check = (
        "import importlib, sys\n"
        f"for name in {chosen}:\n"
        "    importlib.import_module(f'recall_distortion.{name}')\n"
        f"    found = {late} & set(sys.modules)\n"
        "    assert not found, f'{name} imports {found}'\n"
    )
    environment = os.environ | {"PYTHONPATH": str(SOURCE)}
    done = subprocess.run(
        [sys.executable, "-c", check], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
