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
        dataset=lambda wildcards: STUDY.datasets[wildcards.dataset].model_dump(),
    message:
        "Preparing {wildcards.dataset}"
    script:
        "../scripts/prepare.py"


rule prepare_all:
    input:
        expand(DATA, dataset=STUDY.datasets),
