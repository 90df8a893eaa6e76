"""One tree of errors. Each says what was expected, what came and what to do.

The command line turns an error into one line on stderr and the error's `exit_code`.
"""

from __future__ import annotations


class SfumatoError(Exception):
    """Root of every error that sfumato raises on purpose."""

    exit_code = 1


class UsageError(SfumatoError):
    """An option or an argument that cannot mean anything: unknown name, value out of range."""

    exit_code = 2


class DataError(SfumatoError):
    """A file or a record that cannot be read; names file, line and field."""

    exit_code = 3


class UnusableError(DataError):
    """A record that is well-formed and of no use: nothing in it is to be learnt.

    Attributes:
        reason: why, in words that many records share, so that they can be counted.
        place: where it stands ("chats.jsonl:17"), empty if unknown.
    """

    def __init__(self, message: str, *, reason: str, place: str) -> None:
        super().__init__(f"{place}: {message}" if place else message)
        self.reason = reason
        self.place = place


class ModelError(SfumatoError):
    """A checkpoint or a model that cannot do what is asked of it."""

    exit_code = 4


class ResourceError(SfumatoError):
    """The machine or the run gave out: disk, memory, a loss that is not finite."""

    exit_code = 5


class MissingExtraError(SfumatoError):
    """An optional dependency is needed and absent; names the extra that brings it."""

    exit_code = 5

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"this needs the package {package!r}, which is not installed: "
            f"pip install 'sfumato[{extra}]'"
        )
