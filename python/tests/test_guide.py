"""The pages of docs/guide/python run: their Python blocks in order, each printing what the text block after it says."""

import contextlib
import doctest
import importlib.util
import io
import re
from pathlib import Path

import pytest
from conftest import FLOW

PAGES = sorted((Path(__file__).parents[2] / "docs" / "guide" / "python").glob("*.md"))
BLOCK = re.compile(r"^```(python|text)\n(.*?)^```", flags=re.M | re.S)


def test_there_are_six_pages():
    assert len(PAGES) == 6


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_page_runs_and_prints_what_it_says(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = page.read_text()
    if "proxflow.Flow(" in text and FLOW is None:
        pytest.skip("PROXFLOW_FLOW names no command")
    printed, names = None, {}
    for kind, content in BLOCK.findall(text):
        if kind == "text":
            said = doctest.OutputChecker().check_output(content, printed or "", doctest.ELLIPSIS)
            assert said, f"{page.name} says\n{content}\nand prints\n{printed}"
            printed = None
            continue
        assert not printed, f"{page.name} prints without saying so:\n{printed}"
        for module in re.findall(r"^\s*(?:import|from) (?:proxflow\.)?(torch|safetensors)\b", content, flags=re.M):
            if not importlib.util.find_spec(module):
                pytest.skip(f"from here on {module} is needed, which is not installed; what is before it has run")
        with contextlib.redirect_stdout(io.StringIO()) as output:
            exec(compile(content, str(page), "exec"), names)
        printed = output.getvalue()
    assert not printed, f"{page.name} prints without saying so:\n{printed}"
