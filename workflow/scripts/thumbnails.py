"""Make small pictures of the test images that the page shows."""

from recall_distortion.system.logs import job_log

with job_log(snakemake.log[0]):
    from recall_distortion.data.thumbnails import write_thumbnails

    inputs = dict(snakemake.input.items())
    write_thumbnails(
        inputs.pop("images_csv"),
        inputs,
        snakemake.output.thumbnails,
        shown=snakemake.params.shown,
    )
