rule evaluate:
    input:
        data=DATA,
        dense=f"{DENSE}.safetensors",
        compressed=get_compressed_of_bundle,
        quantized=get_quantized_of_bundle,
    output:
        predictions=f"{PREDICTIONS}.safetensors",
    log:
        f"{LOGS}/evaluate/{paths.EVALUATE_JOB}.log",
    conda:
        "../envs/study.yaml"
    threads: 1
    resources:
        gpu=min(CONFIGURATION.gpus, 1),
        jobs_per_gpu=CONFIGURATION.jobs_per_gpu,
        mem_mb=2000,
    params:
        code=get_code("evaluate", get_evaluation_modules),
        deterministic=STUDY.deterministic,
    message:
        "Evaluating {wildcards.architecture} on {wildcards.dataset} ({wildcards.recipe}), {wildcards.bundle},"
        " {wildcards.block}"
    script:
        "../scripts/evaluate.py"


rule evaluate_all:
    input:
        get_prediction_files(),


rule measure:
    input:
        predictions=get_prediction_files(),
        sparsity=get_compressed_files(f"{COMPRESSED}.sparsity.csv"),
    output:
        recall=f"{TABLES}/recall.csv",
        networks=f"{TABLES}/networks.csv",
    log:
        f"{LOGS}/measure.log",
    conda:
        "../envs/study.yaml"
    resources:
        mem_mb=2000,
    params:
        code=get_code("measure"),
        splits=STUDY.crossfit_splits,
    message:
        "Measuring recall distortion"
    script:
        "../scripts/measure.py"


rule measure_all:
    input:
        rules.measure.output,
