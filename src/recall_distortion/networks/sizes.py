"""Names of networks that are built in any depth and width, which their names say."""

from __future__ import annotations

import re

#: The networks whose names end in ``_<hidden layers>x<units of each>``, as thin_mlp_30x8.
SIZED = ("thin_mlp", "thin_cnn")
#: What such a name is: at most 999 layers and 9999 units.
PATTERN = rf"^({'|'.join(SIZED)})_([1-9][0-9]{{0,2}})x([1-9][0-9]{{0,3}})$"


def parted(name: str) -> tuple[str, dict[str, int]]:
    """Return a network's name without its size, and the size: ``depth`` and ``width``.

    A name that says no size comes back as it is, with no size.
    """
    found = re.fullmatch(PATTERN, name)
    if found is None:
        return name, {}
    network, depth, width = found.groups()
    return network, {"depth": int(depth), "width": int(width)}
