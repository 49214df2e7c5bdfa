"""Predict the test set by the networks of a block and bundle."""

from recall_distortion.system.logs import job_log

with job_log(snakemake.log[0]):
    from recall_distortion.system import gpu

    with gpu.taken(snakemake.resources.gpu, snakemake.resources.jobs_per_gpu) as device:
        from recall_distortion.evaluation.predictions import evaluate_block
        from recall_distortion.system import processor
        from recall_distortion.vocabulary import Panel

        processor.prepare(snakemake.threads, device, deterministic=snakemake.params.deterministic)
        evaluate_block(
            snakemake.input.data,
            snakemake.input.dense,
            list(snakemake.input.get("compressed", [])),
            snakemake.output.predictions,
            panel=Panel(*(snakemake.wildcards[key] for key in Panel._fields)),
            quantized_paths=list(snakemake.input.get("quantized", [])),
            device=device,
        )
