"""Write what a study's slopes say: estimates, t-tests, the published cells beside them."""

from recall_distortion.system.logs import job_log

with job_log(snakemake.log[0]):
    from recall_distortion.inference.jobs.estimate import write_estimates

    write_estimates(
        snakemake.input.recall,
        snakemake.input.networks,
        dict(snakemake.output.items()),
        architectures=snakemake.params.architectures,
        level=snakemake.params.level,
        predictions=snakemake.input.predictions,
        populations=snakemake.input.populations,
        frequencies=snakemake.input.frequencies,
        margins=snakemake.params.margins,
    )
