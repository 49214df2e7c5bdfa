"""Train the dense networks of a block of seeds."""

from recall_distortion.system.logs import job_log

with job_log(snakemake.log[0]):
    from recall_distortion.system import gpu

    with gpu.taken(snakemake.resources.gpu, snakemake.resources.jobs_per_gpu) as device:
        from recall_distortion.system import processor
        from recall_distortion.training import TrainingPlan, read, train_block

        processor.prepare(snakemake.threads, device, deterministic=snakemake.params.deterministic)
        train_block(
            snakemake.input.data,
            snakemake.output.weights,
            snakemake.output.history,
            read(TrainingPlan, snakemake.params.training, "training"),
            architecture=snakemake.wildcards.architecture,
            seeds=snakemake.params.seeds,
            unfinished=snakemake.params.unfinished,
            device=device,
        )
