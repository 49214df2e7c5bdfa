"""Prepare one data set of a study."""

from recall_distortion.system.logs import job_log

with job_log(snakemake.log[0]):
    from recall_distortion.data.preparing import prepare

    # Where the data lie is read from the configuration and is no parameter of the rule: moving
    # them reruns nothing.
    prepare(
        output=snakemake.output.data,
        data_root=snakemake.config["data_root"],
        **snakemake.params.dataset,
    )
