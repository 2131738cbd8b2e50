"""mmrag align and diagnose, as they are run: what they write, say, and how they end."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from llama_index_mmrag import MultiModalQdrantIndex, TransformedEmbedding
from llama_index_mmrag.alignment import Alignment, Normalize
from llama_index_mmrag.cli import encoders
from llama_index_mmrag.embeddings.colour import ColourEncoder
from llama_index_mmrag.stores import QdrantEdgeVectorStore

from ..support.command_line import has_offline, needs_offline, refused, run

needs_torch = pytest.mark.skipif(find_spec("torch") is None, reason="needs extra train")

COLOURS = ("red", "green", "blue", "yellow", "magenta", "cyan", "orange", "gray")
TRAINED = ("--epochs", "3", "--batch-size", "4", "--dropout", "0")


@pytest.fixture
def in_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the encoder that --encoder names by the small one, with a gap."""

    def small(name: str, *, with_features: bool = False) -> ColourEncoder:
        return ColourEncoder(modality_gap=0.75)

    monkeypatch.setattr(encoders, "base_encoder", small)


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Return a file of eight pictures, a text each, and the folder's pictures."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    lines = []
    for colour in COLOURS:
        Image.new("RGB", (32, 32), colour).save(folder / f"{colour}.png")
        lines.append({"image": f"pictures/{colour}.png", "text": f"all {colour}"})
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return path


def add_line(path: Path, line: str) -> None:
    path.write_text(f"{path.read_text(encoding='utf-8')}\n{line}", encoding="utf-8")


# As a user runs it, with the encoder that is shipped


@needs_offline
def test_pairs_become_a_head_that_index_search_and_ask_use(pairs, tmp_path):
    head, store = tmp_path / "head.npz", tmp_path / "store"
    done = run("align", "--pairs", pairs, "--out", head, "--method", "ridge")
    assert (done.exit_code, done.stderr) == (0, "")
    assert "Fitted on 7 pairs, judged on 1 others (closed form" in done.stdout
    for row in ("without a head", "with the shipped head", "with the new head"):
        assert row in done.stdout
    assert f"--alignment {head}" in done.stdout

    indexed = run("index", pairs.parent / "pictures", "-s", store, "-a", head)
    assert indexed.exit_code == 0, indexed.stderr
    found = run("search", "all red", "-s", store, "-a", head, "--json", "-k", "8")
    assert found.exit_code == 0, found.stderr
    assert len(json.loads(found.stdout)) == 8
    assert run("ask", "what is red?", "-s", store, "-a", head).exit_code == 0

    # Another encoder, the default one included, is refused in a sentence.
    other = run("search", "all red", "-s", store)
    refused(other, "was filled by {'class': 'TransformedEmbedding'")

    # In Python the file alone is the encoder.
    aligned = TransformedEmbedding.from_alignment(head)
    with MultiModalQdrantIndex.open(store, embed_model=aligned) as index:
        assert len(index.as_retriever(top_k=8).retrieve("all red")) == 8


@needs_offline
@needs_torch
def test_trained_head_says_how_it_went_for_machines_too(pairs, tmp_path):
    head = tmp_path / "head.npz"
    done = run("align", "-p", pairs, "-o", head, *TRAINED, "--json", "--kind", "mlp")
    assert (done.exit_code, done.stderr) == (0, "")
    said = json.loads(done.stdout)
    assert (said["pairs_fitted"], said["pairs_judged"]) == (7, 1)
    assert said["skipped"] == []
    assert set(said["before"]) == {"without a head", "with the shipped head"}
    assert said["training"]["epochs"] == 3
    assert said["fit"]["head"]["kind"] == "mlp"
    card = Alignment.load(head)
    assert card.fitted_on == "8 pairs of pairs.jsonl"
    assert card.figures["after"] == said["after"]
    assert card.figures["encoder"] == "offline"


