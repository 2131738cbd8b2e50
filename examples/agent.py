"""An agent that searches a handbook, its texts and its pictures.

Run it with `python examples/agent.py "your question"`. It needs the package
`llama-index-llms-openai-like` and the extra `offline`. With OPENAI_API_BASE (an
endpoint of OpenAI's kind), OPENAI_API_KEY and OPENAI_MODEL in the environment a real
model answers; without them a script on this machine plays the model.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.agent.workflow.workflow_events import ToolCallResult
from llama_index.llms.openai_like import OpenAILike
from scripted_model import scripted_model

from llama_index_mmrag import MultiModalQdrantIndex, MultiModalRetrieverTool
from llama_index_mmrag.citations import CitationChecker
from llama_index_mmrag.nodes import modality_of, name_of

HANDBOOK = Path(__file__).parent / "data" / "handbook"
QUESTION = "What do the lamps on the signal mast mean?"


def main() -> None:
    question = " ".join(sys.argv[1:]) or QUESTION
    with (
        tempfile.TemporaryDirectory() as folder,
        MultiModalQdrantIndex.open(Path(folder) / "store") as index,
        model() as llm,
    ):
        index.insert_directory(HANDBOOK / "safety.md")
        index.insert_directory(HANDBOOK / "illustrations")
        asyncio.run(ask(index, llm, question))


async def ask(index: MultiModalQdrantIndex, llm: OpenAILike, question: str) -> None:
    tool = MultiModalRetrieverTool(
        index.as_retriever(),
        # The model may search by these pictures and no others,
        image_roots=[HANDBOOK],
        # and narrow its search by these keys and no others.
        filter_keys={"file_name": "the chapter's file, such as safety.md"},
    )
    agent = FunctionAgent(
        tools=[tool],
        llm=llm,
        streaming=False,
        system_prompt="Search before you answer. Cite the sources you use, as [1].",
    )
    handler = agent.run(question)
    n_sources = 0
    async for event in handler.stream_events():
        if isinstance(event, ToolCallResult):
            print(f"searched for {event.tool_kwargs}")
            results = event.tool_output.raw_output
            for label, result in enumerate(results, start=1):
                routes = [c.route for c in result.provenance.contributions]
                found_by = ", ".join(dict.fromkeys(routes))
                source = f"{modality_of(result.node)} {name_of(result.node)}"
                print(f"  [{label}] {result.score:.2f} {source} (by {found_by})")
            n_sources = len(results)
    # Labels count from 1 in every search: this holds for an agent that searched once.
    answer = CitationChecker(n_sources).check(str(await handler))
    print(f"{question}\n{answer}")


@contextmanager
def model() -> Iterator[OpenAILike]:
    """Yield the model of the environment, or the scripted one."""
    settings = {"is_chat_model": True, "is_function_calling_model": True}
    if "OPENAI_API_BASE" in os.environ:
        yield OpenAILike(
            model=os.environ.get("OPENAI_MODEL", "gpt-4o-mini"),
            api_base=os.environ["OPENAI_API_BASE"],
            api_key=os.environ.get("OPENAI_API_KEY", "none"),
            **settings,
        )
        return
    # A proxy is no way to this machine itself.
    os.environ["NO_PROXY"] = ",".join([os.environ.get("NO_PROXY", ""), "127.0.0.1"])
    with scripted_model() as api_base:
        yield OpenAILike(
            model="scripted", api_base=api_base, api_key="none", **settings
        )


if __name__ == "__main__":
    main()
