"""Fit the mixed models of some networks with one fitter."""

from recall_distortion.system.logs import job_log

with job_log(snakemake.log[0]):
    from recall_distortion.system import processor

    processor.fix_addresses()

    from recall_distortion.inference.jobs.fit import write_fits

    write_fits(
        snakemake.input.recall,
        snakemake.input.networks,
        snakemake.params.models["networks"],
        snakemake.wildcards.fitter,
        snakemake.output.coefficients,
        snakemake.output.fit,
        over_panels=snakemake.params.models["across"],
        level=snakemake.params.level,
    )
