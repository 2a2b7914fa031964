"""Imports point one way, and importing the package is light."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "inpaint_hub"
NETWORKS = {"hub", "stylegan2", "inversion", "images", "compositing"}
MAY_IMPORT = {
    "images": set(),
    "allocator": set(),
    "formats": {"images"},
    "weight_files": set(),
    "hub": {"weight_files"},
    "compositing": {"images"},
    "blending": {"images"},
    "crops": {"images"},
    "faces": {"images", "hub", "crops"} | {"formats", "bundled"},  # the latter two for its command
    "masks": {"images"},
    # hub: the perceptual network's weights may have to be downloaded; no model is imported.
    "losses": {"images", "compositing", "hub"},
    "stylegan2": {"hub"},
    "inversion": {"hub", "stylegan2"},  # equalized layers and the number of style vectors
    "invertfill": NETWORKS,
    "dualpath": NETWORKS,
    "refinement": {"hub", "compositing", "dualpath"},
    "search": NETWORKS,
    "comodgan": NETWORKS,
    "texture": {"images", "crops", "blending", "hub"},
    "data": {"images", "masks"},
    "engines": {"allocator", "stylegan2", "inversion", "dualpath", "refinement"},
    "pipelines": NETWORKS
    | {"engines", "masks", "blending", "crops", "invertfill", "dualpath", "search", "comodgan"}
    | {"refinement", "texture", "faces", "bundled"},
    # It writes pipelines, and starts nothing: networks, their folders, a model card.
    "convert": {"hub", "stylegan2", "inversion", "pipelines"},
    "evaluation": {"images", "formats", "masks", "data", "pipelines", "crops", "texture"},
    "export": {"compositing", "pipelines"},
    "training": NETWORKS
    | {"masks", "losses", "data", "invertfill", "dualpath", "refinement", "comodgan"}
    | {
        "allocator",
        "pipelines",
        "texture",
        "evaluation",
    },  # evaluation: judging.py alone, see below
    "folders": {"images", "formats", "provenance"},  # the pipeline is passed in
    "outpainting": {"images"},  # the pipeline is passed in
    "provenance": {"__init__"},
    "bundled": set(),
    "commands": {"__init__"},  # a command's module is looked up when it is asked for
    "demo": {"images", "masks", "blending", "crops", "hub", "folders", "pipelines", "bundled"}
    | {"outpainting", "provenance", "evaluation", "texture", "formats"},
    "__main__": {"__init__", "allocator", "pipelines", "images", "masks", "folders", "blending"}
    | {"bundled", "provenance", "texture"},
    "__init__": None,  # loads names on demand
}
ONLY_IN = {
    "gradio": {
        f"demo/{name}.py"
        for name in ("page", "layout", "opening", "rounds", "beyond", "endpoints", "launch")
    },
    "spaces": {"demo/zero_gpu.py"},
    "accelerate": {"training/loop.py", "training/logs.py", "__main__.py"},
    "huggingface_hub": {"hub.py"},
    "pyarrow": {"data/sources.py"},
    "datasets": {"data/sources.py"},
    "patchmatch": {"texture/patches.py"},
    "cv2": {"evaluation/classical.py"},
    "lpips": {"evaluation/scoring.py"},
    "torch_fidelity": {"evaluation/scoring.py"},
    "skimage": set(),
    "torchmetrics": set(),
    "onnx": set(),  # torch writes the file
    "onnxruntime": {"export.py"},
    "openvino": {"engines/openvino.py"},
    "ray": set(),  # examples/fill_with_ray.py, which is no part of the package
    "webdataset": set(),  # the datasets library reads such shards
}
DIFFUSERS_HOMES = ("pipelines", "training", "evaluation/report.py")


def imports_of(file):
    """Full names of everything a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def part_of(file):
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_parts_import_only_what_their_row_allows(file):
    part = part_of(file)
    assert part in MAY_IMPORT, f"{part} has no row: which parts may it import?"
    if MAY_IMPORT[part] is None:
        return
    known = {part_of(f) for f in FILES}
    inside = {
        name.split(".")[1]
        for name in imports_of(file)
        if name.startswith("inpaint_hub.") and name.split(".")[1] in known
    }
    assert inside - MAY_IMPORT[part] - {part} == set()


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_third_party_libraries_stay_in_their_homes(file):
    place = str(file.relative_to(PACKAGE))
    for name in imports_of(file):
        library = name.split(".")[0]
        assert place in ONLY_IN.get(library, {place}), f"{place} imports {library}"
        assert library != "diffusers" or place.startswith(DIFFUSERS_HOMES)
        assert library not in ("pickle", "torchvision")


