"""What pruning does to the recall of each class: data, networks, pruning, measures, report."""

from snakemake.utils import min_version

min_version("9.27")


configfile: "config/config.yaml"


include: "workflow/rules/start.smk"
include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/compress.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/infer.smk"
include: "workflow/rules/report.smk"


report: "workflow/report/workflow.rst"


# The weights and predictions are targets too, so that a clone that holds only the tables in git
# computes them again instead of reporting that there is nothing to do.
rule all:
    default_target: True
    input:
        rules.prepare_all.input,
        rules.train_all.input,
        rules.compress_all.input,
        rules.evaluate_all.input,
        rules.measure_all.input,
        rules.infer_all.input,
        rules.report_all.input,
    message:
        "The study is complete"


onstart:
    begin()


onsuccess:
    finish()
