"""Fit one network's mixed models with one engine."""

from recall_distortion.logs import job_log

with job_log(snakemake.log[0]):
    from recall_distortion.inference.tables import write_fit

    write_fit(
        snakemake.input.recall,
        snakemake.input.alpha,
        snakemake.wildcards.dataset,
        snakemake.wildcards.architecture,
        snakemake.wildcards.engine,
        snakemake.output.coefficients,
        snakemake.output.fit,
    )
