"""Count what the page states of a study's tables."""

from recall_distortion.system.logs import job_log

with job_log(snakemake.log[0]):
    from recall_distortion.inference.jobs.summarize import write_summary

    write_summary(
        *(
            snakemake.input[name]
            for name in (
                "recall",
                "networks",
                "estimates",
                "tests",
                "mixed_models",
                "mixed_model_fits",
                "published",
            )
        ),
        snakemake.output.summary,
    )
