"""Compare the engines of the mixed models and write their tables."""

from recall_distortion.logs import job_log

with job_log(snakemake.log[0]):
    from recall_distortion.inference.tables import write_mixed_models

    write_mixed_models(
        snakemake.input.coefficients,
        snakemake.input.fits,
        snakemake.output.mixed_models,
        snakemake.output.fits,
    )
