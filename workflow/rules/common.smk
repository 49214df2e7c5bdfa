import os
import sys
from base64 import urlsafe_b64encode
from contextlib import suppress
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import available_cpu_count

# The package beside this workflow, whichever one the environment holds or PYTHONPATH names.
SOURCE = Path(workflow.basedir, "src")
sys.path.insert(0, str(SOURCE))

from recall_distortion.system import environment

# Before anything else is imported. Jobs inherit what is left.
LEFT_OUT = environment.leave_out(os.environ, SOURCE, sys.path)
if LEFT_OUT:
    print(
        f"Jobs ignore of your environment: {', '.join(LEFT_OUT)}.",
        file=sys.stderr,
    )

from recall_distortion.configuration import configure
from recall_distortion.system import machine, provenance
from recall_distortion.system.errors import RecallDistortionError
from recall_distortion.system.processes import hold, only_one_alive

try:
    environment.check_folders(Path.cwd(), sys.executable)
    CONFIGURATION = configure(config)
except RecallDistortionError as error:
    raise WorkflowError(str(error)) from None

STUDY = CONFIGURATION.study
RESULTS = f"results/{STUDY.folder}"

# A killed Snakemake leaves its locks, lists of files. Those of this study's files are nobody's if no
# Snakemake lives that works on it; other studies' may be in use, and are not in its way.
ALONE = only_one_alive(f".snakemake/living/{STUDY.folder}")
if ALONE:
    for lock in Path(".snakemake/locks").glob("*.lock"):
        with suppress(FileNotFoundError):  # another study's end takes all locks away
            if any(
                line.startswith(f"{RESULTS}/") for line in lock.read_text().splitlines()
            ):
                lock.unlink()

# What jobs on this machine share, unless --resources says so. On a cluster (--jobs) its scheduler
# knows. `--cores all` is for Snakemake the number of processors, though a container may have fewer.
if workflow.resource_settings.nodes is None:
    if workflow.resource_settings.cores == available_cpu_count() > machine.cores():
        workflow.register_resource("_cores", machine.cores())
    if "mem_mb" not in workflow.global_resources and machine.memory_mb():
        workflow.register_resource("mem_mb", machine.memory_mb())
    if CONFIGURATION.gpus and "gpu" not in workflow.global_resources:
        workflow.register_resource(
            "gpu", CONFIGURATION.gpus * CONFIGURATION.jobs_per_gpu
        )


def begin():
    """End here if this study is being computed already.

    Of two that start at once both may pass Snakemake's lock, and the end of another study in this
    folder takes that away.
    """
    if not hold(f".snakemake/held/{STUDY.folder}"):
        raise WorkflowError(
            f"{RESULTS}: another Snakemake is at work on this study in this folder. Wait for its end."
        )


def finish():
    """Write down how the results were made, and say where the report lies."""
    try:
        provenance.save(RESULTS, get_record)
    except RecallDistortionError as error:
        raise WorkflowError(str(error)) from None
    page = Path(f"{RESULTS}/report.html")
    if page.exists():
        print(f"The report: {page.resolve()}")


DATA = f"{RESULTS}/data/{{dataset}}.safetensors"
DENSE = f"{RESULTS}/dense/{{dataset}}/{{architecture}}/{{block}}"
COMPRESSED = (
    f"{RESULTS}/compressed/{{dataset}}/{{architecture}}/{{bundle}}/{{ratios}}/{{block}}"
)
PREDICTIONS = f"{RESULTS}/predictions/{{dataset}}/{{architecture}}/{{bundle}}/{{block}}"
FIT = f"{RESULTS}/inference/{{networks}}/{{fitter}}"
TABLES = f"{RESULTS}/tables"
FIGURES = f"{RESULTS}/figures"
# Half-trained networks of a job; undeclared, because Snakemake removes a killed job's outputs.
UNFINISHED = f"{RESULTS}/unfinished"
LOGS = f"{RESULTS}/logs"
BENCHMARKS = f"{RESULTS}/benchmarks"

FITTERS = ("pymer4", "statsmodels")


wildcard_constraints:
    dataset="[a-z][a-z0-9_]*",
    architecture="[a-z][a-z0-9_]*",
    bundle="[a-z][a-z0-9_]*",
    ratios=r"\d+(\.\d+)?(-\d+(\.\d+)?)*",
    block=r"seeds-\d+-\d+",
    networks=r"networks-\d+-\d+",
    fitter="|".join(FITTERS),


