"""Functions that numba compiles when they are first called, and keeps for later runs where it can write.

A function is kept in the ``__pycache__`` next to its source, or in ``NUMBA_CACHE_DIR`` where that is set; where the
installation is read-only, in the user's cache folder; where that cannot be written either, in a private folder for
temporary files; and where nothing can be written, or the disk is full, not at all.
"""

import hashlib
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import njit, types
from numba.core import event
from numba.core.caching import (
    CompileResultCacheImpl,
    FunctionCache,
    InTreeCacheLocator,
    UserProvidedCacheLocator,
    UserWideCacheLocator,
)
from numba.core.dispatcher import Dispatcher

from nearnext.atomic import exclusive_folder
from nearnext.progress import note

Function = TypeVar("Function", bound=Callable[..., Any])

_said: set[str] = set()


def compiled(**options: Any) -> Callable[[Function], Function]:
    """A decorator: compile the function at its first call, without Python's lock, and keep the result.

    Options are those of ``numba.njit``, such as ``fastmath``.

    >>> @compiled()
    ... def twice(number: int) -> int:
    ...     return 2 * number
    >>> twice(4)
    8
    """

    def decorate(function: Function) -> Function:
        dispatcher: Any = njit(nogil=True, **options)(function)
        dispatcher.get_call_template = _without_constants(dispatcher.get_call_template)
        if "<" not in function.__code__.co_filename:  # what was typed in has no file to be kept next to
            try:
                dispatcher._cache = _Cache(function)
            except RuntimeError:
                _say_once("compiled code cannot be kept, and is compiled in each run: set NUMBA_CACHE_DIR to a folder")
        return dispatcher

    return decorate


def _without_constants(get_call_template: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a called function for the types of its arguments only, not once more for each constant given to it."""

    def resolve(arguments: Any, keywords: Any) -> Any:
        return get_call_template([cast("Any", types).unliteral(argument) for argument in arguments], keywords)

    return resolve


def _parts(names: dict[str, Any]) -> list[str]:
    """The compiled functions and the numbers among the global names of a module, as text."""
    found: list[str] = []
    for name, value in names.items():
        if isinstance(value, Dispatcher):
            cache: Any = cast("Any", value)._cache
            found.append(f"{name} {getattr(getattr(cache, '_cache_file', None), '_source_stamp', '')}")
        elif isinstance(value, int | float) and not name.startswith("__"):
            found.append(f"{name} {value!r}")
    return found


class _Temporary(InTreeCacheLocator):
    """A folder of this user among the temporary files; one that another user could write to is not trusted."""

    def get_cache_path(self) -> str:
        own: Any = self
        return str(_temporary_folder() / own.get_suitable_cache_subpath(own._py_file))

    def ensure_cache_path(self) -> None:
        folder = _temporary_folder()
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
            raise PermissionError(f"{folder} is not a folder of this user alone")
        super().ensure_cache_path()


def _temporary_folder() -> Path:
    return Path(tempfile.gettempdir()) / f"nearnext-compiled-{os.getuid()}"


class _Impl(CompileResultCacheImpl):
    _locator_classes = [UserProvidedCacheLocator, InTreeCacheLocator, UserWideCacheLocator, _Temporary]  # noqa: RUF012 - as numba has it


class _Cache(FunctionCache):
    """Numba's cache, up to date with all that a function uses, and written by one process at a time.

    Numba looks at a function's own file only, although what it calls is compiled into it: after an upgrade the old
    code of a called function would go on running. Two processes could give one file name to the code of two signatures.
    """

    _impl_class = _Impl

    def __init__(self, function: Any) -> None:
        super().__init__(function)
        # A digest: each part has the parts that it uses in its own stamp, and whole texts would double at each step.
        used = hashlib.sha256("\n".join(sorted(_parts(function.__globals__))).encode()).hexdigest()
        file: Any = cast("Any", self)._cache_file
        file._source_stamp = file._source_stamp, used

    def _save_overload(self, sig: Any, data: Any) -> None:
        own: Any = self
        try:
            own._impl.locator.ensure_cache_path()
            with exclusive_folder(Path(own.cache_path)):
                super()._save_overload(sig, data)  # type: ignore[misc]  # pyright: ignore
        except OSError as error:  # such as a full disk: the code runs all the same
            reason = error.strerror or error
            _say_once(f"compiled code cannot be kept: {reason}; free some space, or set NUMBA_CACHE_DIR to a folder")


class _Listener(event.Listener):
    """Says that something is compiled: without a word a first run seems to hang."""

    def on_start(self, event: Any) -> None:
        if event.data["dispatcher"].py_func.__module__.startswith("nearnext."):
            _say_once("compiling, up to half a minute; the result is kept for later runs")

    def on_end(self, event: Any) -> None:
        pass


def _say_once(text: str) -> None:
    if text not in _said:
        _said.add(text)
        note(text)


cast("Any", event).register("numba:compile", _Listener())
