#!/usr/bin/env bash
# pymer4 is on PyPI alone, and this package is installed from the folder that Snakemake runs in.
set -euo pipefail
python -m pip install --no-deps "pymer4==0.9.2"
python -m pip install --no-deps --no-build-isolation --editable .
