"""What pyproject.toml cannot say: the default weights and the examples travel inside the wheel."""

import ast
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent


def bundled():
    """Folders of the pipelines that the demo and the command line start with."""
    tree = ast.parse((ROOT / "inpaint_hub/pipelines/bundle.py").read_text(encoding="utf-8"))
    values = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign)
    }
    return [*values["BUNDLE"].values(), values["DETECTOR"], values["OUTPAINTING"]]


class BuildWithWeights(build_py):
    def run(self):
        super().run()
        if self.editable_mode:
            return  # the checkout has them
        target = Path(self.build_lib) / "inpaint_hub" / "_bundle"
        for name in (*(f"weights/{name}" for name in bundled()), "examples"):
            shutil.copytree(ROOT / name, target / name, dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithWeights})
