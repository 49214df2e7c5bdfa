"""What the tests of damaged and wrong input share."""

from __future__ import annotations

import pytest

from recall_distortion.system.errors import RecallDistortionError


def message(error: type[RecallDistortionError], function, *arguments, **options) -> str:
    with pytest.raises(error) as caught:
        function(*arguments, **options)
    text = str(caught.value)
    text.encode("utf-8")  # whatever bytes a file's name has, a log can hold the message
    return text
