"""The errors a user can act on; everything else that is raised is a bug of ours.

Each message is one line: what failed, where, what was found, what to do. The command line prints
it without a traceback and exits with the error's code: 2 for a user's mistake, 1 for a failed run.
"""


class VlmtuneError(Exception):
    """An error with a message meant for the user.

    Attributes:
        exit_code: What the process returns when this error ends it.
    """

    exit_code = 2


class ConfigError(VlmtuneError):
    """A key, value, flag or name that the run cannot use."""


class DataError(VlmtuneError):
    """A dataset, row or image that cannot be read or does not fit the stage."""


class RewardError(VlmtuneError):
    """A reward function that failed, or that returned what no trainer can use."""


class MissingDependency(VlmtuneError):
    """A library that the chosen path needs is not installed; the message has the command."""


class BackendUnavailable(VlmtuneError):
    """The chosen backend cannot run on this machine, or not for this stage."""


class CheckpointError(VlmtuneError):
    """A model folder or adapter is missing, incomplete or of an unknown layout."""


class RunFailed(VlmtuneError):
    """The run started and did not succeed; nothing the user typed was wrong."""

    exit_code = 1
