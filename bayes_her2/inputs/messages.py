"""Messages about a study file: where a value stands, and what is wrong, in words of the format."""

from __future__ import annotations

import json
import re
import types
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from bayes_her2.inputs.fields import suggestion

Loc = tuple[str | int, ...]
"""A path in the file: keys, and numbers of list items."""


class Places:
    """Where a value stands: its line in the file, and a path with cohorts by name."""

    def __init__(self, text: str, file: str, raw: Mapping[str, Any]) -> None:
        self._lines = line_numbers(text)
        self._file = file
        self._raw = raw

    def where(self, loc: Loc) -> str:
        """``study.toml, line 12, cohort[METABRIC].clinical.file``."""
        known = next((loc[:n] for n in range(len(loc), 0, -1) if loc[:n] in self._lines), None)
        line = f", line {self._lines[known]}" if known is not None else ""
        path = dotted(loc, self._raw)
        return f"{self._file}{line}{', ' if path else ''}{path}"


def dotted(loc: Loc, raw: Mapping[str, Any] | None = None) -> str:
    """Write a location as a dotted path; list items by name, field or number."""
    text = ""
    at: Any = raw
    for step in loc:
        if isinstance(step, int):
            at = at[step] if isinstance(at, list) and step < len(at) else None
            label = (at.get("name") or at.get("field")) if isinstance(at, dict) else None
            text += f"[{label if isinstance(label, str) else step + 1}]"
        else:
            at = at.get(step) if isinstance(at, dict) else None
            text += f".{step}" if text else step
    return text


def syntax_message(problem: str, text: str, file: str) -> str:
    """Say where the text stops being TOML, show the line, and name the usual mistakes."""
    found = re.search(r"\(at line (\d+), column (\d+)\)", problem)
    what = re.sub(r"\s*\(at .*\)$", "", problem)
    lines = text.splitlines()
    if found is None or int(found.group(1)) > len(lines):
        return (
            f"{file}: not valid TOML, the file ends too early: {what}. Look for a bracket or a quotation mark"
            " that is not closed"
        )
    number = int(found.group(1))
    return (
        f"{file}, line {number}, column {found.group(2)}: not valid TOML: {what}. The line reads"
        f" {lines[number - 1].strip()!r}. Text needs quotation marks, true and false are lower case, and a"
        " key or table may be given only once"
    )


def unknown_key(key: str, valid: Sequence[str], *, kind: str = "key") -> str:
    """Say that a key is unknown, what it could have been, and which are valid."""
    hint = suggestion(key, valid)
    return f"unknown {kind} '{key}'{hint or '.'} Valid {kind}s: {', '.join(valid)}"


def explain(error: Mapping[str, Any], root: type[BaseModel], loc: Loc) -> str:
    """Say one pydantic fault in the words of this file format."""
    kind = error["type"]
    value = error.get("input")
    if kind == "extra_forbidden":
        block = _model_at(root, loc[:-1])
        valid = [info.alias or name for name, info in block.model_fields.items()] if block else []
        return unknown_key(str(loc[-1]), valid)
    if kind == "missing":
        if isinstance(loc[-1], int):
            return "must be a pair: [lower, upper]"
        if loc == ("cohort",):
            return "no cohort is given; add a table [[cohort]] with its files"
        if loc == ("her2",):
            return 'the table [her2] is missing; it names the HER2 measure: measure = "ERBB2"'
        return f"key '{loc[-1]}' is missing. {_about(root, loc)}".strip()
    if kind == "value_error":
        return str(error["msg"]).removeprefix("Value error, ")
    if kind == "literal_error":
        options = re.findall(r"'([^']*)'", str(error["ctx"]["expected"]))
        return f"{value!r} is not one of {', '.join(map(repr, options))}{suggestion(str(value), options)}"
    wanted = _WANTED.get(kind)
    if wanted is not None:
        return f"{wanted}, not {_toml(value)}"
    if kind in ("too_short", "string_too_short"):
        return "is empty; give at least one value" if kind == "too_short" else "is empty; give a text"
    message = str(error["msg"])
    message = message.removeprefix("Input should").removeprefix(" be").strip()
    return f"must be {message}, not {_toml(value)}"