def test_clip_model_is_remembered_by_its_name(
    pairs, tmp_path, clip_checkpoint, clip_module
):
    head, store = tmp_path / "head.npz", tmp_path / "store"
    fit = ("align", "-p", pairs, "-o", head, "--method", "ridge")
    made = run(*fit, "-e", clip_checkpoint)
    assert made.exit_code == 0, made.stderr
    assert "shipped" not in made.stdout
    folder = pairs.parent / "pictures"
    assert run("index", folder, "-s", store, "-a", head).exit_code == 0
    found = run("search", "red", "-s", store, "-a", head, "--json")
    assert found.exit_code == 0, found.stderr
    # --encoder without the head is the model itself: another space.
    refused(run("search", "red", "-s", store, "-e", clip_checkpoint), "was filled by")
    # A name that is not what the head was fitted with is found out.
    if has_offline:
        other = run("search", "red", "-s", store, "-a", head, "-e", "offline")
        refused(other, "this alignment was fitted on 'clip:")


def test_model_that_only_a_hub_has_is_not_taken_from_a_card(tmp_path):
    Alignment(
        text=Normalize(),
        image=Normalize(),
        fitted_on="elsewhere",
        text_space="clip:0",
        image_space="clip:0",
        figures={"encoder": "someone/model"},
    ).save(tmp_path / "head.npz")
    done = run("search", "x", "-s", tmp_path, "-a", tmp_path / "head.npz")
    refused(done, "'someone/model', which is no file or folder here")


# In colours: every figure by hand


