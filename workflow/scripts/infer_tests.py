"""Write a study's intervals and t-tests."""

from recall_distortion.logs import job_log

with job_log(snakemake.log[0]):
    from recall_distortion.inference.tables import write_tests

    write_tests(
        snakemake.input.recall,
        snakemake.input.alpha,
        snakemake.output.intervals,
        snakemake.output.tests,
        snakemake.params.level,
    )
