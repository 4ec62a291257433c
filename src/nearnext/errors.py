"""One family of errors: each message says what was expected, what was found and what to do."""


class NearnextError(Exception):
    """Everything nearnext raises on purpose; the command line prints it as one line and exits with 2.

    >>> raise NearnextError("expected a log, found a folder without files; name a file")
    Traceback (most recent call last):
    nearnext.errors.NearnextError: expected a log, found a folder without files; name a file
    """


class DataError(NearnextError, ValueError):
    """A click log, or what is left of it after filters, cannot be used."""


class ConfigError(NearnextError, ValueError):
    """An option, a name or a parameter is unknown or out of range."""


class MissingPackageError(ConfigError):
    """An optional package is needed and not installed; the message names the extra that brings it."""


class ContractError(ConfigError):
    """A part, mostly one of the user's own, breaks a law of its kind; the message names the law and an example."""


class ArtifactError(NearnextError):
    """A saved model is missing, damaged, or of a schema this version cannot load."""


class LogWarning(UserWarning):
    """A property of a log that distorts metrics, or items of a table whose ids do not fit the log's."""


class LeakWarning(UserWarning):
    """Test sessions are not later than the training sessions, or are among them: figures on them are no prediction."""
