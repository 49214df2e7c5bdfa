"""Each module imports only from those before it (DESIGN, the flow); read from the source."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

from core_helpers import REPOSITORY

PACKAGE = REPOSITORY / "src" / "recall_distortion"

# configuration joins study and data for the Snakefile, so nothing imports it.
ORDER = [
    "errors",
    "machine",
    "environment",
    "processes",
    "files",
    "checksums",
    "provenance",
    "catalogue",
    "columns",
    "rounding",
    "tables",
    "logs",
    "devices",
    "study",
    "data",
    "configuration",
    "networks",
    "fast",
    "replicates",
    "gpu",
    "processor",
    "training",
    "compression",
    "evaluation",
    "distortion",
    "measurement",
    "inference",
    "report",
]
BASE = {
    "errors",
    "machine",
    "environment",
    "files",
    "checksums",
    "provenance",
    "catalogue",
    "columns",
    "rounding",
    "tables",
    "processes",
    "logs",
}
NO_TORCH = [
    "devices",
    "study",
    "configuration",
    "distortion",
    "measurement",
    "inference",
    "report",
    *BASE,
]
FIRST_HALF = set(ORDER[ORDER.index("devices") : ORDER.index("distortion")])


def imports(path: Path) -> set[str]:
    """Return the dotted names that a source file imports, at any depth of its code."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def sources() -> list[tuple[str, Path]]:
    """Return (top-level module, file) of every source file but the package's own."""
    return [
        (path.relative_to(PACKAGE).parts[0].removesuffix(".py"), path)
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.relative_to(PACKAGE).parts[0] != "__init__.py"
    ]


def of_package(path: Path) -> set[str]:
    """Return the package's top-level modules that a file imports."""
    own = {name.split(".")[1] for name in imports(path) if name.startswith("recall_distortion.")}
    return own - {"__version__"}


def test_every_module_has_its_place():
    assert {name for name, _ in sources()} == set(ORDER)


def test_no_module_imports_a_later_one():
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {used}"
        for name, path in sources()
        for used in of_package(path)
        if ORDER.index(used) > ORDER.index(name)
    ]
    assert not wrong


def test_the_second_half_stands_alone():
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {used}"
        for name, path in sources()
        if name in ("distortion", "measurement", "inference", "report")
        for used in of_package(path) & FIRST_HALF
    ]
    assert not wrong


def test_modules_before_data_do_not_use_the_study():
    """Only the configuration reads a study; the steps take plain values."""
    wrong = [
        str(path.relative_to(PACKAGE))
        for name, path in sources()
        if name not in ("study", "configuration") and "study" in of_package(path)
    ]
    assert not wrong


def test_torch_is_imported_only_where_weights_are():
    wrong = [
        str(path.relative_to(PACKAGE))
        for name, path in sources()
        if name in NO_TORCH
        and any(used.split(".")[0] in ("torch", "torchvision") for used in imports(path))
    ]
    assert not wrong


def test_what_only_some_jobs_need_is_imported_by_no_other():
    """Each of these costs every job that imports it about a second or more."""
    check = (
        "import sys\n"
        "import recall_distortion.measurement, recall_distortion.report\n"
        "late = {'matplotlib', 'scipy.stats', 'statsmodels', 'rpy2', 'pymer4'}\n"
        "found = late & set(sys.modules)\n"
        "assert not found, found\n"
    )
    subprocess.run([sys.executable, "-c", check], check=True)


def test_the_package_does_not_know_snakemake():
    wrong = [
        str(path.relative_to(PACKAGE))
        for _, path in sources()
        if any(used.split(".")[0].startswith("snakemake") for used in imports(path))
    ]
    assert not wrong


def test_importing_the_second_half_leaves_torch_out():
    check = (
        "import importlib, sys\n"
        f"for name in {NO_TORCH}:\n"
        "    importlib.import_module(f'recall_distortion.{name}')\n"
        "    found = {'torch', 'torchvision', 'snakemake'} & set(sys.modules)\n"
        "    assert not found, f'{name} imports {found}'\n"
    )
    environment = os.environ | {"PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run(
        [sys.executable, "-c", check], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
