"""Each campaign, short: `make campaign` runs them long."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from ..test_layers import PACKAGE
from .full_disk import CANNOT


@pytest.mark.parametrize(
    ("campaign", "arguments"),
    [
        ("hostile_pictures", ["--cases", "1000"]),
        ("misbehaving_server", ["--every", "19"]),
        ("cancel_storm", ["--queries", "120"]),
        pytest.param(
            *("kills", ["--kills", "12"]),
            marks=pytest.mark.skipif(not hasattr(os, "fork"), reason="has no fork"),
        ),
        ("damage", ["--seeds", "1", "--every", "47"]),
        ("full_disk", ["--every", "10"]),
    ],
)
def test_short_campaign_finds_nothing(campaign, arguments):
    # A process of its own: what is tried may end it, and its memory is measured.
    done = subprocess.run(
        [sys.executable, "-m", f"tests.campaigns.{campaign}", *arguments],
        cwd=PACKAGE.parent,
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    if f"tmpfs: {CANNOT}" in done.stdout:
        pytest.skip(CANNOT)
