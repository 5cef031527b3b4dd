"""Laws about the code itself: nothing pickled is loaded, no text is run, XML is parsed by defusedxml alone, no shell is started."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = [path for folder in ("src", "workflow", "example", "benchmarks") for path in sorted((ROOT / folder).rglob("*.py"))]
RULES = sorted([ROOT / "Snakefile", *(ROOT / "workflow").rglob("*.smk"), ROOT / "workflow/Snakefile"])

FORBIDDEN_MODULES = (
    "pickle",
    "cPickle",
    "dill",
    "cloudpickle",
    "joblib",
    "shelve",
    "marshal",
    "xml",
    "lxml",
    "pty",
    "commands",
    "jsonpickle",
)
FORBIDDEN_CALLS = {
    "eval": "runs text", "exec": "runs text", "compile": "runs text", "__import__": "imports by a text", "os.system": "starts a shell",
    "os.popen": "starts a shell", "subprocess.getoutput": "starts a shell", "subprocess.getstatusoutput": "starts a shell",
    "asyncio.create_subprocess_shell": "starts a shell", "yaml.load": "makes objects", "yaml.load_all": "makes objects",
    "yaml.full_load": "makes objects", "yaml.unsafe_load": "makes objects", "pd.read_pickle": "unpickles",
    "pandas.read_pickle": "unpickles", "torch.hub.load": "runs code", "tempfile.mktemp": "a name that another may take first",
}  # fmt: skip
FORBIDDEN_WORDS = {"UnsafeLoader", "FullLoader", "Unpickler", "read_pickle", "to_pickle"}
IMPORTS_BY_NAME = {
    "src/pcim/__init__.py",
    "src/pcim/plates/vendors/__init__.py",
    "src/pcim/classifiers/formats/factories.py",
    "src/pcim/classifiers/formats/onnx.py",
}
"""Each asks its list of what may be imported first: the public names, `READERS`, `trusted_packages`; the last knows three packages."""
RUNS_PROGRAMS = {"src/pcim/classifiers/formats/weights.py"}
"""Where a program's own code is run: after its digest was found in `trusted_programs`."""


PARSERS = {
    "csv.reader": {"core/safe_read.py"}, "TiffFile": {"plates/vendors/safe_tiff.py"}, "Image.open": {"plates/vendors/decode.py"},
    "ET.iterparse": {"plates/vendors/export.py"}, "ET.parse": {"plates/vendors/ometiff.py"},
    "ET.fromstring": {"plates/vendors/imagexpress.py"}, "tomllib.loads": {"plates/vendors/tiles.py"},
    "np.lib.format.read_array": {"classifiers/formats/safe_arrays.py"}, "safetensors.numpy.load": {"classifiers/formats/safe_arrays.py"},
    "safetensors.torch.load": {"classifiers/formats/weights.py"},
    # of the command line, and of the profile of who runs the campaign
    "yaml.safe_load": {"cli/commands/adopt.py", "operations/doctor/profile_requests.py"},
    # of what PCIM wrote itself: Snakemake's benchmarks, the spool of a job, a model folder that was just made or loaded
    "csv.DictReader": {"campaign/chunk_size.py", "operations/status.py"}, "np.load": {"stages/attribute/spool.py"},
    "load_file": {"classifiers/packaging/import_model.py", "operations/doctor/node_probe.py"},
    "pd.read_csv": set(), "pd.read_excel": set(), "pd.read_json": set(), "pd.read_xml": set(), "tomllib.load": set(), "json.load": set(),
}  # fmt: skip
"""Parser -> the only modules that call it: each bounds what it is given, or is given what is trusted."""
READS_INPUTS = (
    "core/", "config/", "classifiers/", "plates/", "campaign/input_tables", "campaign/scaffold/",
)  # fmt: skip
"""Folders and modules that are given what others wrote: none reads Parquet."""
PARQUET = {
    "pd.read_parquet",
    "pq.ParquetFile",
    "parquet.ParquetFile",
    "pq.read_table",
    "parquet.read_table",
    "read_tables",
}


