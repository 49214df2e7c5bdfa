"""The errors a user can cause or meet; each message says what is wrong, where, and what to do."""

from __future__ import annotations


class RecallDistortionError(Exception):
    """Base of every error whose message is meant for the user and needs no traceback."""

    def __str__(self) -> str:
        """Return the message; bytes of a file's name that are no UTF-8 are spelled out.

        Otherwise the message itself could not be written to a log.
        """
        return super().__str__().encode("utf-8", "backslashreplace").decode("utf-8")


class StudyError(RecallDistortionError):
    """A study file or an override on the command line is wrong."""


class DataError(RecallDistortionError):
    """A data set is missing, damaged or not what it should be."""


class NetworkError(RecallDistortionError):
    """A network cannot be built for these images, or cannot reach a compression ratio."""


class TrainingError(RecallDistortionError):
    """A replicate could not be trained."""


class TableError(RecallDistortionError):
    """A table or a file of predictions is missing, damaged or inconsistent."""


class InferenceError(RecallDistortionError):
    """A model could not be fitted."""


class DeviceError(RecallDistortionError):
    """A job asks for a GPU that it cannot have."""


class SetupError(RecallDistortionError):
    """A program or package that this step needs is not installed."""


class AuditError(RecallDistortionError):
    """Labels or predictions are not what an audit can read."""


class PlanError(RecallDistortionError):
    """A plan of a study's jobs is missing, damaged or another version's."""


class UnwritableError(RecallDistortionError):
    """A file cannot be written: the disk is full, or the folder is not to be written to."""
