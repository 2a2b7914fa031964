"""The README's promises: commands, code, links and numbers."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from inpaint_hub.evaluation.config import build_parser as evaluation_parser
from inpaint_hub.training import PRESETS, parse_config

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, flags=re.DOTALL)
RESULTS = [ROOT / "docs" / "RESULTS.md", *sorted((ROOT / "docs" / "results").glob("*.md"))]
SHELL = "\n".join(code for language, code in BLOCKS if language == "bash").replace("\\\n", " ")


def test_two_commands_do_all_set_up():
    assert "pip install -r requirements.txt && python app.py" in SHELL
    assert "pip install -r requirements-dev.txt && python -m pytest" in SHELL


def test_the_python_example_runs_as_it_stands(tmp_path):
    code = next(code for language, code in BLOCKS if language == "python")
    code = code.replace('"filled.png"', f'"{tmp_path}/filled.png"')
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "filled.png").stat().st_size > 1000


@pytest.mark.parametrize(
    "line", [line for line in SHELL.splitlines() if line.startswith("python train_accelerate.py")]
)
def test_training_commands_are_understood(line):
    presets = {name: preset() for name, preset in PRESETS.items()}
    assert parse_config(line.split()[2:], presets).train_data_dir in ("DATA", "examples")


def test_the_first_training_run_runs_as_it_stands(tmp_path):
    """On a fresh clone: what it reads is bundled, what it writes goes elsewhere here."""
    line = next(x for x in SHELL.splitlines() if "--train_data_dir examples" in x)
    line = line.replace("runs/tried", str(tmp_path))
    command = [sys.executable, *line.split()[1:], "--report_to", "jsonl"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "model_index.json").is_file()


def test_the_evaluation_command_is_understood():
    line = next(x for x in SHELL.splitlines() if "inpaint_hub.evaluation" in x)
    assert evaluation_parser().parse_args(line.split()[3:]).telea


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#]+)\)", README))
def test_links_lead_somewhere(target):
    assert (ROOT / target).is_file(), target


def test_the_bundled_weights_of_the_table_are_there_and_small():
    for folder in re.findall(r"\| `(weights/[\w-]+)` \|", README):
        size = sum(p.stat().st_size for p in (ROOT / folder).rglob("*") if p.is_file())
        assert (ROOT / folder / "model_index.json").is_file()
        assert size <= 40e6, size


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda p: p.name)
def test_the_documents_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        assert target.startswith("http") or (page.parent / target).is_file(), target


def test_the_results_in_short_are_those_of_their_page():
    """Method by method: the figures and intervals of the one table that most people read."""
    rows = re.findall(r"^\| [^|]*\(([\w-]+)\) \| (.*) \|$", RESULTS[0].read_text(), re.MULTILINE)
    page = (ROOT / "docs" / "results" / "faces-128.md").read_text().splitlines()
    assert len(rows) == 8
    for method, cells in rows:
        found = []
        for band, columns in (("10-20 %", (0, 4)), ("extreme (70-90 %)", (0, 4, 5))):
            line = next(x for x in page if x.startswith(f"| {band} |") and f"({method}) |" in x)
            found += [line.split(" | ")[2:][column].replace("*", "") for column in columns]
        assert found == cells.split(" | "), method


def test_every_figure_is_in_the_results():
    results = "".join(page.read_text() for page in RESULTS)
    prose = re.sub(r"```.*?```|^---.*?^---", "", README, flags=re.DOTALL | re.MULTILINE)
    figures = set(re.findall(r"\d+\.\d+|\d+ ?%|\d+ ?ms|\d+,\d{3}", prose)) - {"3.11", "2.0"}
    assert {figure for figure in figures if figure not in results} == set()
