from __future__ import annotations

import json
import re
from pathlib import Path

from feature_registry.demo.meanings import CITATION

ROOT = Path(__file__).parents[2]


def test_the_demo_is_cited_as_the_software() -> None:
    said = (ROOT / "CITATION.cff").read_text()
    title, author = (re.search(rf'{field}: "(.+)"', said) for field in ("title", "name"))
    assert title and title[1] in CITATION
    assert author and author[1] in CITATION
    assert "Synthetic" in CITATION


def test_no_made_up_table_cites_a_paper() -> None:
    specs = json.loads((ROOT / "feature_registry_tests" / "defs" / "specs.json").read_text())
    assert {spec["said"]["feature_registry/citation"] for spec in specs.values()} == {CITATION}
    assert (
        re.findall(r"citation=(.+),", (ROOT / "feature_registry" / "demo" / "outside.py").read_text())
        == ["CITATION"] * 3
    )
