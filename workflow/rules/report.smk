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
        code=get_code(
            "report",
            "vocabulary",
            "tables",
            "measures/distortion",
            "inference/notes",
            "inference/questions",
            "report",
        ),
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
        study=STUDY.facts(),
    message:
        "Writing the report"
    script:
        "../scripts/report.py"


rule figures:
    input:
        tables=[*rules.measure.output, *rules.estimate.output],
        code=get_code(
            "figures",
            "vocabulary",
            "tables",
            "measures/distortion",
            "inference/notes",
            "inference/questions",
            "report",
        ),
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
    message:
        "Drawing the figures"
    script:
        "../scripts/figures.py"


rule report_all:
    input:
        rules.report.output,
        rules.figures.output,
