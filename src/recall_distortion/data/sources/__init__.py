"""The data sources that a study can name: each in a file of this folder, with its facts.

The workflow reads a study every time it starts, so what is heavy a source imports when it reads. A
file whose name begins with an underscore holds what several of them share.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module

from recall_distortion.data.images import Collection, Source
from recall_distortion.system.errors import DataError

#: Every source by the name that studies give it: the ``SOURCES`` of all files here.
SOURCES: dict[str, Source | Collection] = {}
#: The module that each lies in.
MODULES: dict[str, str] = {}
for _module in pkgutil.iter_modules(__path__):
    if not _module.name.startswith("_"):
        _path = f"{__name__}.{_module.name}"
        for _name, _source in import_module(_path).SOURCES.items():
            if _name in SOURCES:
                raise DataError(f"{MODULES[_name]} and {_path} both have a source {_name!r}")
            SOURCES[_name], MODULES[_name] = _source, _path


def find(source: str, name: str | None = None, split: str | None = None) -> Source:
    """Return a source by its name, one of a collection by ``name`` and ``split``.

    Raises ``DataError`` for what there is not, naming what there is.
    """
    if source not in SOURCES:
        raise DataError(f"unknown data source {source!r}; known are {', '.join(SOURCES)}")
    found = SOURCES[source]
    if isinstance(found, Collection):
        return found.find(name, split)
    for key, value in (("name", name), ("split", split)):
        if value is not None:
            of = ", ".join(n for n, other in SOURCES.items() if isinstance(other, Collection))
            raise DataError(f"source {source!r} takes no {key}; only {of} does: remove {key}")
    return found
