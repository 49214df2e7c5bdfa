"""The criteria of channels, one a file: ``score``, and ``observe`` where it looks at feature maps.

``score(channels, *, generator)`` returns a score for each channel of a group (``Channels``); those
with the lowest are removed. ``observe(maps)`` makes of what a layer reads of N images, [N, C, P],
a number for each of its C channels, which ``Channels.observed`` then has. A job imports the one
that it prunes by, by its name, and depends on no other.
"""

from __future__ import annotations
