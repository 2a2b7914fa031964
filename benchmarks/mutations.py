"""How many deliberate faults do the tests notice?

python -m benchmarks.mutations --targets inpaint_hub/losses inpaint_hub/training/adversary.py
    --tests tests/test_losses.py tests/test_step_by_hand.py --number 60

A mutation changes one place of one file: an operator, a comparison, a number, a truth value, a call
that is left out. Which are tried is drawn by --seed, evenly over all that are possible. Each is
tried in a process of its own, forked from one that has imported torch and the other libraries, so
that the tests start at once; the mutated source is handed to the import system and no file is
touched. A mutation that a test notices is killed, one that ends by --limit_seconds of CPU time too;
the others survive and are listed. --within tries, of the drawn ones, those of some files alone:
with the tests that know these files a drawn set is worked off quickly, part by part.
"""

import argparse
import ast
import contextlib
import copy
import importlib
import importlib.abc
import importlib.util
import io
import os
import random
import resource
import signal
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
LIBRARIES = ("torch", "numpy", "PIL.Image", "scipy.linalg", "safetensors.torch", "pytest")
LIBRARIES += ("diffusers.training_utils", "diffusers.optimization", "accelerate", "pyarrow.parquet")
LIBRARIES += ("diffusers.pipelines.pipeline_utils", "huggingface_hub")

ARITHMETIC = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
COMPARISONS = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}


def is_text(node):
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def negate_operand(node):
    node.operand = ast.UnaryOp(ast.Not(), node.operand)


class Places(ast.NodeVisitor):
    """Every place of a module that can be mutated: (line, what, change), change(node) being applied
    to the node at the same path of a copy."""

    def __init__(self):
        self.found, self.path = [], []

    def add(self, node, what, change):
        self.found.append((node.lineno, what, tuple(self.path), change))

    def generic_visit(self, node):
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns"):
                continue
            children = value if isinstance(value, list) else [value]
            for number, child in enumerate(children):
                if isinstance(child, ast.AST):
                    self.path.append((name, number if isinstance(value, list) else None))
                    self.visit(child)
                    self.path.pop()

    def visit_Raise(self, node):
        """What an error says is not what is computed."""

    def visit_JoinedStr(self, node):
        """Nor is a message."""

    def visit_BinOp(self, node):
        swapped = ARITHMETIC.get(type(node.op))
        if swapped and not is_text(node.left) and not is_text(node.right):
            name = f"{type(node.op).__name__} becomes {swapped.__name__}"
            self.add(node, name, lambda n: setattr(n, "op", swapped()))
        self.generic_visit(node)

    def visit_AugAssign(self, node):
        swapped = ARITHMETIC.get(type(node.op))
        if swapped:
            name = f"{type(node.op).__name__} becomes {swapped.__name__}"
            self.add(node, name, lambda n: setattr(n, "op", swapped()))
        self.generic_visit(node)

    def visit_Compare(self, node):
        swapped = COMPARISONS.get(type(node.ops[0]))
        if swapped and len(node.ops) == 1:
            name = f"{type(node.ops[0]).__name__} becomes {swapped.__name__}"
            self.add(node, name, lambda n: setattr(n, "ops", [swapped()]))
        self.generic_visit(node)

    def visit_BoolOp(self, node):
        swapped = ast.Or if isinstance(node.op, ast.And) else ast.And
        name = f"{type(node.op).__name__} becomes {swapped.__name__}"
        self.add(node, name, lambda n: setattr(n, "op", swapped()))
        self.generic_visit(node)

    def visit_UnaryOp(self, node):
        if isinstance(node.op, ast.USub):
            self.add(node, "the sign is left out", lambda n: setattr(n, "op", ast.UAdd()))
        if isinstance(node.op, ast.Not):
            self.add(node, "not is left out", negate_operand)
        self.generic_visit(node)

    def visit_Constant(self, node):
        value = node.value
        if isinstance(value, bool):
            self.add(node, f"{value} becomes {not value}", lambda n: setattr(n, "value", not value))
        elif isinstance(value, (int, float)):
            changed = value * 2 if value not in (0, 1) else 1 - value
            self.add(node, f"{value} becomes {changed}", lambda n: setattr(n, "value", changed))

    def visit_Expr(self, node):
        if isinstance(node.value, ast.Call):  # a call for its effect; not a docstring
            self.add(
                node, "the call is left out", lambda n: setattr(n, "value", ast.Constant(None))
            )
        self.generic_visit(node)


def places_of(source):
    finder = Places()
    finder.visit(ast.parse(source))
    return finder.found


def mutated(source, place):
    """The source with one place changed; comments are lost."""
    _, _, path, change = place
    tree = copy.deepcopy(ast.parse(source))
    node = tree
    for name, number in path:
        node = getattr(node, name) if number is None else getattr(node, name)[number]
    change(node)
    return ast.unparse(ast.fix_missing_locations(tree))


