"""Measure recall, balance and slopes from a study's predictions."""

from recall_distortion.logs import job_log

with job_log(snakemake.log[0]):
    from recall_distortion.measurement import measure

    measure(
        snakemake.input.predictions,
        snakemake.input.get("sparsity", []),
        dict(snakemake.output.items()),
        splits=snakemake.params.splits,
    )
