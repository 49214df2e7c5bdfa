rule infer_tests:
    input:
        recall=f"{TABLES}/recall.csv",
        alpha=f"{TABLES}/alpha.csv",
        crossfit=f"{TABLES}/crossfit.csv",
        sparsity=f"{TABLES}/sparsity.csv",
        code=get_code(
            "infer_tests",
            "inference",
            "catalogue",
            "columns",
            "distortion",
            "rounding",
            "files",
            "tables",
        ),
        facts=get_published_facts(),
    output:
        intervals=report(
            f"{TABLES}/intervals.csv",
            caption="../report/intervals.rst",
            category="Tables",
        ),
        tests=report(
            f"{TABLES}/tests.csv", caption="../report/tests.rst", category="Tables"
        ),
        effects=report(
            f"{TABLES}/effects.csv",
            caption="../report/effects.rst",
            category="Tables",
        ),
        pooled=f"{TABLES}/pooled.csv",
        equal_sparsity=f"{TABLES}/equal_sparsity.csv",
        seeds_needed=f"{TABLES}/seeds_needed.csv",
        tradeoff=f"{TABLES}/tradeoff.csv",
        influence=f"{TABLES}/influence.csv",
        published=f"{TABLES}/published.csv",
    log:
        f"{LOGS}/infer_tests.log",
    benchmark:
        f"{BENCHMARKS}/infer_tests.txt"
    conda:
        "../envs/study.yaml"
    resources:
        mem_mb=2000,
    params:
        level=STUDY.level,
    message:
        "Intervals, t-tests and pooled slopes"
    script:
        "../scripts/infer_tests.py"


rule infer_fit:
    input:
        recall=f"{TABLES}/recall.csv",
        alpha=f"{TABLES}/alpha.csv",
        sparsity=f"{TABLES}/sparsity.csv",
        code=get_code("infer_fit", "inference", "columns", "rounding", "tables"),
    output:
        coefficients=f"{FIT}.csv",
        fit=f"{FIT}.fit.csv",
    log:
        f"{LOGS}/infer_fit/{{networks}}-{{engine}}.log",
    benchmark:
        f"{BENCHMARKS}/infer_fit/{{networks}}-{{engine}}.txt"
    # The longest of what follows measuring, so that no core waits for it at the end.
    priority: 1
    conda:
        "../envs/study.yaml"
    threads: 1
    resources:
        mem_mb=2000,
    params:
        models=lambda wildcards: STUDY.fits()[wildcards.networks],
    message:
        "Mixed models of {wildcards.networks} by {wildcards.engine}"
    script:
        "../scripts/infer_fit.py"


rule infer:
    input:
        coefficients=get_fit_files(".csv"),
        fits=get_fit_files(".fit.csv"),
        code=get_code("infer", "inference", "columns", "rounding", "tables"),
    output:
        mixed_models=report(
            f"{TABLES}/mixed_models.csv",
            caption="../report/mixed_models.rst",
            category="Tables",
        ),
        fits=f"{TABLES}/mixed_model_fits.csv",
    log:
        f"{LOGS}/infer.log",
    benchmark:
        f"{BENCHMARKS}/infer.txt"
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