def test_training_knows_evaluation_only_where_it_judges():
    """A metric must never be what is optimized."""
    training = [f for f in FILES if part_of(f) == "training"]
    importing = {f.name for f in training if any("evaluation" in n for n in imports_of(f))}
    assert importing == {"judging.py"}


def test_files_import_in_no_circle():
    """At any depth, imports inside functions included."""
    by_name = {
        ".".join(f.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): f
        for f in FILES
        if f.name != "__init__.py"  # a package's face only hands names on
    }
    edges = {
        name: {other for other in imports_of(file) if other in by_name and other != name}
        for name, file in by_name.items()
    }
    while leaves := [name for name, others in edges.items() if not others & edges.keys()]:
        for name in leaves:
            del edges[name]
    assert edges == {}


def test_what_serves_clusters_alone_is_no_requirement():
    named = [line.split("#")[0] for line in (ROOT / "requirements.txt").read_text().splitlines()]
    assert not [line for line in named if line.startswith(("ray", "webdataset"))]


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_rooms_have_at_most_450_lines_and_functions_60_of_body(file):
    """Docstrings of functions aside."""
    source = file.read_text("utf-8")
    assert len(source.splitlines()) <= 450
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[ast.get_docstring(node) is not None :]
            lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0
            assert lines <= 60, f"{node.name} has {lines} lines"


def told_encoding(call):
    """Whether a call of open, read_text or write_text names its encoding, or opens bytes."""
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    if any(k.arg in ("encoding", None) for k in call.keywords):
        return True
    texts = [a.value for a in call.args if isinstance(a, ast.Constant)]
    if name == "read_text":
        return bool(call.args)
    if name == "write_text":
        return len(call.args) > 1
    mode = [t for t in texts if isinstance(t, str) and set(t) <= set("rwabx+t")]
    return "b" in "".join(mode)


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_text_files_are_utf_8_whatever_the_locale_says(file):
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        plain = isinstance(node.func, ast.Name) and node.func.id == "open"
        method = getattr(node.func, "attr", "")
        # x.open() of a path has a mode; pictures and processes have none.
        opened = method == "open" and any(isinstance(a, ast.Constant) for a in node.args)
        if plain or opened or method in ("read_text", "write_text"):
            assert told_encoding(node), f"{file}:{node.lineno}: name the encoding"


def test_files_are_named_after_concepts():
    roles = {"utils", "helpers", "misc", "common", "core"}
    assert not {f.stem for f in FILES} & roles


BRITISH = (
    r"colour|behaviour|favour|neighbour|centre|grey|artefact|licence|judgement|cancelled|cancelling"
    r"|labelled|labelling|modelled|modelling|per cent"
    r"|(?:initial|normal|optim|minim|maxim|recogn|general|regular|equal|summar|visual|organ|penal)"
    r"is(?:e|ed|es|er|ing|able|ation)"
)
KEPT = {"fid_normalise"}  # a flag, and in saved configurations


@pytest.mark.parametrize(
    "folder", ["inpaint_hub", "docs", "tests", "benchmarks", "examples", "weights", "."]
)
def test_words_are_spelled_as_in_the_interfaces_we_speak(folder):
    """American: color, center, normalize."""
    places = (ROOT / folder).glob("*.*" if folder == "." else "**/*.*")
    for file in places:
        if file.suffix not in (".py", ".md", ".js", ".css", ".html") or file == Path(__file__):
            continue
        words = re.findall(rf"\b\w*(?:{BRITISH})\w*", file.read_text("utf-8"), re.IGNORECASE)
        assert set(words) <= KEPT, f"{file}: {words}"


PROBE = """
import os, socket, sys, urllib.request, http.client, ssl
def refuse(*arguments, **options):
    raise AssertionError("a socket was opened")
socket.socket.connect = refuse
socket.create_connection = socket.getaddrinfo = refuse
import inpaint_hub
slow = {"torch", "diffusers", "transformers", "scipy", "PIL", "huggingface_hub"} & set(sys.modules)
assert not slow, slow
heavy = {"gradio", "accelerate", "datasets", "skimage", "cv2", "torchmetrics", "ray"}
heavy &= set(sys.modules)
assert not heavy, heavy
inpaint_hub.InvertFillPipeline
assert "gradio" not in sys.modules and "cv2" not in sys.modules
"""


def test_importing_the_package_loads_little_and_opens_no_socket():
    done = subprocess.run([sys.executable, "-c", PROBE], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
