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


rule curvature:
    input:
        data=DATA,
        dense=f"{DENSE}.safetensors",
        compressed=get_compressed_of_bundle,
    output:
        curvature=f"{PREDICTIONS}.curvature.csv",
    log:
        f"{LOGS}/curvature/{paths.EVALUATE_JOB}.log",
    benchmark:
        f"{BENCHMARKS}/curvature/{paths.EVALUATE_JOB}.tsv"
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
        code=get_code("curvature", get_network_modules),
        deterministic=STUDY.deterministic,
        unfinished=f"{UNFINISHED}/curvature-{paths.EVALUATE_JOB}",
        curvature=lambda wildcards: measuring.parameters(STUDY),
    message:
        "Measuring the curvature at {wildcards.architecture} on {wildcards.dataset} ({wildcards.recipe}),"
        " {wildcards.bundle}, {wildcards.block}"
    script:
        "../scripts/curvature.py"


rule dead_units:
    input:
        data=DATA,
        dense=f"{DENSE}.safetensors",
        compressed=get_compressed_of_bundle,
    output:
        dead_units=f"{PREDICTIONS}.dead_units.csv",
    log:
        f"{LOGS}/dead_units/{paths.EVALUATE_JOB}.log",
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
        code=get_code("dead_units", get_network_modules),
        deterministic=STUDY.deterministic,
        selection=STUDY.selection,
    message:
        "Counting dead units of {wildcards.architecture} on {wildcards.dataset} ({wildcards.recipe}),"
        " {wildcards.bundle}, {wildcards.block}"
    script:
        "../scripts/dead_units.py"


rule mask_overlap:
    input:
        compressed=get_compared_masks,
    output:
        mask_overlap=f"{RESULTS}/{paths.MASK_OVERLAP}",
    log:
        f"{LOGS}/mask_overlap/{paths.PANEL_JOB}.log",
    conda:
        "../envs/study.yaml"
    threads: 1
    resources:
        mem_mb=2000,
    params:
        code=get_code("mask_overlap"),
        pairs=lambda wildcards: measuring.compared_masks(
            STUDY, STUDY.network(get_panel(wildcards))
        )[0],
    message:
        "Comparing masks of {wildcards.architecture} on {wildcards.dataset} ({wildcards.recipe})"
    script:
        "../scripts/mask_overlap.py"


rule evaluate_all:
    input:
        get_prediction_files(),
        get_curvature_files(),
        get_dead_units_files(),
        get_mask_overlap_files(),


rule measure:
    input:
        predictions=get_prediction_files(),
        sparsity=get_compressed_files(f"{COMPRESSED}.sparsity.csv"),
        curvature=get_curvature_files(),
        dead_units=get_dead_units_files(),
        mask_overlap=get_mask_overlap_files(),
        events=get_event_files(),
    output:
        recall=f"{TABLES}/recall.csv",
        networks=f"{TABLES}/networks.csv",
        events=f"{TABLES}/events.csv",
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