def get_record(path, kind="metadata"):
    """Return the file in which Snakemake keeps how it made an output: the path in base64."""
    name = urlsafe_b64encode(path.encode()).decode()
    # Longer names than the file system takes are cut, and all parts but the last are folders.
    size = os.pathconf(".", "PC_NAME_MAX") - 1
    *folders, last = (name[at : at + size] for at in range(0, len(name), size))
    return Path(f".snakemake/{kind}", *(f"@{folder}" for folder in folders), last)


def get_mark(path):
    """Return the file that Snakemake keeps while it makes an output."""
    return get_record(path, "incomplete")


# Results that came by git, DVC or a copy are known to Snakemake from here on, dry runs included.
if workflow.is_main_process:
    try:
        RESTORED = provenance.restore(RESULTS, get_record, get_mark)
        if ALONE:
            provenance.catch_up(RESULTS, get_record)
    except RecallDistortionError as error:
        raise WorkflowError(str(error)) from None
    if RESTORED.known:
        print(
            f"{RESULTS}: {RESTORED.known} files are as {provenance.NAME} records them.",
            file=sys.stderr,
        )
    for name in RESTORED.foreign:
        print(
            f"{name} is not what {provenance.NAME} records, and is made again.",
            file=sys.stderr,
        )


def get_code(script, *names):
    """Return a rule's script and the package's files that decide its result.

    All are compared by content, so an edit reruns the rule and a new time does not.
    """
    package = Path("src/recall_distortion")
    found = [Path("workflow/scripts", f"{script}.py")]
    for name in names:
        path = package / name
        found += (
            sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
        )
    return [str(path) for path in found]


def get_network_files(pattern, **wildcards):
    """Return a pattern's files for every network and block of the study."""
    return [
        path
        for network in STUDY.networks()
        for path in expand(
            pattern,
            dataset=network.dataset,
            architecture=network.architecture,
            block=STUDY.blocks(),
            **wildcards,
        )
    ]


def get_compressed_files(pattern):
    """Return a pattern's files for every network, bundle, group of ratios and block."""
    return [
        path
        for network in STUDY.networks()
        for bundle in STUDY.bundles(network.dataset, network.architecture)
        for path in expand(
            pattern,
            dataset=network.dataset,
            architecture=network.architecture,
            bundle=bundle,
            ratios=STUDY.ratio_groups(network.dataset, network.architecture, bundle),
            block=STUDY.blocks(),
        )
    ]


def get_prediction_files():
    """Return every file of predictions, the dense networks' first."""
    return [
        path
        for network in STUDY.networks()
        for bundle in ["dense", *STUDY.bundles(network.dataset, network.architecture)]
        for path in expand(
            f"{PREDICTIONS}.safetensors",
            dataset=network.dataset,
            architecture=network.architecture,
            bundle=bundle,
            block=STUDY.blocks(),
        )
    ]


def get_fit_files(suffix):
    """Return the files of the mixed models' fits, one a job and fitter."""
    return expand(f"{FIT}{suffix}", networks=STUDY.fits(), fitter=FITTERS)


def get_figure_names():
    """Return the names of the study's figures, as the report package names them."""
    kinds = ("effects", "alpha", "tradeoff", "balances", "accuracy", "recall")
    networks = [
        f"{network.dataset}-{network.architecture}" for network in STUDY.networks()
    ]
    return [f"{kind}-{network}" for kind in kinds for network in networks] + [
        "sparsity"
    ]


def get_published_facts():
    """Return the published study's verdicts and slopes."""
    folder = Path("src/recall_distortion/inference/questions/published_facts")
    return [str(path) for path in sorted(folder.glob("*.csv"))]


def get_templates():
    """Return the report's template and style sheet."""
    return [
        str(path)
        for path in sorted(Path("src/recall_distortion/report").glob("templates/*"))
    ]


def get_source(wildcards):
    """Return a user's own data, so that a change of them reruns the study."""
    path = STUDY.datasets[wildcards.dataset].path
    return str(Path(path).expanduser()) if path else []


def get_compressed_of_bundle(wildcards):
    """Return the files of a bundle's networks at all its ratios; none for the dense ones."""
    if wildcards.bundle == "dense":
        return []
    ratios = STUDY.ratio_groups(
        wildcards.dataset, wildcards.architecture, wildcards.bundle
    )
    return expand(f"{COMPRESSED}.safetensors", ratios=ratios, **wildcards)
