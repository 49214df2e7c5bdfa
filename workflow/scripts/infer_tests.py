"""Write what a study's slopes say: intervals, t-tests, effects, pooled slopes and the rest."""

from recall_distortion.logs import job_log

with job_log(snakemake.log[0]):
    from recall_distortion.inference.tables import write_tests

    write_tests(
        snakemake.input.recall,
        snakemake.input.alpha,
        snakemake.input.crossfit,
        snakemake.input.sparsity,
        dict(snakemake.output.items()),
        snakemake.params.level,
    )
