"""Measure recall, balance and slopes from a study's predictions."""

from recall_distortion.system.logs import job_log

with job_log(snakemake.log[0]):
    from recall_distortion.inference.jobs.measure import write_measures

    write_measures(
        snakemake.input.predictions,
        snakemake.input.get("sparsity", []),
        snakemake.output.recall,
        snakemake.output.networks,
        splits=snakemake.params.splits,
        curvature=snakemake.input.get("curvature", []),
        dead_units=snakemake.input.get("dead_units", []),
        mask_overlap=snakemake.input.get("mask_overlap", []),
        events=snakemake.input.get("events", []),
        events_csv=snakemake.output.events,
    )
