"""The exceptions that are meant for the person at the keyboard."""


class InputError(Exception):
    """Something given from outside is wrong: a file, a sample, a config key.

    The message is one line that names the thing, says what is wrong with it and what to do.
    The command line prints it without a traceback and exits with status 1.
    """


class LostRankError(Exception):
    """A training of several ranks ended because one of them did.

    The message is one line that names the rank, empty where another rank says it. The command line treats it as an
    `InputError`.
    """
