"""The walls between the rooms: imports run one way and never in a circle, and only scripts put rooms together."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("model", "instruments", "plotting", "lab", "cluster", "experiments", "report")
# Files of the report that draw, and those that are rules and nothing else.
DRAWN = ("figures", "findings", "page", "summary_page")
PURE = ("confidence", "recommendation", "recommendation_sentences")
# What a kind of file may import of ours besides its own kind.
ALLOWED = {
    "model": (),
    "instruments": ("ired.model.protocol",),
    # What draws: plotting, the figures of every room, and a part of the report.
    "figures": ("instruments",),
    "lab": ("cluster",),
    "cluster": ("lab",),
    # What several scripts share stands in the corridor: it may go everywhere, and only scripts call it.
    "experiments": ("model", "instruments", "figures", "lab"),
}
# Rooms of instruments from the ground up: none imports one above it.
FLOORS = (
    "core",
    "statistics",
    "accuracy",
    "landscape",
    "uncertainty",
    "dictionaries",
    "attribution",
    "concepts",
    "influence",
    "layers",
    "linearity",
    "probing",
    "geometry",
    "eigen_decomposition",
    "interventions",
    "transport",
    "circuits",
    "robustness",
    "sanity",
    "transfer",
    "comparison",
    "calibration",
)
MODULES, LINES, PARAGRAPH = 14, 400, 105  # of a folder, lines of a file, of a script, at most
EMPTY = {"found", "own", "one", "seen", "some", "away"}  # they say nothing of what a variable holds
# Outside packages that belong to one place.
ONLY_IN = {
    "mlflow": ("ired/lab/tracking/mlflow_client.py",),
    "matplotlib": ("figures", "ired/lab/run.py"),
    "seaborn": ("figures",),
    "plotly": ("figures",),
    "argparse": ("ired/lab/", "ired/cluster/"),
}


def imports(path, types=True):
    """Every module that a file imports, those inside functions included; `types`: and those for types alone."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if not types and isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            module = node.module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def within(name, allowed):
    return any(name == prefix or name.startswith(prefix + ".") for prefix in allowed)


def kind(*parts):
    """The kind of a file or module of ours: its room, or "figures" for whatever draws, wherever it stands.
    Of the report, rules are instruments and the rest is of the corridor."""
    room, rest = parts[1], parts[2:]
    if room == "plotting" or (room == "instruments" and any(part.startswith("figures") for part in rest)):
        return "figures"
    if room == "report":
        name = rest[0] if rest else ""
        return "figures" if name in DRAWN else "instruments" if name in PURE else "experiments"
    return room


def sources(folder):
    found = sorted((ROOT / folder).rglob("*.py"))
    assert found, f"{folder} is empty: this test would pass for nothing"
    return found


def breaches(path):
    """What a file imports and should not."""
    relative = path.relative_to(ROOT).as_posix()
    ours = kind(*relative.removesuffix(".py").split("/")) if relative.startswith("ired/") else None
    for name in imports(path):
        if name.startswith("ired.") and ours:
            if kind(*name.split(".")) not in (ours, *ALLOWED[ours]) and not within(name, ALLOWED[ours]):
                yield name
        if name.split(".")[0] == "scripts":
            yield name
        homes = ONLY_IN.get(name.split(".")[0], (relative,))
        if not relative.startswith(homes) and ours not in homes:
            yield name


def upwards(path):
    """What a file of instruments imports from a room above its own; a room that has no floor is above all."""
    relative = path.relative_to(ROOT).as_posix()
    floor = {room: number for number, room in enumerate(FLOORS)}
    own = floor.get(relative.split("/")[2], -1)
    for name in imports(path):
        if name.startswith("ired.instruments."):
            if floor.get(name.split(".")[2], len(FLOORS)) > own:
                yield name


def modules(folder):
    """How many modules there are in a folder, its index not counted."""
    return len([path for path in folder.glob("*.py") if path.name != "__init__.py"])


def circle():
    """Modules of which each imports the next, the last one the first; empty where there is no such circle."""
    files = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in sources("ired")
    }
    graph = {}
    for module, path in files.items():
        names = imports(path, types=False)  # of modules, or of what a module holds
        named = {name if name in files else name.rpartition(".")[0] for name in names}
        graph[module] = named & files.keys()
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1][::-1]
    return []


@pytest.mark.parametrize("folder", [f"ired/{room}" for room in ROOMS] + ["scripts"])
def test_no_wall_is_crossed(folder):
    crossed = {str(path): found for path in sources(folder) if (found := list(breaches(path)))}
    assert crossed == {}


def test_no_imports_run_in_a_circle():
    assert circle() == []


def test_rooms_stand_on_each_other():
    rooms = {path.relative_to(ROOT).parts[2] for path in sources("ired/instruments")} - {"__init__.py"}
    assert rooms == set(FLOORS)
    files = [path for path in sources("ired/instruments") if path.parent.name != "instruments"]
    assert {str(path): found for path in files if (found := list(upwards(path)))} == {}


def test_no_folder_is_crowded():
    folders = {path.parent for path in sources("ired")}
    counts = {folder.relative_to(ROOT).as_posix(): modules(folder) for folder in folders}
    assert {name: count for name, count in counts.items() if count > MODULES} == {}


def test_no_file_is_long():
    lines = {
        path.relative_to(ROOT).as_posix(): len(path.read_text().splitlines())
        for folder in ("ired", "scripts")
        for path in sources(folder)
    }
    assert {name: count for name, count in lines.items() if count > LINES} == {}


