import os
import sys
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from snakemake.common import NOTHING_TO_BE_DONE_MSG
from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
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

from recall_distortion.configuration import cautions, configure
from recall_distortion.study import examined, measuring, paths, quantizing, transferring
from recall_distortion.system import machine
from recall_distortion.system.code import by_room
from recall_distortion.system.ending import LastLine
from recall_distortion.system.errors import RecallDistortionError
from recall_distortion.system.records import Records
from recall_distortion.vocabulary import Panel


@contextmanager
def one_message():
    """End with an error's message alone."""
    try:
        yield
    except RecallDistortionError as error:
        raise WorkflowError(str(error)) from None


with one_message():
    environment.check_folders(Path.cwd(), sys.executable)
    CONFIGURATION = configure(config)

STUDY = CONFIGURATION.study
RESULTS = f"results/{STUDY.folder}"

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

RECORDS = Records(
    RESULTS, getattr(workflow.workflow_settings, "persistence_backend", "unknown")
)
# Results that came by git, DVC or a copy are known to Snakemake from here on, dry runs included.
if workflow.is_main_process:
    with one_message():
        RECORDS.restore()
    for caution in cautions(STUDY):
        print(caution, file=sys.stderr)
    LAST_LINE = LastLine(Path(f"{RESULTS}/report.html"), NOTHING_TO_BE_DONE_MSG)
    logger.addHandler(LAST_LINE)


def begin():
    """End here if this study is being computed already."""
    with one_message():
        RECORDS.begin()


def finish():
    """Write down how the results were made."""
    with one_message():
        RECORDS.finish()
    LAST_LINE.done()