def dotted(node: ast.expr) -> str:
    """Return the name that is called, ``torch.load``."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def is_said(call: ast.Call, name: str, value: object) -> bool:
    return any(k.arg == name and isinstance(k.value, ast.Constant) and k.value.value is value for k in call.keywords)


def faults(tree: ast.AST, where: str) -> Iterator[str]:
    """Yield what a module does that none may."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            quiet = where.startswith("src") and _only_for_types(tree, node)
            yield from (f"imports {name}" for name in names if name.partition(".")[0] in FORBIDDEN_MODULES and not quiet)
        if isinstance(node, ast.Attribute | ast.Name):
            word = node.attr if isinstance(node, ast.Attribute) else node.id
            yield from [word] * (word in FORBIDDEN_WORDS)
        if not isinstance(node, ast.Call):
            continue
        name = dotted(node.func)
        if name in FORBIDDEN_CALLS:
            yield f"{name} {FORBIDDEN_CALLS[name]}"
        if name == "torch.load" and not is_said(node, "weights_only", True):
            yield "torch.load without weights_only=True"
        if any(k.arg == "allow_pickle" and not is_said(node, "allow_pickle", False) for k in node.keywords):
            yield "allow_pickle"
        if any(k.arg == "shell" and not is_said(node, "shell", False) for k in node.keywords):
            yield "starts a shell"
        if name in {"torch.jit.load", "torch.export.load"} and where not in RUNS_PROGRAMS:
            yield "runs a program"
        is_constant = bool(node.args) and isinstance(node.args[0], ast.Constant)
        if name.endswith("import_module") and not is_constant and where not in IMPORTS_BY_NAME:
            yield "imports by a text"


def _only_for_types(tree: ast.AST, node: ast.stmt) -> bool:
    """Tell whether an import is for annotations alone."""
    blocks = [found.body for found in ast.walk(tree) if isinstance(found, ast.If) and dotted(found.test) == "TYPE_CHECKING"]
    return any(node in block for block in blocks)


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_runs_what_it_reads(path: Path) -> None:
    where = path.relative_to(ROOT).as_posix()
    assert not list(faults(ast.parse(path.read_text(encoding="utf-8")), where))


@pytest.mark.parametrize(
    "line",
    [
        "import pickle", "from joblib import load", "import xml.etree.ElementTree as "
                                                    "ET", "torch.load(path)", "torch.load(p, weights_only=False)",
        "np.load(p, allow_pickle=True)", "np.load(p, allow_pickle=asked)", "yaml.load(text, Loader)", "yaml.load(text, yaml.UnsafeLoader)",
        "eval(text)", "os.system(text)", "subprocess.run(text, "
                                         "shell=True)", "pd.read_pickle(p)", "importlib.import_module(text)", "torch.jit.load(p)",
        "torch.export.load(p)",
    ],
)  # fmt: skip
def test_the_law_sees_each_of_these(line: str) -> None:
    assert list(faults(ast.parse(line), "src/pcim/x.py"))


def test_what_others_wrote_is_parsed_where_it_is_bounded_alone() -> None:
    for path in sorted((ROOT / "src/pcim").rglob("*.py")):
        name = path.relative_to(ROOT / "src/pcim").as_posix()
        calls = {dotted(node.func) for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)}
        assert not {parser for parser in PARSERS.keys() & calls if name not in PARSERS[parser]}, name
        assert not (name.startswith(READS_INPUTS) and PARQUET & calls), name


def test_every_parser_that_the_law_knows_is_called() -> None:
    text = {path.relative_to(ROOT / "src/pcim").as_posix(): path.read_text(encoding="utf-8") for path in (ROOT / "src/pcim").rglob("*.py")}
    for parser, names in PARSERS.items():
        assert all(f"{parser}(" in text[name] for name in names), parser


def test_no_rule_starts_a_shell_or_runs_code_of_its_own() -> None:
    for path in RULES:
        words = [line.strip().partition("#")[0] for line in path.read_text(encoding="utf-8").splitlines()]
        assert not [word for word in words if word.startswith(("shell:", "run:", "wrapper:", "notebook:", "cwl:", "shell("))], path
