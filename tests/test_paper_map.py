"""docs/PAPER_MAP.md points at what exists."""

import ast
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
    for number in (1, 3, 4, 5, 6, 7):
        assert any(f"Eq. ({number})" in source for source in sources)


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
