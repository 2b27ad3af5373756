"""The errors that are the person's to mend, not ours: shown as one line, without a traceback."""


class InputError(ValueError):
    """A mistake in an option or a file: the message names it and says what to do."""


class EnvironmentProblem(RuntimeError):
    """Something outside the program is missing or failed: the network, the disk, data that is not there."""
