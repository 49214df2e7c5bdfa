"""The data sources that a study can name: each in a file of this folder, with its facts.

The workflow reads a study every time it starts, so what is heavy a source imports when it reads.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module

from recall_distortion.data.images import Source

#: Every source by the name that studies give it: the ``SOURCES`` of all files here.
SOURCES: dict[str, Source] = {
    name: source
    for module in pkgutil.iter_modules(__path__)
    for name, source in import_module(f"{__name__}.{module.name}").SOURCES.items()
}
