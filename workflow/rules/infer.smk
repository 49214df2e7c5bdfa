rule populations:
    input:
        predictions=get_prediction_files(),
    output:
        estimates=f"{RESULTS}/inference/populations.csv",
        images=f"{TABLES}/images.csv",
    log:
        f"{LOGS}/populations.log",
    benchmark:
        f"{BENCHMARKS}/populations.txt"
    conda:
        "../envs/study.yaml"
    resources:
        mem_mb=4000,
    params:
        code=get_code("populations"),
    message:
        "Images that populations of networks name otherwise"
    script:
        "../scripts/populations.py"


rule estimate:
    input:
        recall=f"{TABLES}/recall.csv",
        networks=f"{TABLES}/networks.csv",
        predictions=get_prediction_files(),
        populations=rules.populations.output.estimates,
        frequencies=rules.frequencies.output.frequencies,
        facts=get_published_facts(),
    output:
        estimates=report(
            f"{TABLES}/estimates.csv",
            caption="../report/estimates.rst",
            category="Tables",
        ),
        tests=report(
            f"{TABLES}/tests.csv", caption="../report/tests.rst", category="Tables"
        ),
        published=f"{TABLES}/published.csv",
    log:
        f"{LOGS}/estimate.log",
    benchmark:
        f"{BENCHMARKS}/estimate.txt"
    conda:
        "../envs/study.yaml"
    resources:
        mem_mb=2000,
    params:
        code=get_code("estimate"),
        level=STUDY.level,
        margins=STUDY.margins(),
        architectures=STUDY.series(),
    message:
        "Slopes, effects and t-tests"
    script:
        "../scripts/estimate.py"


rule fit:
    input:
        recall=f"{TABLES}/recall.csv",
        networks=f"{TABLES}/networks.csv",
    output:
        coefficients=f"{FIT}.csv",
        fit=f"{FIT}.fit.csv",
    log:
        f"{LOGS}/fit/{{networks}}-{{fitter}}.log",
    benchmark:
        f"{BENCHMARKS}/fit/{{networks}}-{{fitter}}.txt"
    # The longest of what follows measuring, so that no core waits for it at the end.
    priority: 1
    conda:
        "../envs/study.yaml"
    threads: 1
    resources:
        mem_mb=2000,
    params:
        code=get_code("fit"),
        models=lambda wildcards: STUDY.fits()[wildcards.networks],
        level=STUDY.level,
    message:
        "Mixed models of {wildcards.networks} by {wildcards.fitter}"
    script:
        "../scripts/fit.py"


rule compare_fits:
    input:
        coefficients=get_fit_files(".csv"),
        fits=get_fit_files(".fit.csv"),
    output:
        mixed_models=report(
            f"{TABLES}/mixed_models.csv",
            caption="../report/mixed_models.rst",
            category="Tables",
        ),
        fits=f"{TABLES}/mixed_model_fits.csv",
    log:
        f"{LOGS}/compare_fits.log",
    benchmark:
        f"{BENCHMARKS}/compare_fits.txt"
    conda:
        "../envs/study.yaml"
    resources:
        mem_mb=1000,
    params:
        code=get_code("compare_fits"),
    message:
        "Comparing the mixed models' fitters"
    script:
        "../scripts/compare_fits.py"


rule summarize:
    input:
        **{
            name: f"{TABLES}/{name}.csv"
            for name in (
                "recall",
                "networks",
                "estimates",
                "tests",
                "mixed_models",
                "mixed_model_fits",
                "published",
            )
        },
    output:
        summary=f"{TABLES}/summary.csv",
    log:
        f"{LOGS}/summarize.log",
    conda:
        "../envs/study.yaml"
    resources:
        mem_mb=1000,
    params:
        code=get_code("summarize"),
    message:
        "Counting what the estimates say"
    script:
        "../scripts/summarize.py"


rule infer_all:
    input:
        rules.populations.output.images,
        rules.estimate.output,
        rules.compare_fits.output,
        rules.summarize.output,
