"""What a gate may skip; any other skip fails there, where it would hide a gap.

A plugin of pytest's, which `tests/conftest.py` registers where CI is set.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import TypeVar

import pytest

MAY_SKIP = {
    "QDRANT_URL names no server": "a gate has none; by hand one is started",
    "no (cuda|mps) here": "a gate has no accelerator",
    "nothing can be mounted here": "only root can: by hand, and in the campaign",
    "data (set )?is not (here|beside)": "the data are no part of the repository",
    "tesseract is not installed": "a program that no extra brings: by hand",
    "this file system (takes only|does not take)": "names that not every one takes",
    "keeps no metadata": "a server older than 1.16 does not",
}
"""A reason, as a regular expression, and why it is a good one."""

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[
    None, pytest.TestReport, pytest.TestReport
]:
    return _judged((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[
    None, pytest.CollectReport, pytest.CollectReport
]:
    return _judged((yield))


def _judged(report: Report) -> Report:
    """Return the report: a failure, where it says that an unlisted test was skipped."""
    if report.skipped and not hasattr(report, "wasxfail"):
        assert isinstance(report.longrepr, tuple)
        reason = report.longrepr[2]
        if not any(re.search(listed, reason) for listed in MAY_SKIP):
            report.outcome = "failed"
            report.longrepr = (
                f"{reason!r}: no skip that tests/support/skips.py lists. "
                "Install what is missing, or list the reason there."
            )
    return report
