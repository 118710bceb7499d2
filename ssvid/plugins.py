"""Finding plug-ins: a file of ours, an installed entry point, or a path to a user's file.

What a plug-in says about itself is read from its source, never by importing it: listing stays fast, needs no torch, and
a broken plug-in cannot break the list. It is imported only when it is used.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.util
import logging
import sys
from importlib.machinery import PathFinder
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any
from zlib import crc32

from ssvid.errors import ConfigError

if TYPE_CHECKING:
    from ssvid.training.task import PretextTask

logger = logging.getLogger(__name__)


def _parse(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    except OSError as error:
        raise ConfigError(f"Cannot read {path}: {error.strerror}. Check the path.") from error
    except (SyntaxError, ValueError) as error:
        raise ConfigError(f"{path} is not valid Python: {error}. Correct the file.") from error


def read_literal(path: Path, variable: str) -> Any:
    """Value of a module-level `variable = <literal>`, read from the source without running it.

    Returns None where the file does not assign the variable.
    Raises ConfigError where the file cannot be read or parsed, or the value is not a plain Python literal.
    """
    for node in _parse(path).body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if not any(isinstance(target, ast.Name) and target.id == variable for target in targets):
                continue
            try:
                return ast.literal_eval(node.value)
            except ValueError as error:
                raise ConfigError(
                    f"{path}, line {node.lineno}: {variable} must be a plain literal (numbers, strings, tuples, lists, "
                    "dicts), for it is read without running the file. Replace calls and names by their values."
                ) from error
    return None


def read_summary(path: Path) -> str:
    """First line of the module's docstring, '' where it has none. Raises ConfigError as `read_literal` does."""
    return (ast.get_docstring(_parse(path)) or "").partition("\n")[0].strip()


def read_signatures(path: Path) -> dict[str, dict[str, Any]]:
    """Keyword-only parameters with their defaults of every module-level function in a file, by its name, without running it.

    Raises ConfigError where a default is not a plain Python literal, and as `read_literal` does.
    """
    found: dict[str, dict[str, Any]] = {}
    for node in _parse(path).body:
        if not isinstance(node, ast.FunctionDef):
            continue
        pairs = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
        try:
            found[node.name] = {name.arg: ast.literal_eval(default) for name, default in pairs if default is not None}
        except ValueError as error:
            raise ConfigError(
                f"{path}, line {node.lineno}: defaults of the options of {node.name} must be plain literals, for they are read without "
                "running the file. Replace calls and names by their values."
            ) from error
    return found


def locate(module: str) -> Path | None:
    """Source file of a dotted module name, None where there is none. Imports neither the module nor its parents."""
    top, *rest = module.split(".")
    spec = importlib.util.find_spec(top)
    # find_spec("a.b") would import a, so from the second name on we walk the folders ourselves
    for depth, part in enumerate(rest, start=1):
        if spec is None or spec.submodule_search_locations is None:
            return None
        name = ".".join([top, *rest[: depth - 1], part])
        spec = PathFinder.find_spec(name, list(spec.submodule_search_locations))
    return Path(spec.origin) if spec is not None and spec.origin is not None and spec.has_location else None


def find_modules(package: str, group: str) -> dict[str, Path]:
    """Source files of the modules in `package` (by file name) and of the entry points in `group` (by their name).

    Names that start with an underscore are left out. An entry point never replaces a module of ours, and one whose
    source is missing is logged and left out. Nothing is imported.
    """
    home = locate(package)
    if home is None:
        raise ConfigError(f"The package {package} has no source on this machine; install it again.")
    found = {path.stem: path for path in sorted(home.parent.glob("[!_]*.py"))}
    for entry in entry_points(group=group):
        path = locate(entry.value)
        if path is None:
            logger.warning("Entry point %s = %s (%s): no such module; left out.", entry.name, entry.value, group)
        elif entry.name in found and found[entry.name] != path:
            logger.warning("Entry point %s = %s (%s): the name is taken; left out.", entry.name, entry.value, group)
        else:
            found[entry.name] = path
    return found


def import_source(path: Path) -> ModuleType:
    """Import the module whose source is `path`: by its dotted name where it has one, else from the file itself."""
    path = path.resolve()
    parts, folder = [path.stem], path.parent
    while (folder / "__init__.py").exists():
        parts, folder = [folder.name, *parts], folder.parent
    name = ".".join(parts)
    located = locate(name)
    if located is not None and located.resolve() == path:
        return importlib.import_module(name)
    spec = importlib.util.spec_from_file_location(f"ssvid_user_{path.stem}_{crc32(str(path).encode()):x}", path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path} is not a Python file; its name must end in .py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pickle look their module up by name
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[spec.name]
        raise
    return module


def list_tasks() -> dict[str, Path]:
    """Name and source of every pretext task: the files of `pretext/` and the entry points in "ssvid.tasks"."""
    return find_modules("pretext", "ssvid.tasks")


def load_task(name: str) -> type[PretextTask]:
    """The task class by its name or by the path of a file (whose code is run, so use files you trust).

    Raises ConfigError for an unknown name, with the closest one, and for a file that does not hold exactly one task.
    """
    from ssvid.training.task import PretextTask

    if name.endswith(".py"):
        path = Path(name).expanduser()
        if not path.is_file():
            raise ConfigError(f"{path} does not exist; name a task (ssvid list tasks) or a Python file that holds one.")
    else:
        tasks = list_tasks()
        if name not in tasks:
            close = difflib.get_close_matches(name, tasks, 1)
            hint = f" Did you mean {close[0]}?" if close else ""
            raise ConfigError(f"Unknown task {name!r}.{hint} There are: {', '.join(tasks)}; or give a path/to/file.py.")
        path = tasks[name]
    module = import_source(path)
    found = [
        item
        for item in vars(module).values()
        if isinstance(item, type) and issubclass(item, PretextTask) and item.__module__ == module.__name__
    ]
    if len(found) != 1:
        raise ConfigError(f"{path} must define exactly one PretextTask; it defines {len(found)}.")
    return found[0]
