rule infer_tests:
    input:
        recall=f"{TABLES}/recall.csv",
        alpha=f"{TABLES}/alpha.csv",
        code=get_code("inference", "catalogue", "columns", "tables"),
    output:
        intervals=report(
            f"{TABLES}/intervals.csv",
            caption="../report/intervals.rst",
            category="Tables",
        ),
        tests=report(
            f"{TABLES}/tests.csv", caption="../report/tests.rst", category="Tables"
        ),
    log:
        f"{LOGS}/infer_tests.log",
    conda:
        "../envs/study.yaml"
    resources:
        mem_mb=1000,
    params:
        level=STUDY.level,
    message:
        "Intervals and t-tests"
    script:
        "../scripts/infer_tests.py"


rule infer_fit:
    input:
        recall=f"{TABLES}/recall.csv",
        code=get_code("inference", "columns", "tables"),
    output:
        coefficients=f"{FIT}.csv",
        fit=f"{FIT}.fit.csv",
    log:
        f"{LOGS}/infer_fit/{{dataset}}-{{architecture}}-{{engine}}.log",
    conda:
        "../envs/study.yaml"
    threads: 1
    resources:
        mem_mb=2000,
    message:
        "Mixed model of {wildcards.architecture} on {wildcards.dataset} by {wildcards.engine}"
    script:
        "../scripts/infer_fit.py"


rule infer:
    input:
        coefficients=get_fit_files(".csv"),
        fits=get_fit_files(".fit.csv"),
        code=get_code("inference", "columns", "tables"),
    output:
        mixed_models=report(
            f"{TABLES}/mixed_models.csv",
            caption="../report/mixed_models.rst",
            category="Tables",
        ),
        fits=f"{TABLES}/mixed_model_fits.csv",
    log:
        f"{LOGS}/infer.log",
    conda:
        "../envs/study.yaml"
    resources:
        mem_mb=1000,
    message:
        "Comparing the mixed models' engines"
    script:
        "../scripts/infer.py"


rule infer_all:
    input:
        rules.infer_tests.output,
        rules.infer.output,
