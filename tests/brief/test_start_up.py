import subprocess
import sys

import pytest

import loadpath.brief


def test_a_summary_does_not_load_the_chart_libraries():
    code = "import sys; from loadpath.brief import render_summary; print('altair' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert shown.stdout == "False\n"


def test_every_public_name_of_the_face_is_there():
    assert all(getattr(loadpath.brief, name) for name in loadpath.brief.__all__)
    with pytest.raises(AttributeError, match="no attribute 'pie'"):
        _ = loadpath.brief.pie
