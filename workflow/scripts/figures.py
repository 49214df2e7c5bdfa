"""Draw a study's figures as files."""

from pathlib import Path

from recall_distortion.system.logs import job_log

with job_log(snakemake.log[0]):
    from recall_distortion.report.figures import write_figures

    write_figures(Path(snakemake.input.tables[0]).parent, Path(snakemake.output.captions).parent)