def test_scripts_stay_readable():
    for path in sources("scripts"):
        assert len(path.read_text().splitlines()) <= PARAGRAPH, f"{path.name} is no paragraph any more"


def repeated():
    """Public functions and classes whose name stands in several modules; `main` is for `python -m`."""
    homes = {}
    for path in sources("ired"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name != "main" and node.name[0] != "_":
                homes.setdefault(node.name, []).append(path.relative_to(ROOT).as_posix())
    return {name: places for name, places in homes.items() if len(places) > 1}


def test_a_public_name_exists_once():
    assert repeated() == {}


def empty_words(path):
    """Variables and arguments of a file that are called by one of EMPTY; a field may be: `found` of a search."""
    tree = ast.parse(path.read_text())
    fields = {
        id(field.target)
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for field in node.body
        if isinstance(field, ast.AnnAssign)
    }
    return EMPTY & {
        node.id if isinstance(node, ast.Name) else node.arg
        for node in ast.walk(tree)
        if isinstance(node, ast.arg)
        or (isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and id(node) not in fields)
    }


@pytest.mark.parametrize("folder", ["ired", "scripts"])
def test_variables_say_what_they_hold(folder):
    assert {str(path): words for path in sources(folder) if (words := empty_words(path))} == {}


@pytest.mark.parametrize(
    "place, line",
    [
        ("ired/model/x.py", "from ired.lab import keys"),
        ("ired/instruments/x.py", "def f():\n    from ired.model import energy"),
        ("ired/instruments/x.py", "import mlflow"),
        ("ired/instruments/landscape/x.py", "import matplotlib"),
        ("ired/instruments/landscape/x.py", "from ired.instruments.landscape import figures"),
        ("ired/instruments/landscape/x.py", "from ired.plotting import style"),
        ("ired/instruments/landscape/figures.py", "from ired.experiments import dictionaries"),
        ("ired/plotting/x.py", "from ired.experiments import dictionaries"),
        ("ired/report/page.py", "from ired.report import synthesis"),
        ("ired/report/confidence.py", "from ired.report import claims"),
        ("ired/report/claims/x.py", "import matplotlib"),
        ("ired/cluster/x.py", "from ired.report import claims"),
        ("ired/experiments/x.py", "import mlflow"),
        ("ired/instruments/landscape/figures.py", "import ired.model.protocol"),
        ("ired/plotting/x.py", "import ired.model.protocol"),
        ("ired/lab/x.py", "import ired.plotting.style"),
        ("ired/lab/x.py", "import ired.instruments.landscape.figures"),
        ("ired/lab/tracking/store.py", "from mlflow import MlflowClient"),
        ("scripts/x.py", "import argparse"),
    ],
)
def test_the_test_sees_breaches(place, line, tmp_path, monkeypatch):
    path = tmp_path / place
    path.parent.mkdir(parents=True)
    path.write_text(line)
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    assert list(breaches(path))


@pytest.mark.parametrize(
    "room, line",
    [
        ("landscape", "from ired.instruments.geometry import metrics"),
        ("core", "def f():\n    from ired.instruments.statistics import intervals"),
        ("dictionaries", "from ired.instruments.calibration import registry"),
        ("attic", "from ired.instruments.core import states"),
        ("calibration", "from ired.instruments.attic import x"),
    ],
)
def test_the_test_sees_who_looks_up(room, line, tmp_path, monkeypatch):
    path = tmp_path / "ired" / "instruments" / room / "x.py"
    path.parent.mkdir(parents=True)
    path.write_text(line)
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    assert list(upwards(path))
    path.write_text("from ired.instruments.calibration.registry import x")
    assert bool(list(upwards(path))) == (room != "calibration")


@pytest.mark.parametrize(
    "first, found",
    [
        ("from ired.lab.b import x", True),
        ("from ired.lab import b", True),
        ("def f():\n    import ired.lab.b", True),
        ("if TYPE_CHECKING:\n    from ired.lab.b import x", False),
        ("if TYPE_CHECKING:\n    import c\nelse:\n    import ired.lab.b", True),
        ("from ired.lab import table", False),
    ],
)
def test_the_test_sees_circles(first, found, tmp_path, monkeypatch):
    folder = tmp_path / "ired" / "lab"
    folder.mkdir(parents=True)
    for name, text in (("__init__", ""), ("a", first), ("b", "from ired.lab import c"), ("c", "import ired.lab.a")):
        (folder / f"{name}.py").write_text(text)
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    assert set(circle()) == ({"ired.lab.a", "ired.lab.b", "ired.lab.c"} if found else set())


@pytest.mark.parametrize(
    "text, words",
    [
        ("def f(one):\n    pass", {"one"}),
        ("def f(a):\n    for found, own in a:\n        seen: int = 3", {"found", "own", "seen"}),
        ("class Minima:\n    found: int", set()),
        ("a = [away for away in b]", {"away"}),
    ],
)
def test_the_test_sees_empty_words(text, words, tmp_path):
    (tmp_path / "a.py").write_text(text)
    assert empty_words(tmp_path / "a.py") == words


def test_the_test_sees_a_name_that_stands_twice(tmp_path, monkeypatch):
    (tmp_path / "ired").mkdir()
    for name, text in (
        ("a", "def table(): ..."),
        ("b", "class table: ..."),
        ("c", "def _table(): ...\ndef main(): ..."),
    ):
        (tmp_path / "ired" / f"{name}.py").write_text(text)
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    assert repeated() == {"table": ["ired/a.py", "ired/b.py"]}
