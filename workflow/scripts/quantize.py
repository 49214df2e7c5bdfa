"""Quantize a block of networks by a bundle of methods at some ratios."""

from recall_distortion.system.logs import job_log

with job_log(snakemake.log[0]):
    from recall_distortion.system import gpu

    with gpu.taken(snakemake.resources.gpu, snakemake.resources.jobs_per_gpu) as device:
        from recall_distortion.compression.quantization.blocks import Paths, quantize_block
        from recall_distortion.compression.quantization.plan import QuantizationPlan
        from recall_distortion.system import processor
        from recall_distortion.training.plain import read
        from recall_distortion.vocabulary import Panel

        processor.prepare(snakemake.threads, device, deterministic=snakemake.params.deterministic)
        quantize_block(
            Paths(
                snakemake.input.data,
                snakemake.input.dense,
                list(snakemake.input.get("origins", [])),
                snakemake.output.weights,
                snakemake.output.sparsity,
            ),
            read(QuantizationPlan, snakemake.params.quantization, "quantization"),
            panel=Panel(*(snakemake.wildcards[key] for key in Panel._fields)),
            cells=snakemake.params.cells,
            device=device,
        )
