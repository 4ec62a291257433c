"""The user's own parts: the modules and packages that register them, and where each came from."""

import os
import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import FrameType, ModuleType

from nearnext.errors import ConfigError, NearnextError

GROUP = "nearnext.parts"
"""Group of the entry points: each names a module, whose import registers parts."""

VARIABLE = "NEARNEXT_IMPORT"
"""Environment variable with modules or files to import, as ``PYTHONPATH`` separates folders."""

PLACE = "own_part"
"""Attribute of an error from another process: what `raised_in_own_part` gave there."""

_imported: dict[str, ModuleType] = {}
"""Modules by what they were asked for."""

_found: set[str] = set()
"""Which of the group and the variable's values have been imported already."""


def find_own_parts() -> None:
    """Import the modules of ``NEARNEXT_IMPORT``, and once the entry points."""
    for source in filter(None, os.environ.get(VARIABLE, "").split(os.pathsep)):
        import_parts(source)
    if GROUP in _found:
        return
    _found.add(GROUP)
    from importlib.metadata import entry_points  # takes a while to import, and is often not needed

    for point in entry_points(group=GROUP):
        try:
            point.load()
            _imported.setdefault(point.module, sys.modules[point.module])
        except (Exception, SystemExit) as error:
            package = point.dist.name if point.dist is not None else "an unknown package"
            warnings.warn(
                f"the parts '{point.name}' of package {package} cannot be used: {_reason(error)}",
                RuntimeWarning,
                stacklevel=2,
            )


def import_parts(source: str) -> None:
    """Import a module by its name, or a Python file by its path, once."""
    if source in _imported:
        return
    path = Path(source)
    is_file = path.suffix == ".py" or os.sep in source
    if is_file and not path.is_file():
        raise ConfigError(f"cannot import {source}: there is no such file; check the path")
    folder = str(path.resolve().parent) if is_file else str(Path.cwd())
    if folder not in sys.path:
        sys.path.append(folder)  # a file may import its neighbours; at the end, so that it hides no installed module
    try:
        _imported[source] = _executed(path) if is_file else import_module(source)
    except (Exception, SystemExit) as error:
        raise ConfigError(f"cannot import {source}: {_reason(error)}") from error


def _executed(path: Path) -> ModuleType:
    loaded = sys.modules.get(path.stem)
    if loaded is not None and getattr(loaded, "__file__", None) == str(path.resolve()):
        return loaded
    name = path.stem if loaded is None else f"nearnext_import_{path.stem}"
    spec = spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise ConfigError("expected a Python file; its name ends in .py")
    module = sys.modules[name] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def source_of(part: type) -> str:
    """What to import for a part to be registered: a file, or a module's name."""
    module = sys.modules.get(part.__module__)
    asked = next((source for source, known in _imported.items() if known is module), None)
    file = getattr(module, "__file__", None)
    if part.__module__ == "__main__":
        return Path(file).name if file else "the notebook or session that defines it"
    return asked or part.__module__


def raised(error: BaseException) -> str:
    """An error in one line: its type, its text, and the last line of an own part that it passed, if it passed one."""
    place = raised_in_own_part(error)
    return " ".join(f"{type(error).__name__}: {error}{f' ({place})' if place else ''}".split())


def raised_in_own_part(error: BaseException) -> str:
    """File, line and function of an own part in which an error was raised, here or in a worker; empty: in none."""
    roots = {module.__name__.partition(".")[0] for module in _imported.values()}
    here = _last_place(error, lambda frame: str(frame.f_globals.get("__name__")).partition(".")[0] in roots)
    return here or vars(error).get(PLACE, "")


def keep_place(error: BaseException) -> None:
    """Note where an own part raised an error, which is pickled without its traceback."""
    find_own_parts()  # so that a worker knows their modules
    vars(error)[PLACE] = raised_in_own_part(error)


def _reason(error: BaseException) -> str:
    """An error of an import in one line, and the line of code where it happened, where that is not nearnext's own."""
    text = str(error) if isinstance(error, NearnextError) else f"{type(error).__name__}: {error}"
    place = _last_place(error, _is_imported_code)
    return " ".join(f"{text}{f' ({place})' if place else ''}".split())


def _is_imported_code(frame: FrameType) -> bool:
    file = frame.f_code.co_filename
    return not file.startswith(("<frozen", str(Path(__file__).parent))) and "importlib" not in file


def _last_place(error: BaseException, counts: Callable[[FrameType], bool]) -> str:
    """The innermost line of the traceback that counts."""
    trace, place = error.__traceback__, ""
    while trace is not None:
        code = trace.tb_frame.f_code
        if counts(trace.tb_frame):
            function = "" if code.co_name == "<module>" else f", in {code.co_qualname}"
            place = f"{Path(code.co_filename).name}, line {trace.tb_lineno}{function}"
        trace = trace.tb_next
    return place
