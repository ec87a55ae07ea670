import fcntl
import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import pytest

collect_ignore = ["training.py"]  # a program for an interpreter that has PyTorch


@pytest.fixture(scope="session")
def torch_python():
    """Interpreter that has PyTorch: the one that LOADPATH_TORCH names, else this one if it has it."""
    named = os.environ.get("LOADPATH_TORCH")
    if named is None:
        if find_spec("torch") is None:
            pytest.skip("LOADPATH_TORCH names no interpreter with PyTorch")
        return sys.executable
    words = [named, "-c", "import torch.distributed as d; assert d.is_gloo_available()"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"LOADPATH_TORCH={named} has no PyTorch with gloo: {done.stderr}"
    return named


@pytest.fixture
def job_environment():
    """What processes of a job see: our sources, and the loopback device."""
    known = [str(Path(__file__).parents[2] / "src"), os.environ.get("PYTHONPATH", "")]
    own = {"PYTHONPATH": os.pathsep.join(known), "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    return os.environ | own


@pytest.fixture
def the_socket_is_ours():
    """One agent has the socket: tests that run side by side take turns."""
    with (Path(tempfile.gettempdir()) / "loadpath-tests-dynolog").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
