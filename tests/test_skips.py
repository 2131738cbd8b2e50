"""A gate that skips what nobody listed is not green."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

UNLISTED = """
@pytest.mark.skipif(True, reason="no torch by mark")
def test_mark(): pass

def test_call(): pytest.skip("no torch by call")

@pytest.fixture
def torch(): pytest.skip("no torch by fixture")

def test_fixture(torch): pass

"""
LISTED = 'def test_listed(): pytest.skip("QDRANT_URL names no server")\n'
EXPECTED = 'def test_expected(): pytest.xfail("known")\n'
MODULE = 'pytest.importorskip("no_such_package", reason="no torch by module")\n'


def printed_by(folder: Path, code: str, *options: str) -> str:
    """Return what pytest prints where the tests are `code` and the plugin is in it."""
    (folder / "test_it.py").write_text(f"import pytest\n\n{code}")
    pytest_ = [sys.executable, "-m", "pytest", "-p", "tests.support.skips", *options]
    done = subprocess.run(
        [*pytest_, "-p", "no:cacheprovider", f"--rootdir={folder}", folder],
        check=False, capture_output=True, text=True, cwd=Path(__file__).parents[1],
    )  # fmt: skip
    return done.stdout


@pytest.mark.parametrize("options", [(), ("-n", "1")], ids=["here", "in a worker"])
def test_skip_that_is_not_listed_fails_and_any_other_does_not(tmp_path, options):
    printed = printed_by(tmp_path, LISTED + EXPECTED + UNLISTED, *options)
    assert "1 failed, 1 skipped, 1 xfailed, 2 errors" in printed
    for way in ("mark", "call", "fixture"):
        assert f"no torch by {way}" in printed


def test_module_that_is_skipped_unlisted_fails(tmp_path):
    printed = printed_by(tmp_path, MODULE)
    assert "1 error" in printed
    assert "'Skipped: no torch by module': no skip that tests/support/sk" in printed


@pytest.mark.skipif(not os.environ.get("CI"), reason="no gate")
def test_gate_has_the_plugin(pytestconfig):
    plugins = pytestconfig.pluginmanager.get_plugins()
    assert any("support.skips" in getattr(one, "__name__", "") for one in plugins)
