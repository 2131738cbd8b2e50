"""Sentences are found without a file of nltk's: the same chunks on every install."""

from __future__ import annotations

import json

import pytest
from llama_index.core.node_parser.text.utils import split_by_sentence_tokenizer

from llama_index_mmrag.ingestion import sentences as module
from llama_index_mmrag.ingestion.sentences import sentences

from ..support.indexes import run_code

TEXT = 'He said "Go. Now!" Dr. No went at 3.15 p.m. to x.org. Why? (No idea.) ' * 20

CODE = """
import json, sys
seen = []
def watch(event, args):
    name = str(args[0]) if event == "open" else ""
    if "nltk_data" in name or "nltk_cache" in name or "socket" in event:
        seen.append(name or event)
from llama_index.core import Document, SimpleDirectoryReader
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import NodeWithScore
from llama_index_mmrag.answers.evidence import PictureBudget, gather_evidence
from llama_index_mmrag.answers.extractive import extract_answer
from llama_index_mmrag.ingestion import ReadSettings, read_documents
sys.addaudithook(watch)
def told(text):
    (record,) = read_documents([Document(text=text)], settings=ReadSettings())
    found = [NodeWithScore(node=node) for node in record.nodes]
    shown = gather_evidence(found, budget=PictureBudget(0, 64)).sources
    texts = {node.node_id: node.text for node in record.nodes}
    return [texts, extract_answer("Why go?", shown)]
answer = told(sys.argv[1])
touched = list(seen)
try:
    SentenceSplitter(chunk_size=60, chunk_overlap=0).split_text(sys.argv[1])
    theirs = True
except Exception:
    theirs = False
print("\\n" + json.dumps([answer, touched, theirs]))
"""


def test_chunks_and_answers_are_the_same_where_the_data_cannot_be_had(tmp_path):
    (tmp_path / "file").write_text("")
    # Neither there nor to be made: nothing is downloaded, also where there is a net.
    nowhere = {"NLTK_DATA": str(tmp_path / "file" / "nltk"), "HOME": str(tmp_path)}

    def told(**environment: str) -> list[object]:
        said = run_code(CODE, TEXT, **environment).strip().splitlines()[-1]
        read: list[object] = json.loads(said)
        return read

    there, nothing = told(), told(**nowhere)
    assert nothing[:2] == there[:2]
    (texts, answer), touched, _ = nothing
    assert len(texts) > 3
    assert answer
    assert touched == []
    assert not nothing[2], "LlamaIndex's splitter needs no data any more: drop ours"


def test_sentences_are_llamaindexs():
    for text in (TEXT, "", "  one", "No end", "1. Stir.\n2. Bake.", "好。走吧！ Yes."):
        assert sentences(text) == split_by_sentence_tokenizer()(text)
        assert "".join(sentences(text)) == text


@pytest.mark.parametrize("mark", ["\n\n", "\n", " "])
def test_a_long_text_is_told_apart_in_pieces(monkeypatch, mark):
    text = mark.join(f"Sentence {n} ends here." for n in range(400))
    at_once = sentences(text)
    monkeypatch.setattr(module, "_AT_ONCE", 1000)
    in_pieces = sentences(text)
    assert "".join(in_pieces) == text
    assert in_pieces == at_once
    endless = "word " * 1000
    assert "".join(sentences(endless)) == endless


def test_ten_megabytes_are_told_apart_in_time():
    text = "The water is boiled first. Then it is poured over the leaves. " * 170_000
    found = sentences(text)
    assert len(text) > 10_000_000
    assert len(found) == 340_000
