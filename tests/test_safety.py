"""What the package never does: run what it loads, call out at import, need what is not free."""

import ast
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted(
    [*(ROOT / "inpaint_hub").rglob("*.py"), *ROOT.glob("*.py"), *(ROOT / "benchmarks").glob("*.py")]
)
PICKLE_READER = "inpaint_hub/convert/restricted_pickle.py"  # reads tensors, builds nothing else
RUNS_CODE = {"eval", "exec", "compile", "__import__"}
READS_PICKLES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
PICKLED_CALLS = {"torch.load", "np.load", "numpy.load", "torch.hub.load", "pandas.read_pickle"}
STARTS_PROGRAMS = {"os.system", "os.popen", "subprocess.getoutput"}
# benchmarks/mutations.py compiles what it has mutated of our own sources.
COMPILES_ITS_OWN = {"benchmarks/mutations.py"}


def dotted(node):
    """ "torch.load" of the expression torch.load; "" for what is no name."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def dangers(source):
    """One line about each thing that runs or unpickles what it is given."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [alias.name for alias in node.names]
            module = getattr(node, "module", None)
            roots = {name.split(".")[0] for name in ([module] if module else names)}
            found += [f"{node.lineno}: import {name}" for name in roots & READS_PICKLES]
            if module == "torch" and "load" in names:
                found.append(f"{node.lineno}: from torch import load")
        if isinstance(node, ast.Call):
            name = dotted(node.func)
            weights_only = any(
                k.arg == "weights_only" and getattr(k.value, "value", None) is True
                for k in node.keywords
            )
            if name in RUNS_CODE or name in PICKLED_CALLS | STARTS_PROGRAMS:
                if not (name == "torch.load" and weights_only):
                    found.append(f"{node.lineno}: {name}()")
            for keyword in node.keywords:
                value = getattr(keyword.value, "value", None)
                forbidden = (("shell", True), ("allow_pickle", True), ("trust_remote_code", True))
                found += [
                    f"{node.lineno}: {k}={v}"
                    for k, v in forbidden
                    if (keyword.arg, value) == (k, v)
                ]
                if keyword.arg == "weights_only" and value is not True:
                    found.append(f"{node.lineno}: weights_only={value}")
    return found


@pytest.mark.parametrize("file", SOURCES, ids=lambda f: str(f.relative_to(ROOT)))
def test_no_source_runs_or_unpickles_what_it_is_given(file):
    place = str(file.relative_to(ROOT))
    found = dangers(file.read_text("utf-8"))
    if place == PICKLE_READER:
        found = [line for line in found if "import pickle" not in line]
    if place in COMPILES_ITS_OWN:
        found = [line for line in found if not line.endswith(("compile()", "exec()"))]
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        "eval(text)",
        "exec(code)",
        "import pickle",
        "from pickle import loads",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "from torch import load",
        "np.load(path, allow_pickle=True)",
        "subprocess.run(line, shell=True)",
        "os.system(line)",
        "Pipe.from_pretrained(x, trust_remote_code=True)",
        "__import__(name)",
    ],
)
def test_the_look_at_the_sources_sees_each_danger(line):
    assert dangers(line)


PROBE = """
import socket, sys
def refuse(*arguments, **options):
    raise AssertionError("the network was asked for")
socket.socket.connect = socket.socket.connect_ex = socket.socket.sendto = refuse
socket.create_connection = socket.getaddrinfo = socket.gethostbyname = refuse
import importlib, pkgutil
import inpaint_hub
for module in pkgutil.walk_packages(inpaint_hub.__path__, "inpaint_hub."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
for name in inpaint_hub.__all__:
    getattr(inpaint_hub, name)
print(len(sys.modules))
"""


def test_no_module_of_the_package_asks_for_the_network_when_imported():
    done = subprocess.run([sys.executable, "-c", PROBE], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100


# Terms under which anyone may use, change and pass on what we depend on.
FREE = re.compile(
    r"\b(MIT|BSD|Apache|ISC|PSF|PSFL|Python Software Foundation|HPND|MPL|Mozilla|Zlib|Unlicense|"
    r"0BSD|CC0|MIT-CMU|Historical Permission)\b",
    re.IGNORECASE,
)
# Packages that do not say it in their metadata -> (license, where it stands).
SAID_ELSEWHERE = {}


def required(name, seen):
    """Names of everything installed that `name` needs, itself included."""
    key = re.sub(r"[-_.]+", "-", name).lower()
    if key in seen:
        return
    try:
        distribution = metadata.distribution(key)
    except metadata.PackageNotFoundError:  # for another system or an extra
        return
    seen[key] = distribution
    for line in distribution.requires or ():
        if "extra ==" not in line:
            required(re.match(r"[\w.-]+", line).group(), seen)


def terms(distribution):
    """What a distribution says about its license."""
    about = distribution.metadata
    classifiers = [c for c in about.get_all("Classifier") or () if c.startswith("License")]
    lines = [about.get("License-Expression") or "", (about.get("License") or "")[:200]]
    return "; ".join([*lines, *classifiers])


def dependencies():
    """{name: distribution} of everything that requirements.txt brings."""
    found = {}
    for line in (ROOT / "requirements.txt").read_text().splitlines():
        if line.strip() and not line.startswith(("#", "-")):
            required(re.match(r"[\w.-]+", line).group(), found)
    return found


def test_everything_the_package_depends_on_is_free_to_use_and_pass_on():
    found = dependencies()
    assert {"torch", "gradio", "diffusers", "safetensors", "pillow", "numpy"} <= set(found)
    told = {name: terms(d) for name, d in found.items()}
    unclear = {n: t for n, t in told.items() if not FREE.search(t) and n not in SAID_ELSEWHERE}
    assert not unclear
    strict = re.compile(r"\bAGPL|(?<!L)GPL", re.IGNORECASE)
    assert not {n: t for n, t in told.items() if strict.search(t) and not FREE.search(t)}
