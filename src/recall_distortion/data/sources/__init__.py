"""The data sources that a study can name: each in a file of this folder, with its facts.

The workflow reads a study every time it starts, so what is heavy a source imports when it reads. A
file whose name begins with an underscore holds what several of them share.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module

from recall_distortion.data.images import Source
from recall_distortion.system.errors import DataError

#: Every source by the name that studies give it: the ``SOURCES`` of all files here.
SOURCES: dict[str, Source] = {}
#: The module that each lies in.
MODULES: dict[str, str] = {}
for _module in pkgutil.iter_modules(__path__):
    if not _module.name.startswith("_"):
        _path = f"{__name__}.{_module.name}"
        for _name, _source in import_module(_path).SOURCES.items():
            if _name in SOURCES:
                raise DataError(f"{MODULES[_name]} and {_path} both have a source {_name!r}")
            SOURCES[_name], MODULES[_name] = _source, _path
