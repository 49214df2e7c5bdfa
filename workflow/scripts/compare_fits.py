"""Compare the fitters of the mixed models and write their tables."""

from recall_distortion.system.logs import job_log

with job_log(snakemake.log[0]):
    from recall_distortion.inference.jobs.fit import write_mixed_models

    write_mixed_models(
        snakemake.input.coefficients,
        snakemake.input.fits,
        snakemake.output.mixed_models,
        snakemake.output.fits,
    )
