"""The errors a user can cause or meet; each message says what is wrong, where, and what to do."""

from __future__ import annotations


class RecallDistortionError(Exception):
    """Base of every error whose message is meant for the user and needs no traceback."""


class StudyError(RecallDistortionError):
    """A study file or an override on the command line is wrong."""


class DataError(RecallDistortionError):
    """A data set is missing, damaged or not what it should be."""


class NetworkError(RecallDistortionError):
    """A network cannot be built for these images, or cannot reach a pruning ratio."""


class TrainingError(RecallDistortionError):
    """A replicate could not be trained."""


class TableError(RecallDistortionError):
    """A table or a file of predictions is missing, damaged or inconsistent."""


class InferenceError(RecallDistortionError):
    """A model could not be fitted, or two engines disagree about the same model."""


class DeviceError(RecallDistortionError):
    """A job asks for a GPU that it cannot have."""


class SetupError(RecallDistortionError):
    """A program or package that this step needs is not installed."""