def without_echoes(errors: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Leave out 'too short' where a list is short because of a fault in one of its items."""
    locs = [tuple(one["loc"]) for one in errors]
    return [
        one
        for one, loc in zip(errors, locs, strict=True)
        if one["type"] != "too_short" or not any(other[: len(loc)] == loc != other for other in locs)
    ]


_WANTED = {
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "string_type": "must be a text in quotation marks",
    "tuple_type": "must be a list in square brackets",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
}


def _about(root: type[BaseModel], loc: Loc) -> str:
    """Give the description of the field at a location."""
    block = _model_at(root, loc[:-1])
    if block is None:
        return ""
    found = next((info for name, info in block.model_fields.items() if loc[-1] in (name, info.alias)), None)
    return (found.description or "").removeprefix("[study] ") if found is not None else ""


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _model_at(root: type[BaseModel], loc: Loc) -> type[BaseModel] | None:
    """Find the block that a location is in."""
    here: Any = root
    for step in loc:
        if isinstance(here, type) and issubclass(here, BaseModel):
            info = next((f for n, f in here.model_fields.items() if step in (n, f.alias)), None)
            if info is None:
                return None
            here = _plain(info.annotation)
        else:
            arguments = get_args(here)
            here = _plain(arguments[-1 if get_origin(here) is dict else 0]) if arguments else None
    return here if isinstance(here, type) and issubclass(here, BaseModel) else None


def _plain(annotation: Any) -> Any:
    """Strip Annotated and None from an annotation."""
    while get_origin(annotation) in (Annotated, Union, types.UnionType):
        annotation = next(a for a in get_args(annotation) if a is not type(None))
    return annotation


_HEADER = re.compile(r"^\s*(\[\[?)\s*([^\]]+?)\s*\]")
_KEY_PART = re.compile(r'\s*(?:"([^"]*)"|\'([^\']*)\'|([A-Za-z0-9_-]+))\s*')


def line_numbers(text: str) -> dict[Loc, int]:
    """Find the line of every table header and key of a TOML text, by its path (items of lists by number).

    A small scan, not a parser: keys of inline tables have the line of the key that holds them.
    """
    lines: dict[Loc, int] = {}
    counts: dict[Loc, int] = {}
    table: Loc = ()
    open_until = ""  # the quotation mark of a text over several lines
    depth = 0  # of brackets of a value over several lines
    for number, line in enumerate(text.splitlines(), start=1):
        rest = line
        if not open_until and depth == 0:
            header = _HEADER.match(line)
            if header is not None:
                table = _table_path(_key_parts(header.group(2))[0], header.group(1) == "[[", counts)
                for n in range(1, len(table) + 1):
                    lines.setdefault(table[:n], number)
                continue
            keys, rest = _key_parts(line)
            if keys and rest.startswith("="):
                for n in range(1, len(keys) + 1):
                    lines.setdefault((*table, *keys[:n]), number)
        open_until, depth = _still_open(rest, open_until, depth)
    return lines


def _key_parts(text: str) -> tuple[tuple[str, ...], str]:
    """Split a text into the dotted key at its start and what follows it."""
    parts: list[str] = []
    rest = text
    while (found := _KEY_PART.match(rest)) is not None:
        parts.append(next(group for group in found.groups() if group is not None))
        rest = rest[found.end() :]
        if not rest.startswith("."):
            break
        rest = rest[1:]
    return tuple(parts), rest


def _table_path(keys: Sequence[str], repeated: bool, counts: dict[Loc, int]) -> Loc:
    path: Loc = ()
    for i, key in enumerate(keys):
        path = (*path, key)
        if repeated and i == len(keys) - 1:
            counts[path] = counts.get(path, 0) + 1
        if path in counts:
            path = (*path, counts[path] - 1)
    return path


def _still_open(text: str, open_until: str, depth: int) -> tuple[str, int]:
    """Find whether a text or a bracket is still open at the end of a line."""
    i = 0
    while i < len(text):
        if open_until:
            end = text.find(open_until, i)
            if end < 0:
                # A text in single quotation marks ends with its line.
                return (open_until if len(open_until) == 3 else ""), depth
            i, open_until = end + len(open_until), ""
            continue
        if text.startswith(('"""', "'''"), i):
            open_until = text[i : i + 3]
            i += 3
        elif text[i] in "\"'":
            open_until = text[i]
            i += 1
        elif text[i] == "#":
            break
        else:
            depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(text[i], 0)
            i += 1
    return (open_until if len(open_until) == 3 else ""), max(depth, 0)
