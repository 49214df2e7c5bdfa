rule report:
    input:
        tables=[
            *rules.measure.output,
            *rules.estimate.output,
            *rules.compare_fits.output,
            *rules.summarize.output,
        ],
        figures=[f"{FIGURES}/{name}.png" for name in get_figure_names()],
        captions=f"{FIGURES}/captions.json",
        images=rules.populations.output.images,
        thumbnails=f"{RESULTS}/inference/thumbnails.json",
        templates=get_templates(),
    output:
        page=f"{RESULTS}/report.html",
        metrics=f"{RESULTS}/metrics.json",
        plots=f"{RESULTS}/plots.csv",
    log:
        f"{LOGS}/report.log",
    benchmark:
        f"{BENCHMARKS}/report.txt"
    conda:
        "../envs/study.yaml"
    resources:
        mem_mb=1500,
    params:
        code=get_code("report"),
        study=STUDY.facts(),
    message:
        "Writing the report"
    script:
        "../scripts/report.py"


rule figures:
    input:
        tables=[*rules.measure.output, *rules.estimate.output],
    output:
        **{
            name.replace("-", "_"): report(
                f"{FIGURES}/{name}.png",
                caption=f"../report/{name.partition('-')[0]}.rst",
                category="Figures",
            )
            for name in get_figure_names()
        },
        captions=f"{FIGURES}/captions.json",
    log:
        f"{LOGS}/figures.log",
    benchmark:
        f"{BENCHMARKS}/figures.txt"
    conda:
        "../envs/study.yaml"
    resources:
        mem_mb=1500,
    params:
        code=get_code("figures"),
    message:
        "Drawing the figures"
    script:
        "../scripts/figures.py"


rule thumbnails:
    input:
        **get_data_files(),
        images_csv=rules.populations.output.images,
    output:
        thumbnails=f"{RESULTS}/inference/thumbnails.json",
    log:
        f"{LOGS}/thumbnails.log",
    conda:
        "../envs/study.yaml"
    resources:
        mem_mb=2000,
    params:
        code=get_code("thumbnails"),
        shown={name: dataset.shown for name, dataset in STUDY.datasets.items()},
    message:
        "Making pictures of forgotten images"
    script:
        "../scripts/thumbnails.py"


rule report_all:
    input:
        rules.report.output,
        rules.figures.output,
