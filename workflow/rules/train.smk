rule train:
    input:
        data=DATA,
        brought=get_brought,
    output:
        weights=f"{DENSE}.safetensors",
        history=f"{DENSE}.history.csv",
    log:
        f"{LOGS}/train/{paths.TRAIN_JOB}.log",
    benchmark:
        f"{BENCHMARKS}/train/{paths.TRAIN_JOB}.tsv"
    conda:
        "../envs/study.yaml"
    threads: 1
    resources:
        gpu=min(CONFIGURATION.gpus, 1),
        jobs_per_gpu=CONFIGURATION.jobs_per_gpu,
        mem_mb=2000,
    params:
        code=get_code("train", get_network_modules),
        deterministic=STUDY.deterministic,
        unfinished=f"{UNFINISHED}/train-{paths.TRAIN_JOB}",
        training=lambda wildcards: STUDY.training_parameters(get_panel(wildcards)),
        seeds=lambda wildcards: STUDY.blocks()[wildcards.block],
    message:
        "Training {wildcards.architecture} on {wildcards.dataset} ({wildcards.recipe}), {wildcards.block}"
    script:
        "../scripts/train.py"


rule train_all:
    input:
        get_network_files(f"{DENSE}.safetensors"),
