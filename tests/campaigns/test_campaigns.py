"""Each campaign, short: `make campaign` runs them long."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ..test_layers import PACKAGE


@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        ("hostile_pictures.py", ["--cases", "1000"]),
        ("damage.py", ["--seeds", "1", "--every", "47"]),
    ],
)
def test_short_campaign_finds_nothing(script, arguments):
    # A process of its own: what is tried may end it, and its memory is measured.
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name(script)), *arguments],
        env={"PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
