"""Fit the mixed models across a study's networks and data sets with one engine."""

from recall_distortion.logs import job_log

with job_log(snakemake.log[0]):
    from recall_distortion.inference.tables import write_across

    write_across(
        snakemake.input.recall,
        snakemake.input.alpha,
        snakemake.input.sparsity,
        snakemake.wildcards.engine,
        snakemake.output.coefficients,
        snakemake.output.fit,
    )
