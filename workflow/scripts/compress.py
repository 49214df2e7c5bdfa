"""Prune and fine-tune a block of networks by a bundle of methods at some ratios."""

from recall_distortion.system.logs import job_log

with job_log(snakemake.log[0]):
    from recall_distortion.system import gpu

    with gpu.taken(snakemake.resources.gpu, snakemake.resources.jobs_per_gpu) as device:
        from recall_distortion.compression.blocks import Paths, compress_block
        from recall_distortion.compression.methods import CompressionPlan
        from recall_distortion.system import processor
        from recall_distortion.training.plain import read
        from recall_distortion.vocabulary import Panel

        processor.prepare(snakemake.threads, device, deterministic=snakemake.params.deterministic)
        compress_block(
            Paths(**dict(snakemake.input.items()), **dict(snakemake.output.items())),
            read(CompressionPlan, snakemake.params.compression, "compression"),
            panel=Panel(*(snakemake.wildcards[key] for key in Panel._fields)),
            ratios=snakemake.params.ratios,
            unfinished=snakemake.params.unfinished,
            device=device,
        )
