"""Where a study's files lie in its folder of results; braces hold what a path is about."""

from __future__ import annotations

PANEL = "{dataset}/{architecture}/{recipe}"
DATA = "data/{dataset}.safetensors"
# Without what their several files end in.
DENSE = f"dense/{PANEL}/{{block}}"
COMPRESSED = f"compressed/{PANEL}/{{bundle}}/{{ratios}}/{{block}}"
PREDICTIONS = f"predictions/{PANEL}/{{bundle}}/{{block}}"
MASK_OVERLAP = f"predictions/{PANEL}/mask_overlap.csv"
# Half-trained networks.
UNFINISHED = "unfinished"
# What names a job in that folder, and its log.
PANEL_JOB = PANEL.replace("/", "-")
TRAIN_JOB, COMPRESS_JOB, EVALUATE_JOB = (
    path.partition("/")[2].replace("/", "-") for path in (DENSE, COMPRESSED, PREDICTIONS)
)
