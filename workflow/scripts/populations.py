"""Write which images populations of a study's networks name otherwise."""

from recall_distortion.system.logs import job_log

with job_log(snakemake.log[0]):
    from recall_distortion.inference.jobs.populations import write_populations

    write_populations(
        snakemake.input.predictions, snakemake.output.estimates, snakemake.output.images
    )
