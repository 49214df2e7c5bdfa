"""Count the dead and linear units of the networks of a block and bundle."""

from recall_distortion.system.logs import job_log

with job_log(snakemake.log[0]):
    from recall_distortion.system import gpu

    with gpu.taken(snakemake.resources.gpu, snakemake.resources.jobs_per_gpu) as device:
        from recall_distortion.evaluation.dead_units_blocks import count_dead_units
        from recall_distortion.system import processor
        from recall_distortion.vocabulary import Panel

        processor.prepare(snakemake.threads, device, deterministic=snakemake.params.deterministic)
        count_dead_units(
            snakemake.input.data,
            snakemake.input.dense,
            list(snakemake.input.get("compressed", [])),
            snakemake.output.dead_units,
            selection=snakemake.params.selection,
            panel=Panel(*(snakemake.wildcards[key] for key in Panel._fields)),
            device=device,
        )
