"""Training scripts written for PyTorch run with nothing changed but their import lines.

Each judges its own result. They run with PyTorch as they stand: python tests/scripts/gpt.py
"""

import pathlib
import re
import subprocess
import sys

import pytest

SCRIPTS = sorted((pathlib.Path(__file__).parent / "scripts").glob("*.py"))


def imports_changed(script):
    """The script with `import torch` and `from torch... import` turned to Esker."""
    script = re.sub(r"^import torch$", "import esker as torch", script, flags=re.M)
    return re.sub(r"^(import|from) torch\.?(?=[ .\w])", lambda m: m[0].replace("torch", "esker"), script, flags=re.M)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda s: s.stem)
def test_script(script, tmp_path):
    changed = tmp_path / script.name
    changed.write_text(imports_changed(script.read_text()))
    run = subprocess.run([sys.executable, changed], capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert run.returncode == 0, run.stdout + run.stderr


def test_only_import_lines_change():
    for script in SCRIPTS:
        old, new = script.read_text().splitlines(), imports_changed(script.read_text()).splitlines()
        changed = [was for was, now in zip(old, new, strict=True) if was != now]
        assert changed and all(re.match(r"(import|from) torch", line) for line in changed)
        assert not any(re.match(r"(import|from) torch", line) for line in new)
    assert len(SCRIPTS) == 5
