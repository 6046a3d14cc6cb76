"""The programs in the documentation run."""

import pathlib
import re

import pytest

HERE = pathlib.Path(__file__).parent
TEXTS = [HERE.parent / "README.md", HERE.parents[1] / "docs" / "python.md", HERE.parents[1] / "README.md"]
PROGRAMS = [(text.name, code) for text in TEXTS if text.exists() for code in re.findall(r"```python\n(.*?)```", text.read_text(), re.S)]


@pytest.mark.parametrize("name, code", PROGRAMS, ids=[f"{name}-{i}" for i, (name, _) in enumerate(PROGRAMS)])
def test_program(name, code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, name, "exec"), {})


def test_there_are_programs():
    assert len(PROGRAMS) >= 3