class MutatedImport(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives one module another source."""

    def __init__(self, module, file, source):
        self.module, self.file, self.source = module, file, source

    def find_spec(self, name, path=None, target=None):
        if name != self.module:
            return None
        packages = [str(self.file.parent)] if self.file.name == "__init__.py" else None
        return importlib.util.spec_from_file_location(
            name, self.file, loader=self, submodule_search_locations=packages
        )

    def exec_module(self, module):
        exec(compile(self.source, str(self.file), "exec"), module.__dict__)


def module_of(file):
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def run_tests(tests, expression):
    """Exit status of pytest that stops at the first failure, its output kept to itself."""
    import pytest

    arguments = ["-x", "-q", "-n", "0", "-p", "no:cacheprovider", *tests]
    if expression:
        arguments += ["-k", expression]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return int(pytest.main(arguments))


def try_mutation(file, source, tests, expression, limit_seconds):
    """ "killed", "survived" or "timeout", in a process of its own."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            resource.setrlimit(resource.RLIMIT_CPU, (limit_seconds, limit_seconds + 5))
            quiet = os.open(os.devnull, os.O_WRONLY)
            os.dup2(quiet, 1)
            os.dup2(quiet, 2)
            if source is not None:
                sys.meta_path.insert(0, MutatedImport(module_of(file), file, source))
            status = run_tests(tests, expression)
        except BaseException:  # whatever a mutation breaks, the parent must hear of it
            status = 1
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return "timeout" if os.WTERMSIG(status) == signal.SIGXCPU else "killed"
    return "survived" if os.WEXITSTATUS(status) == 0 else "killed"


def files_of(targets):
    found = []
    for target in targets:
        path = (ROOT / target).resolve()
        found += sorted(path.rglob("*.py")) if path.is_dir() else [path]
    return [file for file in dict.fromkeys(found) if file.name != "__init__.py"]


def chosen(files, number, seed, only=None):
    """[(file, place)]: `number` of all places of the files, drawn by `seed`."""
    every = [(file, place) for file in files for place in places_of(file.read_text("utf-8"))]
    if only:
        every = [(f, p) for f, p in every if f"{f.name}:{p[0]}" in only]
    if not number or number >= len(every):
        return every, len(every)
    picked = random.Random(seed).sample(range(len(every)), number)
    return [every[i] for i in sorted(picked)], len(every)


def within(drawn, names):
    """Those of [(file, place)] whose file, or a folder of it, is among names."""
    paths = [(ROOT / name).resolve() for name in names]
    return [d for d in drawn if any(d[0] == p or p in d[0].parents for p in paths)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--targets", nargs="+", required=True, help="files or folders to mutate")
    parser.add_argument("--tests", nargs="+", required=True, help="test files, the quickest first")
    parser.add_argument("--expression", help="pytest's -k")
    parser.add_argument("--number", type=int, default=50, help="mutations to try; 0 = all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--within", nargs="+", help="try only what was drawn in these files")
    parser.add_argument("--only", nargs="+", help="FILE.py:LINE places, to try again")
    parser.add_argument("--limit_seconds", type=int, default=120, help="CPU time of one")
    parser.add_argument("--list", action="store_true", help="print the mutations and end")
    arguments = parser.parse_args()
    os.chdir(ROOT)
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    places, possible = chosen(
        files_of(arguments.targets), arguments.number, arguments.seed, arguments.only
    )
    if arguments.within:
        places = within(places, arguments.within)
    print(f"{len(places)} of {possible} possible mutations, seed {arguments.seed}")
    if arguments.list:
        for file, (line, what, *_) in places:
            print(f"{file.relative_to(ROOT)}:{line}: {what}")
        return
    if not places:
        return
    for name in LIBRARIES:
        importlib.import_module(name)
    import torch

    torch.set_num_threads(1)  # a thread pool does not survive a fork
    options = (arguments.tests, arguments.expression, arguments.limit_seconds)
    if try_mutation(None, None, *options) != "survived":
        sys.exit("the tests fail without any mutation; mend them first")
    outcomes, start = [], time.monotonic()
    for number, (file, place) in enumerate(places, 1):
        source = file.read_text("utf-8")
        outcome = try_mutation(file, mutated(source, place), *options)
        outcomes.append(outcome)
        line = source.splitlines()[place[0] - 1].strip()
        if outcome != "killed":
            where = f"{file.relative_to(ROOT)}:{place[0]}"
            print(f"{outcome}: {where}: {place[1]}\n    {line}", flush=True)
        if sys.stderr.isatty() or number % 10 == 0:
            told = f"{number}/{len(places)}, {outcomes.count('survived')} survived"
            print(f"{told}, {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    killed = len(outcomes) - outcomes.count("survived")
    print(f"killed {killed} of {len(outcomes)} ({killed / len(outcomes):.1%})")


if __name__ == "__main__":
    main()
