"""The last line on the terminal, below all that the workflow's engine says when it ends."""

from __future__ import annotations

import atexit
import logging
import signal
import sys
import threading
from pathlib import Path
from types import FrameType


class LastLine(logging.Handler):
    """Says at the end of this process where a study's page lies or, after Ctrl-C, how to go on.

    The engine calls nothing of the workflow where there is nothing to do: it only logs that, in the
    words ``idle``, and so this listens to its log.
    """

    def __init__(self, page: Path, idle: str) -> None:
        super().__init__()
        self._page = page
        self._idle = idle
        self._done = self._stopped = False
        atexit.register(self._say)
        # Who started this process may have it ignore Ctrl-C, as a shell does in the background.
        ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if ours and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, self._stop)

    def emit(self, record: logging.LogRecord) -> None:
        """Take note if the engine says that there is nothing to do."""
        if record.getMessage() == self._idle:
            self.done()

    def done(self) -> None:
        """Take note that the study is what was asked for."""
        self._done = True

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopped = True
        signal.default_int_handler(number, frame)

    def _say(self) -> None:
        if self._stopped:
            print("Stopped by Ctrl-C. The same command goes on from here.", file=sys.stderr)
        elif self._done and self._page.exists():
            print(f"The report: {self._page.resolve()}")
