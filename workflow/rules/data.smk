rule prepare:
    input:
        source=get_source,
    output:
        data=DATA,
    log:
        f"{LOGS}/prepare/{{dataset}}.log",
    conda:
        "../envs/study.yaml"
    resources:
        mem_mb=2000,
    params:
        code=get_code("prepare", get_source_modules),
        dataset=lambda wildcards: STUDY.datasets[wildcards.dataset].preparation(),
    message:
        "Preparing {wildcards.dataset}"
    script:
        "../scripts/prepare.py"


rule frequencies:
    input:
        **get_data_files(),
    output:
        frequencies=f"{RESULTS}/inference/frequencies.csv",
    log:
        f"{LOGS}/frequencies.log",
    conda:
        "../envs/study.yaml"
    resources:
        mem_mb=1000,
    params:
        code=get_code("frequencies"),
    message:
        "Counting the images of each class"
    script:
        "../scripts/frequencies.py"


rule prepare_all:
    input:
        expand(DATA, dataset=STUDY.datasets),
