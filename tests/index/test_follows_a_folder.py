"""Whatever happens to folders: a refreshed index equals a fresh build of them."""

from __future__ import annotations

import os
import shutil
import uuid
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llama_index_mmrag import MultiModalQdrantIndex
from llama_index_mmrag.stores.catalogue import CATALOGUE

from ..support.indexes import COLOURS, CountingEncoder, Open, contents, painted
from ..support.killing import killed_at

NAMES = (
    *("a.md", "sub/b.md", "m.eml", "t.txt", "sub/u.txt", "p.png"),
    *("sub/m.eml", "sub/p.png", "q.png"),
)
LINKS = ("p.png", "q.png", "../p.png", "/q.png", "sub/p.png")
FILE, NUMBER, ROOT = st.sampled_from(NAMES), st.integers(0, 5), st.integers(0, 1)
VERBS = ("refresh", "insert", "move", "catalogue", "reopen", "part", "build")
OFTEN = ("kill" if hasattr(os, "fork") else "reopen", "copy a root")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), FILE, NUMBER, ROOT),
        st.tuples(st.sampled_from(["rename", "copy", "swap"]), FILE, FILE, ROOT),
        st.tuples(st.just("delete"), FILE, NUMBER, ROOT),
        st.tuples(st.sampled_from(VERBS), NUMBER, NUMBER, ROOT),
        st.tuples(st.sampled_from(OFTEN), NUMBER, NUMBER, ROOT),
    ),
    min_size=4,
    max_size=12,
)
"""What is done, to what, and in which of the roots, where there are two."""


def write(root: Path, name: str, number: int) -> None:
    colour, link = COLOURS[number], LINKS[number % len(LINKS)]
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    if name.endswith(".png"):
        painted(root, colour, name=name)
    elif name.endswith(".eml"):
        (root / name).write_bytes(mail(root, number))
    else:
        (root / name).write_text(f"# One\n\n{colour}\n\n![{colour}]({link})")


def mail(root: Path, number: int) -> bytes:
    """Return a mail of a colour, with up to two attachments and one of a mail in it."""
    made, inner = EmailMessage(), EmailMessage()
    made["subject"] = inner["subject"] = "One"
    made.set_content(COLOURS[number])
    inner.set_content(COLOURS[0])
    if number % 2:
        made.add_attachment(f"a {COLOURS[-number]}", filename="a.txt")
    if number % 3:
        picture = painted(root.parent, COLOURS[number % 2], name="attached.png")
        data = picture.read_bytes()
        inner.add_attachment(data, maintype="image", subtype="png", filename="p.png")
        made.add_attachment(inner)
    return bytes(made)


def change(root: Path, verb: str, name: str, other: str) -> None:
    one, two = root / name, root / other
    if one.suffix != two.suffix or not one.exists() or one == two:
        return
    two.parent.mkdir(exist_ok=True)
    if verb == "copy":
        shutil.copy2(one, two)
    elif verb == "rename" or not two.exists():
        one.replace(two)
    else:
        held = one.read_bytes()
        two.replace(one)
        two.write_bytes(held)


def refresh(store: Path, root: Path) -> None:
    encoder = CountingEncoder(modality_gap=0.75)  # as the fixture's
    with MultiModalQdrantIndex.open(store, embed_model=encoder) as index:
        index.refresh(root, moved=True, allow_gone=True)


class World:
    """Folders, and the index that follows them."""

    def __init__(self, place: Path, open_index: Open) -> None:
        self.place, self.store, self.open_index = place, place / "store", open_index
        self.roots = {"docs": place / "docs"}
        for number, name in enumerate(NAMES[:6]):
            write(self.roots["docs"], name, number)
        self.index = open_index(path=self.store)
        self.index.insert_directory(self.roots["docs"])

    def do(self, verb: str, one: str | int, two: str | int, which: int) -> None:
        root = [*self.roots.values()][which % len(self.roots)]
        if verb == "write":
            write(root, one, two)
        elif verb == "delete":
            (root / one).unlink(missing_ok=True)
        elif isinstance(one, str):
            change(root, verb, one, two)
        elif verb == "kill":
            write(root, NAMES[one], two)  # else there is nothing to do
            self.kill(root, one + two)
        else:
            getattr(self, verb.replace(" ", "_"))(root)

    def move(self, root: Path) -> None:
        place = self.place / uuid.uuid4().hex
        place.mkdir()
        self.roots[root.name] = root.rename(place / root.name)

    def copy_a_root(self, root: Path) -> None:
        if "more" not in self.roots:
            self.roots["more"] = Path(shutil.copytree(root, self.place / "more"))

    def catalogue(self, _: Path) -> None:
        (self.store / CATALOGUE).unlink(missing_ok=True)

    def reopen(self, _: Path) -> None:
        self.index.close()
        self.index = self.open_index(path=self.store)

    def kill(self, root: Path, step: int) -> None:
        self.index.close()
        killed_at(step, refresh, self.store, root)
        self.index = self.open_index(path=self.store)

    def insert(self, root: Path) -> None:
        self.index.insert_directory(root, moved=True)

    def refresh(self, root: Path) -> None:
        self.index.refresh(root, moved=True, allow_gone=True)

    def build(self, _: Path) -> None:
        for channel in self.index.channels:
            channel.vector_store.build_index()

    def part(self, root: Path) -> None:
        self.refresh(root)
        if (root / "sub").is_dir():
            self.index.refresh(root / "sub", allow_gone=True)


def check(place: Path, open_index: Open, steps: list[Any]) -> None:
    world = World(place, open_index)
    for step in steps:
        world.do(*step)
    fresh, index = open_index(path=place / "fresh"), world.index
    for name, folder in world.roots.items():
        index.refresh(folder, root=name, moved=True, allow_gone=True)
        fresh.insert_directory(folder, root=name)
    assert contents(index) == contents(fresh)
    assert index.ref_doc_ids() == fresh.ref_doc_ids()
    for name, folder in world.roots.items():
        again = index.refresh(folder, root=name)
        assert (again.n_added, again.n_removed) == (0, 0)
    index.close()
    fresh.close()


def test_refreshed_index_equals_a_fresh_build_of_its_folders(open_index, tmp_path):
    @settings(
        max_examples=10,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(steps=STEPS)
    def check_one(steps):
        check(tmp_path / uuid.uuid4().hex, open_index, steps)

    check_one()
