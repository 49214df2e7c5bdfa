rule compress:
    input:
        data=DATA,
        dense=f"{DENSE}.safetensors",
        source=get_source_of_tickets,
        tickets=get_tickets,
    output:
        weights=f"{COMPRESSED}.safetensors",
        sparsity=f"{COMPRESSED}.sparsity.csv",
        history=f"{COMPRESSED}.history.csv",
        events=f"{COMPRESSED}.events.csv",
    log:
        f"{LOGS}/compress/{paths.COMPRESS_JOB}.log",
    benchmark:
        f"{BENCHMARKS}/compress/{paths.COMPRESS_JOB}.tsv"
    wildcard_constraints:
        bundle=get_bundles(quantizing_ones=False),
    conda:
        "../envs/study.yaml"
    threads: 1
    resources:
        gpu=min(CONFIGURATION.gpus, 1),
        jobs_per_gpu=CONFIGURATION.jobs_per_gpu,
        mem_mb=2000,
    params:
        code=get_code("compress", get_compression_modules),
        deterministic=STUDY.deterministic,
        unfinished=f"{UNFINISHED}/compress-{paths.COMPRESS_JOB}",
        compression=lambda wildcards: STUDY.compression_parameters(
            get_panel(wildcards), wildcards.bundle
        ),
        ratios=lambda wildcards: STUDY.job_ratios(
            get_panel(wildcards), wildcards.bundle, wildcards.ratios
        ),
    message:
        "Compressing {wildcards.architecture} on {wildcards.dataset} ({wildcards.recipe}) by {wildcards.bundle} at"
        " ratio {wildcards.ratios}, {wildcards.block}"
    script:
        "../scripts/compress.py"


rule quantize:
    input:
        data=DATA,
        dense=f"{DENSE}.safetensors",
        origins=get_origins,
    output:
        weights=f"{COMPRESSED}.safetensors",
        sparsity=f"{COMPRESSED}.sparsity.csv",
    log:
        f"{LOGS}/quantize/{paths.COMPRESS_JOB}.log",
    benchmark:
        f"{BENCHMARKS}/quantize/{paths.COMPRESS_JOB}.tsv"
    wildcard_constraints:
        bundle=get_bundles(quantizing_ones=True),
    conda:
        "../envs/study.yaml"
    threads: 1
    resources:
        gpu=min(CONFIGURATION.gpus, 1),
        jobs_per_gpu=CONFIGURATION.jobs_per_gpu,
        mem_mb=2000,
    params:
        code=get_code("quantize", get_network_modules),
        deterministic=STUDY.deterministic,
        quantization=lambda wildcards: quantizing.parameters(
            STUDY, get_panel(wildcards), wildcards.bundle
        ),
        cells=lambda wildcards: quantizing.cells(
            STUDY, get_panel(wildcards), wildcards.bundle, wildcards.ratios
        ),
    message:
        "Quantizing {wildcards.architecture} on {wildcards.dataset} ({wildcards.recipe}) by {wildcards.bundle} at"
        " ratio {wildcards.ratios}, {wildcards.block}"
    script:
        "../scripts/quantize.py"


rule compress_all:
    input:
        get_compressed_files(f"{COMPRESSED}.safetensors"),
