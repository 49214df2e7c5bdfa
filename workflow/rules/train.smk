rule train:
    input:
        data=DATA,
    output:
        weights=f"{DENSE}.safetensors",
        history=f"{DENSE}.history.csv",
    log:
        f"{LOGS}/train/{{dataset}}-{{architecture}}-{{block}}.log",
    benchmark:
        f"{BENCHMARKS}/train/{{dataset}}-{{architecture}}-{{block}}.tsv"
    conda:
        "../envs/study.yaml"
    threads: 1
    resources:
        gpu=min(CONFIGURATION.gpus, 1),
        jobs_per_gpu=CONFIGURATION.jobs_per_gpu,
        mem_mb=2000,
    params:
        code=get_code("train", "dataset", "architecture"),
        deterministic=STUDY.deterministic,
        unfinished=f"{UNFINISHED}/train-{{dataset}}-{{architecture}}-{{block}}",
        training=lambda wildcards: STUDY.training_parameters(
            wildcards.dataset, wildcards.architecture
        ),
        seeds=lambda wildcards: STUDY.blocks()[wildcards.block],
    message:
        "Training {wildcards.architecture} on {wildcards.dataset}, {wildcards.block}"
    script:
        "../scripts/train.py"


rule train_all:
    input:
        get_network_files(f"{DENSE}.safetensors"),
