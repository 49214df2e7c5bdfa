"""Write a study's report, its metrics and the data of its plots."""

from pathlib import Path

from recall_distortion.system.logs import job_log

with job_log(snakemake.log[0]):
    from recall_distortion import report
    from recall_distortion.system.files import write_json
    from recall_distortion.system.logs import versions

    tables = Path(snakemake.input.tables[0]).parent
    brought = report.without_weights(Path(snakemake.output.page).parent)
    study = {**snakemake.params.study, "predictions": brought, "versions": versions()}
    write_json(snakemake.output.metrics, report.metrics(tables))
    report.write_plot_data(tables, Path(snakemake.output.plots))
    figures = Path(snakemake.input.captions).parent
    report.build_report(
        tables,
        Path(snakemake.output.page),
        study=study,
        figures=figures,
        thumbnails=Path(snakemake.input.thumbnails),
    )
