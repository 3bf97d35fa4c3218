"""The rooms and their doors: who may import whom, and what a command may import before it is needed."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import cnnlab

PACKAGE = Path(cnnlab.__file__).parent
ROOMS = ("cli", "comparison", "evaluation", "training", "gradient_check", "data", "models", "recipe", "backprop",
         "imaging", "report")  # fmt: skip
ALLOWED = {
    "comparison": {"training", "evaluation", "report", "data", "models", "recipe"},
    "evaluation": {"training", "report", "data", "models", "recipe", "imaging"},
    "training": {"models", "data", "backprop", "report", "recipe"},
    "gradient_check": {"backprop", "models", "recipe"},
    "data": {"imaging"},
    "recipe": {"models"},
    "models": set(),
    "backprop": set(),
    "imaging": {"recipe"},  # the spec's grammar and YAML, for kernels
    "report": {"imaging"},  # the sheet draws what a kernel does
}


def imports(file: Path, *, top_only: bool = False) -> set[str]:
    """The modules that a file imports by absolute name, outside TYPE_CHECKING."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    guarded = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.dump(block.test)
        for statement in block.body
        for node in ast.walk(statement)
    }
    nodes = tree.body if top_only else list(ast.walk(tree))
    found: set[str] = set()
    for node in nodes:
        if id(node) in guarded:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import"
            found |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def room_of(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "cnnlab" and len(parts) > 1 and parts[1] in ROOMS else None


@pytest.mark.parametrize("room", sorted(ALLOWED))
def test_imports_go_one_way(room):
    for file in (PACKAGE / room).rglob("*.py"):
        used = {target for module in imports(file) if (target := room_of(module)) is not None} - {room}
        assert used <= ALLOWED[room], f"{file.relative_to(PACKAGE)} imports {sorted(used - ALLOWED[room])}"


@pytest.mark.parametrize("room", sorted(ALLOWED))
def test_contributing_says_the_same_of_a_room(room):
    table = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    [row] = re.findall(rf"^\| `cnnlab/{room}/` \|.*\|(.*)\|$", table, flags=re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", row)) == ALLOWED[room]


def test_typer_and_rich_live_in_the_command_line_only():
    for file in PACKAGE.rglob("*.py"):
        top = {module.split(".")[0] for module in imports(file)}
        inside = file.relative_to(PACKAGE).parts
        if "typer" in top:
            assert inside[0] == "cli", file
        if "rich" in top:
            assert inside[:2] == ("cli", "render"), file


def test_matplotlib_is_imported_with_its_own_settings_only():
    """After `import_matplotlib` or `new_figure`, or where a figure is already there."""
    for file in PACKAGE.rglob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        assert "matplotlib" not in {module.split(".")[0] for module in imports(file, top_only=True)}, file
        for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
            source = ast.unparse(function)
            first = re.search(r"^ +(from|import) matplotlib", source, flags=re.MULTILINE)
            if first and function.name != "import_matplotlib":
                safe = re.search(r"(import_matplotlib|new_figure)\(|: '(Axes|Figure)'", source[: first.start()])
                assert safe, f"{file}: {function.name}"


@pytest.mark.parametrize("contents", sorted(PACKAGE.rglob("__init__.py")), ids=lambda file: file.parent.name)
def test_a_package_names_all_that_is_in_it(contents):
    modules = {file.stem for file in contents.parent.glob("*.py") if not file.stem.startswith("__")}
    packages = {file.parent.name for file in contents.parent.glob("*/__init__.py")}
    described = ast.get_docstring(ast.parse(contents.read_text(encoding="utf-8"))) or ""
    missing = sorted(name for name in modules | packages if f"`{name}`" not in described)
    assert not missing, f"the docstring of {contents.relative_to(PACKAGE.parent)} leaves out {missing}"


@pytest.mark.parametrize("room", ["backprop", "imaging", "data", "recipe"])
def test_these_rooms_do_without_torch(room):
    for file in (PACKAGE / room).rglob("*.py"):
        assert not {"torch", "torchvision"} & {module.split(".")[0] for module in imports(file)}, file


def test_the_core_never_prints_and_never_exits():
    for file in PACKAGE.rglob("*.py"):
        if "cli" in file.parts or file.name == "__main__.py":
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("print", "sys.exit", "exit", "quit", "os._exit"), f"{file}: {called}"


@pytest.mark.parametrize("optimiser", ["sgd", "muon", "adamw"])
def test_training_digits_reaches_its_first_step_without_what_it_does_not_need(optimiser):
    code = (
        "import sys\n"
        "from cnnlab.training import loop\n"
        "from cnnlab.training.events import StepDone\n"
        "from cnnlab.training.settings import Settings\n"
        "from cnnlab.recipe.load import resolve\n"
        "from cnnlab.recipe.spec import parse_spec\n"
        "def tell(event):\n"
        "    if isinstance(event, StepDone):\n"
        "        heavy = {'sklearn', 'matplotlib', 'torchvision', 'scipy', 'PIL', 'torch._dynamo'} & set(sys.modules)\n"
        "        sys.exit(f'imported: {heavy}' if heavy else 0)\n"
        f"net, settings = parse_spec('cnn:width=4'), ['optim.name={optimiser}']\n"
        "loop.train(resolve(arch=net, settings=settings, flags={'--data': 'digits'}), Settings(), tell)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
