"""Fit the mixed models of some networks with one engine."""

from recall_distortion.logs import job_log

with job_log(snakemake.log[0]):
    from recall_distortion import processor

    processor.fix_addresses()

    from recall_distortion.inference.tables import write_fits

    write_fits(
        snakemake.input.recall,
        snakemake.input.alpha,
        snakemake.input.sparsity,
        snakemake.params.models["networks"],
        snakemake.wildcards.engine,
        snakemake.output.coefficients,
        snakemake.output.fit,
        across=snakemake.params.models["across"],
    )
