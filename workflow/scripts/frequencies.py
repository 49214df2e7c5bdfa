"""Write how many images of each class the data sets have."""

from recall_distortion.system.logs import job_log

with job_log(snakemake.log[0]):
    from recall_distortion.data.frequencies import write_frequencies

    write_frequencies(dict(snakemake.input.items()), snakemake.output.frequencies)
