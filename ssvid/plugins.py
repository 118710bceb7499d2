"""Finding plug-ins: a file of ours, an installed entry point, or a path to a user's file.

What a plug-in says about itself is read from its source, never by importing it: listing stays fast, needs no torch, and
a broken plug-in cannot break the list. It is imported only when it is used.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import importlib
import importlib.util
import inspect
import logging
import operator
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.metadata import EntryPoints, entry_points
from pathlib import Path
from types import CodeType, GenericAlias, ModuleType
from typing import TYPE_CHECKING, Any, Literal
from zlib import crc32

from ssvid.errors import ConfigError

if TYPE_CHECKING:
    from ssvid.training.task import PretextTask

ARITHMETIC: dict[type, Callable[[Any, Any], Any]] = {
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}

logger = logging.getLogger(__name__)


def _parse(path: Path) -> ast.Module:
    try:
        return _tree(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise ConfigError(f"Cannot read {path}: {error.strerror}. Check the path.") from error
    except (SyntaxError, ValueError) as error:
        raise ConfigError(f"{path} is not valid Python: {error}. Correct the file.") from error


@lru_cache(maxsize=128)
def _tree(source: str, name: str) -> ast.Module:
    """The parsed source, which nobody changes. A table asks for every protocol at every cell, and parsing took a third of its time."""
    return ast.parse(source, filename=name)


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


def read_signature(path: Path, function: str) -> dict[str, inspect.Parameter]:
    """Keyword-only parameters of a module-level function, read from the source without running it: what options it takes.

    Annotations are int, float, bool, str, tuple[...], Literal[...] and unions of them; defaults are plain literals.
    Raises ConfigError where the file has no such function, and for another annotation or default.
    """
    for node in _parse(path).body:
        if isinstance(node, ast.FunctionDef) and node.name == function:
            found = {}
            for argument, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
                try:
                    hint, value = _read_hint(argument.annotation), ast.literal_eval(default or ast.Constant(None))
                except (ValueError, KeyError, TypeError) as error:
                    raise ConfigError(
                        f"{path}, line {argument.lineno}: {argument.arg} of {function} needs a type of int, float, bool, str, "
                        "tuple and Literal, and a plain default."
                    ) from error
                if default is None:
                    raise ConfigError(f"{path}, line {argument.lineno}: {argument.arg} of {function} needs a default.")
                found[argument.arg] = inspect.Parameter(
                    argument.arg, inspect.Parameter.KEYWORD_ONLY, default=value, annotation=hint
                )
            return found
    raise ConfigError(f"{path} has no function {function}(name, *, option: type = default).")


def _read_hint(node: ast.expr | None) -> Any:
    """The type that an annotation means; KeyError, TypeError or ValueError for one that is not in the short list."""
    if isinstance(node, ast.BinOp):
        return _read_hint(node.left) | _read_hint(node.right)
    if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "Literal":
        value = ast.literal_eval(node.slice)
        return Literal[value]
    if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "tuple":
        items = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        return tuple[tuple(_read_hint(item) for item in items)]  # type: ignore[misc]
    names = {"int": int, "float": float, "bool": bool, "str": str, "None": None, "...": Ellipsis}
    return names[ast.unparse(node) if node else ""]


def read_class(path: Path, base: str) -> dict[str, Any]:
    """Constants in the body of the first class in a file that derives from `base`, and under "options" what its constructor takes.

    Options are its keyword-only parameters, {name: {"type": annotation as text, "default": value}}; a default that is no constant of the
    file is given as its text. Nothing is run. Raises ConfigError as `read_literal` does.
    """
    body = _parse(path).body
    known = _constants(body, {})
    for item in body:
        if isinstance(item, ast.ClassDef) and any(base in ast.unparse(parent) for parent in item.bases):
            found = _constants(item.body, known)
            makers = [part for part in item.body if isinstance(part, ast.FunctionDef) and part.name == "__init__"]
            return found | {"options": _keyword_options(makers[0], {**known, **found}) if makers else {}}
    return {"options": {}}


def _keyword_options(function: ast.FunctionDef, known: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    options: dict[str, dict[str, Any]] = {}
    for parameter, default in zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True):
        option = {"type": ast.unparse(parameter.annotation) if parameter.annotation else "Any"}
        options[parameter.arg] = option if default is None else option | {"default": _value(default, known)}
    return options


def _constants(body: Sequence[ast.stmt], known: Mapping[str, Any]) -> dict[str, Any]:
    """Names that a body assigns a constant: a literal, a product, quotient or power of numbers, or a constant known before."""
    found: dict[str, Any] = {}
    for node in body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            names, value = (target.elts, node.value) if isinstance(target, ast.Tuple) else ([target], node.value)
            values = value.elts if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) else [value]
            for name, part in zip(names, values, strict=False):
                constant = _value(part, {**known, **found})
                if isinstance(name, ast.Name) and constant != ast.unparse(part):
                    found[name.id] = constant
    return found


def _value(node: ast.expr, known: Mapping[str, Any]) -> Any:
    """The value of an expression that needs nothing run, else its text."""
    if isinstance(node, ast.Name) and node.id in known:
        return known[node.id]
    if isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC:
        left, right = _value(node.left, known), _value(node.right, known)
        if isinstance(left, int | float) and isinstance(right, int | float):
            return ARITHMETIC[type(node.op)](left, right)
    try:
        return ast.literal_eval(node)
    except ValueError:
        return ast.unparse(node)


def read_summary(path: Path) -> str:
    """First line of the module's docstring, '' where it has none. Raises ConfigError as `read_literal` does."""
    return (ast.get_docstring(_parse(path)) or "").partition("\n")[0].strip()


