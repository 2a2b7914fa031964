"""docs/PAPER_MAP.md points at what exists."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROWS = [
    [cell.strip().strip("`") for cell in line.strip("| \n").split("|")]
    for line in (ROOT / "docs" / "PAPER_MAP.md").read_text().splitlines()
    if line.startswith("| ") and "inpaint_hub/" in line
]


def test_the_map_covers_the_papers_equations():
    sources = {row[0] for row in ROWS}
    for number in range(1, 8):
        assert f"InvertFill Eq. ({number})" in sources


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]} {row[3]}")
def test_a_row_names_a_symbol_and_its_file_names_the_source(row):
    source, _, file, symbol = row
    text = (ROOT / file).read_text()
    names = {
        node.name
        for node in ast.walk(ast.parse(text))
        if isinstance(node, (ast.ClassDef, ast.FunctionDef))
    }
    assert symbol in names
    assert source in " ".join(text.split()), f"{file} does not mention {source!r}"


def test_every_section_of_the_specification_that_is_cited_can_be_opened():
    text = (ROOT / "docs" / "SPEC.md").read_text()
    sections = set(re.findall(r"^(?:#+ |\*\*)([A-G][\d.]*\d|[A-G])\.? ", text, flags=re.MULTILINE))
    sections |= set(re.findall(r"\*\*([CEG][\d.]*\d)\.?\*\*", text))
    cited = {}
    for file in [*(ROOT / "inpaint_hub").rglob("*.py"), ROOT / "docs" / "PAPER_MAP.md"]:
        for places in re.findall(r"SPEC ([A-G][\d.A-G,\s-]*)", " ".join(file.read_text().split())):
            for place in re.findall(r"[A-G]\d*(?:\.\d)?", places):
                cited[place] = file.name
    assert len(cited) > 30
    assert {place: file for place, file in cited.items() if place not in sections} == {}
