"""Every example that needs no arguments runs to its end, and says what it should."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"

ELSEWHERE = {
    "agent.py": "a test of its own",
    "demo.py": "tests/test_demo.py runs it",
    "demo_library.py": "a part of demo.py",
    "draw_illustrations.py": "it writes into the repository",
    "scripted_model.py": "a part of agent.py",
}
QUICK = sorted({path.name for path in EXAMPLES.glob("*.py")} - set(ELSEWHERE))

needs_encoders = pytest.mark.skipif(
    find_spec("onnxruntime") is None, reason="needs the extra offline"
)


def run(name: str, *arguments: str) -> str:
    # As on a machine without a key, or any endpoint at all.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OPENAI_")}
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**environment, "PYTHONIOENCODING": "utf-8"},
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_encoders
@pytest.mark.parametrize("name", QUICK)
def test_it_runs_to_its_end(name):
    assert run(name)


@needs_encoders
def test_the_agent_searches_with_the_users_words_and_cites_what_it_found():
    shown = run("agent.py", "When may I go outdoors again after lightning?")
    searched, *sources, question, answer = shown.splitlines()
    assert searched == (
        "searched for {'query': 'When may I go outdoors again after lightning?', "
        "'top_k': 2}"
    )
    assert any("text safety.md" in source for source in sources)
    assert question == "When may I go outdoors again after lightning?"
    assert answer.startswith("The sources say: ")
    assert answer.endswith(". [1]")