def source_digest(*paths: Path) -> str:
    """Hex digits (SHA-256) of the code of users' files and of what they import from their own folders; "" for files of this project.

    Comments, docstrings and layout do not count. What is computed with a user's code is kept under it, so that an edited file never gets
    an old number; our own code is told by the version and by the weights.
    """
    root = Path(__file__).parent.parent
    ours = [root / package for package in ("ssvid", "pretext", "downstream")]
    others = [path for path in map(Path.resolve, paths) if not any(path.is_relative_to(folder) for folder in ours)]
    files = {file for path in others for file in _with_imports(path)}
    if not files:
        return ""
    return hashlib.sha256("\n".join(sorted(_code(file) for file in files)).encode()).hexdigest()


def _with_imports(path: Path) -> set[Path]:
    """A source file and those that it imports, directly or through others, from its own folder and the folders in it."""
    found, waiting = set[Path](), {path}
    while waiting:
        file = waiting.pop()
        found.add(file)
        names = set(_imported(file))
        # `folder.module` as seen from the file, and `package.module` of the package that the file is part of
        likely = {file.parent / f"{name.replace('.', '/')}.py" for name in names}
        likely |= {file.parent / f"{name.rpartition('.')[2]}.py" for name in names}
        waiting |= {source for source in likely - found if source.is_file() and source.is_relative_to(path.parent)}
    return found


def _imported(path: Path) -> Iterator[str]:
    """Dotted names of the modules that a file may import; of `from a import b` both a and a.b."""
    for node in ast.walk(_parse(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = [node.module] if node.module else []
            yield from module
            yield from (".".join([*module, alias.name]) for alias in node.names)


def _code(path: Path) -> str:
    """What a file does, as text: its syntax tree without docstrings."""
    tree = _parse(path)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(
            node
        ):
            node.body = node.body[1:]
    return ast.dump(tree)


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
    beside = Path(__file__).parents[1] / package  # where ours lies when it is a top package
    if "." not in package and beside.is_dir() and beside.resolve() != home.parent.resolve():
        raise ConfigError(
            f"{home.parent} hides ssvid's own package {package}; rename that folder or work in another one."
        )
    found = {path.stem: path for path in sorted(home.parent.glob("[!_]*.py"))}
    for entry in _entry_points(group, _places()):
        path = locate(entry.value)
        if path is None:
            logger.warning("Entry point %s = %s (%s): no such module; left out.", entry.name, entry.value, group)
        elif entry.name in found and found[entry.name] != path:
            logger.warning("Entry point %s = %s (%s): the name is taken; left out.", entry.name, entry.value, group)
        else:
            found[entry.name] = path
    return found


@lru_cache(maxsize=16)
def _entry_points(group: str, places: tuple[tuple[str, int], ...]) -> EntryPoints:
    """The entry points of a group that are installed in `places`. Every task and protocol that is looked up asks for them, and each time
    the files of every installed package would be read."""
    return entry_points(group=group)


def _places() -> tuple[tuple[str, int], ...]:
    """Where packages are looked for, and when each place last changed; the empty one is the working directory."""
    places = [place or os.curdir for place in sys.path]
    return tuple((place, os.stat(place).st_mtime_ns) for place in places if os.path.exists(place))


class _SourceLoader(SourceFileLoader):
    """Compiles the source each time: Python tells kept bytecode by size and second, and so misses a quick edit."""

    def get_code(self, fullname: str) -> CodeType:
        """The code of the source as it is now."""
        return self.source_to_code(self.get_data(self.path), self.path)


def task_source(name: str) -> str:
    """Hex digits of the code of a user's task, "" for our own; see `source_digest`."""
    return source_digest(Path(inspect.getfile(load_task(name))))


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
    if path.suffix != ".py":
        raise ConfigError(f"{path} is not a Python file; its name must end in .py.")
    loader = _SourceLoader(f"ssvid_user_{path.stem}_{crc32(os.fsencode(path)):x}", str(path))
    spec = ModuleSpec(loader.name, loader, origin=str(path))
    spec.has_location = True
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pickle look their module up by name
    try:
        loader.exec_module(module)
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
    # in Python 3.10 an alias such as list[int] is an instance of type, but no class
    classes = [item for item in vars(module).values() if isinstance(item, type) and not isinstance(item, GenericAlias)]
    found = [item for item in classes if issubclass(item, PretextTask) and item.__module__ == module.__name__]
    if len(found) != 1:
        raise ConfigError(f"{path} must define exactly one PretextTask; it defines {len(found)}.")
    return found[0]
