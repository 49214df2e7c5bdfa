"""Prune and fine-tune a block of networks by a bundle of methods at some ratios."""

from recall_distortion.system.logs import job_log

with job_log(snakemake.log[0]):
    from recall_distortion.system import gpu

    with gpu.taken(snakemake.resources.gpu, snakemake.resources.jobs_per_gpu) as device:
        from recall_distortion.compression.blocks import compress_block
        from recall_distortion.system import processor
        from recall_distortion.vocabulary import Panel

        processor.prepare(snakemake.threads, device, deterministic=snakemake.params.deterministic)
        compress_block(
            snakemake.input.data,
            snakemake.input.dense,
            snakemake.output.weights,
            snakemake.output.sparsity,
            snakemake.output.history,
            panel=Panel(*(snakemake.wildcards[key] for key in Panel._fields)),
            ratios=snakemake.params.ratios,
            unfinished=snakemake.params.unfinished,
            device=device,
            **snakemake.params.compression,
        )
