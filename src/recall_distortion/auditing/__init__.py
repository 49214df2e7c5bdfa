"""Anyone's model before and after: which classes lose, is that real, and may it go out?

Labels and predictions of one test set are enough, from any framework. No torch, no study.
"""

from recall_distortion.auditing.of_models import Audit, audit

__all__ = ["Audit", "audit"]
