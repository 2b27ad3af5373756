"""Errors that the user can correct: a command prints them as one line, without a traceback."""


class InputError(ValueError):
    """A mistake in an option or a file; the message names it and says what to do."""


class EnvironmentProblem(RuntimeError):
    """Something outside the program failed or is missing, such as the network, the disk or a data set."""
