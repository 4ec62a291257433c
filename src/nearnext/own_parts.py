"""The user's own parts: the modules and packages that register them, and where each came from."""

import os
import sys
import warnings
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from nearnext.errors import ConfigError, NearnextError

GROUP = "nearnext.parts"
"""Group of the entry points: each names a module, whose import registers parts."""

VARIABLE = "NEARNEXT_IMPORT"
"""Environment variable with modules or files to import, as ``PYTHONPATH`` separates folders."""

_imported: dict[str, ModuleType] = {}
"""Modules by what they were asked for."""

_found: set[str] = set()
"""Which of the group and the variable's values have been imported already."""


def find_own_parts() -> None:
    """Import the modules of ``NEARNEXT_IMPORT``, and once the entry points."""
    for source in filter(None, os.environ.get(VARIABLE, "").split(os.pathsep)):
        if source not in _imported:
            import_parts(source)
    if GROUP in _found:
        return
    _found.add(GROUP)
    from importlib.metadata import entry_points  # takes a while to import, and is often not needed

    for point in entry_points(group=GROUP):
        try:
            point.load()
        except (Exception, SystemExit) as error:
            package = point.dist.name if point.dist is not None else "an unknown package"
            warnings.warn(
                f"the parts '{point.name}' of package {package} cannot be used: {_reason(error)}",
                RuntimeWarning,
                stacklevel=2,
            )


def import_parts(source: str) -> ModuleType:
    """Import a module by its name, or a Python file by its path, once."""
    if source in _imported:
        return _imported[source]
    path = Path(source)
    is_file = path.suffix == ".py" or os.sep in source
    if is_file and not path.is_file():
        raise ConfigError(f"cannot import {source}: there is no such file; check the path")
    folder = str(path.resolve().parent) if is_file else str(Path.cwd())
    if folder not in sys.path:
        sys.path.append(folder)  # a file may import its neighbours; at the end, so that it hides no installed module
    try:
        module = _executed(path) if is_file else import_module(source)
    except (Exception, SystemExit) as error:
        raise ConfigError(f"cannot import {source}: {_reason(error)}") from error
    _imported[source] = module
    return module


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


def _reason(error: BaseException) -> str:
    """An error in one line, and the line of code where it happened, where that is not nearnext's own."""
    text = str(error) if isinstance(error, NearnextError) else f"{type(error).__name__}: {error}"
    trace, where = error.__traceback__, ""
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if not file.startswith(("<frozen", str(Path(__file__).parent))) and "importlib" not in file:
            where = f" ({Path(file).name}, line {trace.tb_lineno})"
        trace = trace.tb_next
    return " ".join(f"{text}{where}".split())
