"""Structured answers: objects of a Pydantic class, and the texts inside them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from llama_index.core.bridge.pydantic import BaseModel
from llama_index.core.llms import LLM
from llama_index.core.llms.structured_llm import StructuredLLM

from llama_index_mmrag.errors import InvalidSetting

Model = TypeVar("Model", bound=BaseModel)
Edit = Callable[[str], str]


def unwrapped(
    llm: LLM | None, output_cls: type[BaseModel] | None
) -> tuple[LLM | None, type[BaseModel] | None]:
    """Return the LLM that writes, and the class of what it writes; None for text.

    A `StructuredLLM` (`llm.as_structured_llm(Model)`) says both.

    Raises:
        InvalidSetting: There is a class and no LLM, or there are two classes.
    """
    if isinstance(llm, StructuredLLM):
        if output_cls is not None and output_cls is not llm.output_cls:
            raise InvalidSetting(
                f"output_cls is {output_cls.__name__}, and the LLM is a StructuredLLM "
                f"of {llm.output_cls.__name__}. Give one of the two."
            )
        return llm.llm, llm.output_cls
    if output_cls is not None and llm is None:
        raise InvalidSetting(
            f"output_cls is {output_cls.__name__}, and there is no LLM to make one. "
            f"Give an LLM, or leave output_cls out."
        )
    return llm, output_cls


def map_strings(model: Model, edit: Edit) -> Model:
    """Return a copy of an object with every string in it edited, at any depth.

    Strings are found in fields, nested objects, lists, tuples, sets and the values of
    dictionaries; one that `edit` empties is dropped from a list, tuple or set. Other
    types, enumerations among them, stay as they are. Fields are not validated again.
    """
    values = {**model.__dict__, **(model.__pydantic_extra__ or {})}
    edited = {name: _edited(value, edit) for name, value in values.items()}
    changed = {name: edited[name] for name in edited if edited[name] != values[name]}
    return model.model_copy(update=changed)


def _edited(value: Any, edit: Edit) -> Any:
    if isinstance(value, BaseModel):
        return map_strings(value, edit)
    if type(value) is str:
        return edit(value)
    if type(value) is dict:
        return {key: _edited(each, edit) for key, each in value.items()}
    if type(value) in (list, tuple, set, frozenset):
        pairs = [(each, _edited(each, edit)) for each in value]
        return type(value)(new for old, new in pairs if new != "" or old == "")
    return value
