"""Who may import whom, held by walking the sources; and what may not stand in them."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(path for folder in ("ssvid", "pretext", "downstream") for path in (ROOT / folder).rglob("*.py"))
FREE = {
    "ssvid",
    *(
        f"ssvid.{name}"
        for name in (
            "callable_room",
            "compute",
            "config",
            "engine",
            "environment",
            "errors",
            "files",
            "plugins",
            "progress",
        )
    ),
}

# A room may import itself, what is free, and the rooms named here: each sees those below it and none above.
VIDEO = {"ssvid.video"}
DATA = VIDEO | {"ssvid.data"}
ZOO = DATA | {"ssvid.zoo", "ssvid.ops"}
TRAINING = ZOO | {"ssvid.training"}
EVALUATION = TRAINING | {"ssvid.evaluation"}
ALLOWED = {
    "ssvid.video": set(),
    "ssvid.data": VIDEO,
    "ssvid.zoo": DATA,
    "ssvid.ops": DATA,
    "ssvid.training": ZOO,
    "ssvid.evaluation": TRAINING,
    "ssvid.audit": EVALUATION,
    "ssvid.search": EVALUATION,
    "ssvid.speedup": EVALUATION,
    "ssvid.streaming": EVALUATION,
    "ssvid.tracking": EVALUATION,
    "pretext": {"ssvid.training.task", "ssvid.ops"},
    "downstream": EVALUATION | {"ssvid.search", "ssvid.tracking", "downstream"},
}


SCREEN = 50  # lines


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path) -> set[str]:
    """Modules of ours that a file imports, wherever in it, type checking aside."""
    names: set[str] = set()
    tree = ast.parse(path.read_text())
    skipped = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for child in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return {name for name in names if name.split(".")[0] in ("ssvid", "pretext", "downstream")}


def room_of(module: str) -> str | None:
    return next((room for room in ALLOWED if module == room or module.startswith(room + ".")), None)


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_imports_go_one_way(path):
    module = module_of(path)
    in_cli = module == "ssvid.__main__" or module.split(".")[:2] == ["ssvid", "cli"]
    assert in_cli or not any(name.split(".")[:2] == ["ssvid", "cli"] for name in imported(path))
    room = room_of(module)
    if room is None:
        return  # the command line and the other doors to the house may use every room
    for name in imported(path) - FREE:
        beneath = any(name == other or name.startswith(other + ".") for other in ALLOWED[room])
        own = name.startswith(room) and room != "pretext"
        assert beneath or own, f"{module} may not import {name}"


def test_faiss_is_imported_in_one_file_at_most():
    assert sum("import faiss" in path.read_text() for path in SOURCES) <= 1


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_nothing_is_unpickled(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            assert not {"pickle", "dill", "joblib"} & {alias.name for alias in node.names}
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("torch.load", "np.load", "numpy.load"):
            words = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            assert words.get("weights_only") == "True" or words.get("allow_pickle") == "False"


def test_functions_fit_on_a_screen():
    long = {
        f"{module_of(path)}.{node.name}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and (node.end_lineno or 0) - node.lineno >= SCREEN
    }
    assert not long, f"longer than {SCREEN} lines: {sorted(long)}"


ROOMS = {
    "audit",
    "bench",
    "cli",
    "data",
    "evaluation",
    "ops",
    "search",
    "speedup",
    "streaming",
    "tracking",
    "training",
    "video",
    "zoo",
}


def test_the_tree_is_that_of_contributing():
    folders = {path.name for path in (ROOT / "ssvid").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders - {"templates"} == ROOMS
    for folder in ("data/layouts", "zoo/encoders", "zoo/temporal", "evaluation/tables"):
        assert (ROOT / "ssvid" / folder / "__init__.py").exists(), folder
    files = {path.stem for path in (ROOT / "ssvid").glob("*.py")}
    assert {f"ssvid.{name}" for name in files - {"__init__", "__main__"}} | {"ssvid"} == FREE
    for package in ("pretext", "downstream"):  # nothing but tasks, nothing but adapters
        assert not [path for path in (ROOT / package).iterdir() if path.is_dir() and path.name != "__pycache__"]
    named = (ROOT / "CONTRIBUTING.md").read_text()
    assert all(f"{room}/" in named for room in ROOMS)
    assert not list((ROOT / "ssvid").rglob("utils.py"))


def public_classes() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path in SOURCES:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found.setdefault(node.name, []).append(module_of(path))
    return found


def test_no_class_name_has_two_meanings():
    twice = {name: modules for name, modules in public_classes().items() if len(modules) > 1}
    assert not twice


def test_the_words_of_the_old_house_are_gone():
    old = {"Entrant", "Group", "Cell", "Work", "Subject", "Setting", "Plan", "Examiner", "Palette", "Stretches"}
    old |= {"Footage", "Shelf", "Wish", "Look", "Parts", "Track", "Voice", "Signals", "Rows", "Space", "Cut"}
    assert not old & set(public_classes())


def callbacks(path: Path) -> set[str]:
    """Names of the aliases of a file that are progress callbacks, which `ssvid.progress` has for all."""
    lines = path.read_text().splitlines()
    return {line.split(" = ")[0] for line in lines if " = Callable[[str, int, int], None]" in line}


def test_progress_has_one_type():
    assert not {name for path in SOURCES for name in callbacks(path)}


def test_a_task_imports_nothing_that_a_users_own_task_could_not():
    ours = {name for path in SOURCES if module_of(path).startswith("pretext.") for name in imported(path)}
    assert ours <= {"ssvid.training.task", "ssvid.ops"} | {name for name in ours if name.startswith("ssvid.ops.")}
    used = {
        alias.name
        for path in SOURCES
        if module_of(path).startswith("pretext.")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module == "ssvid.training.task"
        for alias in node.names
    }
    from ssvid.training import task

    assert used <= set(task.__all__)  # public, so a user finds it
