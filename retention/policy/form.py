"""What files say against the grammar: pydantic's errors as findings with a place and a hint."""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from retention.policy.codes import finding
from retention.policy.findings import Finding, Path, Positions
from retention.policy.words import did_you_mean

Model = TypeVar("Model", bound=BaseModel)

_PERIODS = frozenset({"keep_at_least", "delete_at_latest", "backstop", "grace", "within"})
_TYPES = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "dict_type": "fields, each with a value",
    "model_type": "fields, each with a value",
    "model_attributes_type": "fields, each with a value",
    "list_type": "a list",
    "tuple_type": "a list",
    "mapping_type": "fields, each with a value",
}
_UNION_TAGS = frozenset({"str", "int", "float", "bool", "none", "dict", "LastOf", "YearEnds"})


def validated(
    model: type[Model], data: Any, path: Path, positions: Positions
) -> tuple[Model | None, list[Finding]]:
    """The model of `data`, or findings at the places of what is wrong. Inputs are never told."""
    if not isinstance(data, Mapping):
        if data is None:
            message = f"`{path[-1]}` has no fields"
            return None, [finding("empty-value", positions.key(path), message, path)]
        return None, [finding("wrong-type", positions.value(path), "expected fields", path)]
    try:
        return model.model_validate(data), []
    except ValidationError as error:
        return None, list(as_findings(error, model, data, path, positions))


def as_findings(
    error: ValidationError,
    model: type[BaseModel],
    data: Any,
    path: Path,
    positions: Positions,
    *,
    code: str | None = None,
) -> Iterable[Finding]:
    """One finding an error; several errors of one place (the members of a union) become one.

    `code` replaces the grammar's own codes, for a connector's fields.
    """
    said: dict[Path, Finding] = {}
    for e in error.errors(include_input=False, include_url=False, include_context=True):
        at = (*path, *_said_path(e["loc"], data))
        found = _finding(e, at, model, data, path, positions, code)
        before = said.get(at)
        if before is None or (before.code == "wrong-type" and found.code != "wrong-type"):
            said[at] = found
        elif before.code == found.code == "wrong-type" and before.message != found.message:
            both = f"{before.message} or {found.message.removeprefix('expected ')}"
            said[at] = finding(code or "wrong-type", positions.value(at), both, at)
    return said.values()


def _finding(
    e: Any,
    at: Path,
    model: type[BaseModel],
    data: Any,
    path: Path,
    positions: Positions,
    code: str | None,
) -> Finding:
    kind = str(e["type"])
    if kind == "extra_forbidden":
        fields = fields_at(model, at[len(path) : -1])
        message = f"there is no field `{at[-1]}` here"
        return finding(
            code or "unknown-field",
            positions.key(at),
            message,
            at,
            did_you_mean(str(at[-1]), fields) if fields else "",
        )
    if kind == "missing":
        message = f"`{at[-1]}` is missing"
        return finding(code or "missing-field", positions.value(at[:-1]), message, at)
    if _value(data, at[len(path) :]) is None and _stands(data, at[len(path) :]):
        return finding(code or "empty-value", positions.key(at), f"`{at[-1]}` has no value", at)
    own, words = _words(kind, e, at)
    return finding(code or own, positions.value(at), words, at)


def _words(kind: str, e: Any, at: Path) -> tuple[str, str]:
    """Code and message of an error in a value."""
    if kind in _TYPES:
        return "wrong-type", f"expected {_TYPES[kind]}"
    if kind in ("enum", "literal_error"):
        return "invalid-value", f"expected {e.get('ctx', {}).get('expected', 'another word')}"
    if kind == "string_pattern_mismatch":
        return "invalid-value", f"expected {_SHAPES.get(str(at[-1]), 'another form')}"
    words = str(e["msg"]).removeprefix("Value error, ")
    words = words[:1].lower() + words[1:]
    return "bad-period" if at[-1] in _PERIODS else "invalid-value", words


_SHAPES = {
    "country": "two capital letters, e.g. NO",
    "share": "a percentage, e.g. 20%",
    "growth": "a factor, e.g. 5x",
    "rate": "requests per time, e.g. 4/s",
}


def _said_path(loc: tuple[int | str, ...], data: Any) -> Path:
    """The part of pydantic's location that stands in the file.

    Pydantic inserts the names of union members and lists what a short form was turned into.
    """
    path: list[str | int] = []
    at = data
    for step, part in enumerate(loc):
        if _stands(at, (part,)):
            at = at[part]
        elif step == len(loc) - 1 and isinstance(at, Mapping) and not _is_tag(part):
            path.append(part)
            break
        else:
            continue
        path.append(part)
    return tuple(path)


def _is_tag(part: int | str) -> bool:
    return isinstance(part, str) and (
        part in _UNION_TAGS or part[:1].isupper() or "[" in part or "-" in part
    )


def _value(data: Any, path: Path) -> Any:
    for part in path:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return data
    return data


def _stands(data: Any, path: Path) -> bool:
    for part in path:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return False
    return True


def fields_at(model: type[BaseModel], path: Path) -> frozenset[str]:
    """Names of the fields that the grammar knows at that place; none where it is not a model."""
    models = [model]
    for part in path:
        inside: list[type[BaseModel]] = []
        for m in models:
            info = m.model_fields.get(str(part))
            if info is not None:
                inside.extend(_models_in(info.annotation))
        models = inside or (models if isinstance(part, int) else [])
    return frozenset(name for m in models for name in m.model_fields)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Union, types.UnionType, tuple, list, dict) or get_args(
        annotation
    ):
        return [m for a in get_args(annotation) for m in _models_in(a)]
    return []
