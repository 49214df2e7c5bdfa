"""Compare the masks of a network's methods."""

from recall_distortion.system.logs import job_log

with job_log(snakemake.log[0]):
    from recall_distortion.evaluation.mask_overlap import measure_mask_overlap
    from recall_distortion.system import processor
    from recall_distortion.vocabulary import Panel

    processor.prepare(snakemake.threads, "cpu")
    measure_mask_overlap(
        list(snakemake.input.compressed),
        snakemake.output.mask_overlap,
        pairs=snakemake.params.pairs,
        panel=Panel(*(snakemake.wildcards[key] for key in Panel._fields)),
    )