@pytest.mark.usefixtures("in_colours")
def test_judging_file_replaces_the_share_that_is_held_out(pairs, tmp_path):
    head = tmp_path / "head.npz"
    done = run(
        "align", "-p", pairs, "-o", head, "--method", "procrustes", "--judge", pairs,
        "--head-alone", "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["pairs_fitted"], said["pairs_judged"]) == (8, 8)
    # Gray and white are one direction: here each colour is its own.
    assert said["before"]["without a head"]["text_to_image"]["mrr"] == 1.0
    assert said["after"]["text_to_image"]["mrr"] == 1.0
    assert said["fit"]["mix_weight"] is None


@pytest.mark.usefixtures("in_colours")
@pytest.mark.parametrize("as_json", [False, True])
def test_bad_lines_are_named_and_the_rest_goes_in(pairs, tmp_path, as_json):
    add_line(pairs, '{"image": "pictures/none.png", "text": "x"}')
    add_line(pairs, "no json")
    add_line(pairs, '{"image": "pictures/red.png", "text": ["crimson", ""]}')
    align = ("align", "-p", pairs, "-o", tmp_path / "h.npz", "--method", "procrustes")
    options = ("--json",) if as_json else ()
    done = run(*align, *options)
    assert done.exit_code == 0
    lines = done.stderr.splitlines()
    named = [line.split(",")[0] for line in lines]
    assert named == [f"Skipped pairs.jsonl line {number}" for number in (9, 10, 11)]
    assert "pictures/none.png: Cannot read the picture" in lines[0]
    if as_json:
        skipped = json.loads(done.stdout)["skipped"]
        assert [problem["line"] for problem in skipped] == [9, 10, 11]
    assert run(*align, *options, "--strict").exit_code == 1
    assert (tmp_path / "h.npz").exists()


@needs_torch
@pytest.mark.usefixtures("in_colours")
def test_interrupted_training_goes_on_and_ends_with_the_same_head(
    pairs, tmp_path, monkeypatch
):
    from llama_index_mmrag.alignment.training import Training

    whole = tmp_path / "whole.npz"
    align = ("align", "-p", pairs, *TRAINED, "-o")
    assert run(*align, whole).exit_code == 0
    epoch = Training.epoch

    def killed(self: Training, number: int) -> float | None:
        if number == 3:
            raise KeyboardInterrupt
        return epoch(self, number)

    monkeypatch.setattr(Training, "epoch", killed)
    head, state = tmp_path / "head.npz", tmp_path / "head.run.npz"
    ended = run(*align, head)
    assert (ended.exit_code, "Interrupted." in ended.stderr) == (130, True)
    assert (state.exists(), head.exists()) == (True, False)
    monkeypatch.setattr(Training, "epoch", epoch)
    # Other settings do not go on from there, and say so.
    refused(run(*align, head, "--seed", "1"), "delete it to start over")
    assert run(*align, head).exit_code == 0
    assert Alignment.load(head).image == Alignment.load(whole).image
    assert (state.exists(), (tmp_path / "head.vectors.npz").exists()) == (False, True)


@pytest.mark.usefixtures("in_colours")
def test_one_pair_only_is_told(tmp_path, pairs):
    first = pairs.read_text(encoding="utf-8").splitlines()[0]
    pairs.write_text(first, encoding="utf-8")
    done = run("align", "-p", pairs, "-o", tmp_path / "h.npz", "--method", "ridge")
    refused(done, "Got 1 pairs about 1 different pictures")
    assert not (tmp_path / "h.npz").exists()


@pytest.mark.usefixtures("in_colours")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("-o head.json", "does not end in '.npz'"),
        ("--head-alone --mix-weight 1", "leave out --mix-weight"),
        ("--mix-weight nan", "mix_weight is nan"),
        ("--mix-weight 0", "mix_weight is 0.0"),
        ("--dropout 1", "dropout is 1.0"),
        ("--learning-rate 0", "learning_rate is 0.0"),
        ("--held-out 1", "held_out is 1.0"),
        ("--method ridge --ridge-penalty 0", "ridge_penalty is 0.0"),
        ("--judge none.jsonl", "Cannot read the pairs in 'none.jsonl'"),
        ("--method magic", "'magic'"),
        ("--kind deep", "'deep'"),
        ("--seed -1", "'--seed'"),
        pytest.param(
            "--method infonce --device gpu0", "'gpu0' cannot be used", marks=needs_torch
        ),
        pytest.param(
            "--method infonce --kind mlp --start ridge",
            "expected one linear head",
            marks=needs_torch,
        ),
    ],
)
def test_wrong_use_is_a_sentence_and_writes_no_head(
    arguments, said, pairs, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    defaults = ("-p", pairs, "--method", "procrustes", "-o", "head.npz")
    refused(run("align", *defaults, *arguments.split()), said)
    assert not (tmp_path / "head.npz").exists()


@pytest.mark.usefixtures("in_colours")
@pytest.mark.parametrize("content", ['{"image": "a"}', "[]", '{"format": 3}', "{"])
def test_card_replaces_no_file_of_something_else(pairs, tmp_path, content):
    theirs = tmp_path / "pairs.json"
    theirs.write_text(content)
    done = run("align", "-p", pairs, "-o", tmp_path / "pairs.npz")
    refused(done, "which is a file of something else")
    assert theirs.read_text() == content


@pytest.mark.usefixtures("in_colours")
def test_head_is_fitted_again_over_the_old_one(pairs, tmp_path):
    command = ("align", "-p", pairs, "-o", tmp_path / "head.npz", "--method")
    assert run(*command, "procrustes").exit_code == 0
    first = Alignment.load(tmp_path / "head.npz")
    assert run(*command, "ridge").exit_code == 0
    assert Alignment.load(tmp_path / "head.npz").image != first.image


@pytest.mark.parametrize(
    ("option", "given", "said"),
    [
        ("--alignment", "no.npz", "mmrag align --pairs FILE --out"),
        ("--encoder", " ", "--encoder is ' '; expected an encoder"),
    ],
)
def test_encoder_that_is_not_there_is_told(tmp_path, option, given, said):
    refused(run("search", "x", "-s", tmp_path, option, given), said)


# diagnose


@pytest.mark.usefixtures("in_colours")
def test_pairs_show_their_gap_and_what_they_find(pairs):
    done = run("diagnose", "--pairs", pairs)
    assert (done.exit_code, done.stderr) == (0, "")
    assert "8 texts and 8 images, 4 numbers each" in done.stdout
    as_json = json.loads(run("diagnose", "-p", pairs, "--json").stdout)
    # Pictures are 0.8 of their text and 0.6 apart: √((0.2 |mean|)² + 0.6²).
    encoder = ColourEncoder()
    rows = np.array([encoder.get_text_embedding(colour) for colour in COLOURS])
    gap = float(np.hypot(0.2 * np.linalg.norm(rows.mean(axis=0)), 0.6))
    assert as_json["gap"]["before"]["distance"] == pytest.approx(gap, abs=0.01)
    assert as_json["gap"]["after"]["distance"] < gap / 2
    assert as_json["gap"]["before"]["pairs"] == pytest.approx(0.8, abs=0.01)
    assert as_json["found"]["text_to_image"]["mrr"] == 1.0
    assert as_json["skipped"] == []


@pytest.mark.usefixtures("in_colours")
def test_bad_lines_are_told_beside_the_diagnosis(pairs):
    add_line(pairs, "{}")
    done = run("diagnose", "--pairs", pairs, "--json")
    assert done.stderr.startswith("Skipped line 9, ")
    assert json.loads(done.stdout)["skipped"][0]["line"] == 9


@pytest.fixture
def store(tmp_path: Path, pairs: Path) -> Path:
    """Return a store of colours: texts and pictures."""
    (pairs.parent / "pictures" / "red.txt").write_text("red")
    (pairs.parent / "pictures" / "blue.txt").write_text("blue")
    path = tmp_path / "store"
    encoder = ColourEncoder(modality_gap=0.75)
    with MultiModalQdrantIndex.open(path, embed_model=encoder) as index:
        index.insert_directory(pairs.parent / "pictures")
    return path


def test_store_shows_its_gap_without_its_encoder_and_stays_as_it_is(store):
    def vectors() -> bytes:
        with QdrantEdgeVectorStore.open(store / "image") as opened:
            return opened.sample_vectors(100).tobytes()

    before = vectors()
    done = run("diagnose", "--store", store)
    assert (done.exit_code, done.stderr) == (0, "")
    assert "2 texts and 8 images, 4 numbers each" in done.stdout
    said: dict[str, Any] = json.loads(run("diagnose", "-s", store, "--json").stdout)
    assert set(said) == {"gap"}
    assert said["gap"]["before"]["distance"] > 0.6
    assert said["gap"]["before"]["pairs"] is None
    assert vectors() == before


def test_sample_limits_what_is_read_and_what_is_no_number_is_null(store):
    # Two texts, centred, are opposite: their mean is the origin, which has no angle.
    said = json.loads(run("diagnose", "-s", store, "--json", "--sample", "3").stdout)
    assert said["gap"]["after"]["angle_degrees"] is None
    assert (said["gap"]["n_texts"], said["gap"]["n_images"]) == (2, 3)


def test_store_with_one_modality_is_told(tmp_path):
    MultiModalQdrantIndex.open(tmp_path / "s", embed_model=ColourEncoder()).close()
    ended = run("diagnose", "--store", tmp_path / "s")
    refused(ended, "no vectors in its text and image collection")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("", "either --store or --url"),
        ("--store s --pairs p.jsonl", "either --store"),
        ("--store s --encoder offline", "leave out --encoder"),
        ("--store none", "There is no store in 'none'"),
        ("--pairs none.jsonl", "Cannot read the pairs in 'none.jsonl'"),
    ],
)
@pytest.mark.usefixtures("in_colours")
def test_wrong_use_of_diagnose_is_a_sentence(arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(run("diagnose", *arguments.split()), said)
