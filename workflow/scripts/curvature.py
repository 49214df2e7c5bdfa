"""Measure the curvature of the loss at the networks of a block and bundle."""

from recall_distortion.system.logs import job_log

with job_log(snakemake.log[0]):
    from recall_distortion.system import gpu

    with gpu.taken(snakemake.resources.gpu, snakemake.resources.jobs_per_gpu) as device:
        from recall_distortion.evaluation.curvature_blocks import CurvaturePlan, measure_curvature
        from recall_distortion.system import processor
        from recall_distortion.training.plain import read
        from recall_distortion.vocabulary import Panel

        processor.prepare(snakemake.threads, device, deterministic=snakemake.params.deterministic)
        measure_curvature(
            snakemake.input.data,
            snakemake.input.dense,
            list(snakemake.input.get("compressed", [])),
            snakemake.output.curvature,
            read(CurvaturePlan, snakemake.params.curvature, "curvature"),
            panel=Panel(*(snakemake.wildcards[key] for key in Panel._fields)),
            unfinished=snakemake.params.unfinished,
            device=device,
        )
