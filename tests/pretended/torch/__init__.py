"""Stands for torch where a process tries GPUs: GPUS says why each fails, or null, or all."""

import json
import os

__version__ = "2.15.0+cu132"
GPUS = json.loads(os.environ["GPUS"])


class cuda:
    @staticmethod
    def device_count():
        return len(GPUS) if isinstance(GPUS, list) else 0


class ones:
    def __init__(self, count, device):
        self.device = device

    def add_(self, other):
        return self

    def item(self):
        number = self.device.partition(":")[2]
        reason = GPUS[int(number or 0)] if isinstance(GPUS, list) else GPUS
        if reason is not None:
            raise RuntimeError(reason)
