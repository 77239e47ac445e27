"""Typed YAML: a document read into msgspec structs, with all its errors and the place of each.

The structs are the schema: field names are the keys, field types say what may stand there. `${VAR}` and
`${VAR:-default}` in a string, or in a key that is a name, come from the environment; `$${` is a literal `${`.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final, TypeVar

import yaml
from msgspec import inspect as schema

Path = tuple[str | int, ...]
T = TypeVar("T")

_REFERENCE: Final = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|\$\{")
_TAG: Final = "tag:yaml.org,2002:"
_KINDS: Final = {
    "str": "a string",
    "int": "a number",
    "float": "a decimal number",
    "bool": "true or false",
    "null": "nothing",
    "map": "a mapping",
    "seq": "a list",
    "timestamp": "a date",
}
_UNQUOTED: Final = {"int", "float", "bool", "timestamp"}
_DEEPEST: Final = 50
_WRONG: Final = object()
"""Stands for a value that has been reported."""


class Document:
    """One YAML text, the environment it refers to, and what is wrong with it.

    hidden  the mappings whose keys are secret: errors count them (`auth.keys[0]`) and never show one.
    """

    def __init__(
        self, name: str, text: str, environ: Mapping[str, str], *, hidden: Collection[Path] = frozenset()
    ) -> None:
        self._name = name
        self._text = text
        self._environ = environ
        self._hidden = hidden
        self._lines: dict[Path, int] = {(): 1}
        self._found: list[tuple[int, str]] = []
        self._wrong: set[Path] = set()
        self._kept: dict[Path, list[Path]] = {}
        self._substituted: dict[str, str] = {}
        self._resolver = yaml.SafeLoader("")

    @property
    def errors(self) -> list[str]:
        """`file:line: dotted.key: what is wrong`, in the order of their lines."""
        return [f"{self._name}:{line}: {text}" for line, text in sorted(self._found, key=lambda found: found[0])]

    def error(self, path: Path, message: str) -> None:
        """Report a mistake at a path: on its line, or on that of what holds it."""
        held = path
        while held not in self._lines:
            held = held[:-1]
        self._report(path, self._lines[held], message)

    def given(self, *path: str | int) -> bool:
        """Whether something stands at a path."""
        return path in self._lines

    def sound(self, *path: str | int) -> bool:
        """Whether nothing was reported for a path itself."""
        return path not in self._wrong

    def places(self, *path: str | int) -> list[Path]:
        """The paths of a list's items, without those that were left out for a mistake."""
        return self._kept.get(path, [])

    def quoted(self, value: str) -> str:
        """A value as an error may show it: what came from the environment appears as the name of its variable."""
        return f"'{self.masked(value)}'"

    def masked(self, text: str) -> str:
        """A text without the values that came from the environment."""
        for value in sorted(self._substituted, key=len, reverse=True):
            text = text.replace(value, self._substituted[value])
        return text

    def unknown_key(self, path: Path, known: Iterable[str]) -> None:
        """Report a key that nobody knows, with the one that was probably meant."""
        known = list(known)
        if path[:-1] in self._hidden:
            self.error(path[:-1], f"an unknown key (not shown: it may be a secret); known: {', '.join(known)}")
            return
        self.error(path, f"unknown key{meant(str(path[-1]), known)}")

    def read(self, type: type[T]) -> T | None:
        """The document as a struct of this type; what is wrong is left out of it. None if nothing can be made of it."""
        try:
            node = yaml.compose(self._text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            self._syntax_error(error)
            return None
        except yaml.reader.ReaderError as error:
            line = self._text.count("\n", 0, error.position) + 1
            self._found.append((line, f"not YAML: {error.reason}"))
            return None
        except RecursionError:
            self._found.append((1, "nested too deeply"))
            return None
        if node is None:
            node = yaml.MappingNode(f"{_TAG}map", [])
        value = self._read(schema.type_info(type), node, ())
        return None if value is _WRONG else value

    # reading

    def _read(self, info: schema.Type, node: yaml.Node, path: Path) -> Any:
        options = info.types if isinstance(info, schema.UnionType) else (info,)
        if not any(isinstance(option, schema.StrType | schema.LiteralType | schema.AnyType) for option in options):
            resolved = self._number(node, path)
            if resolved is None:
                return _WRONG
            node = resolved
        if _kind(node) == "null":
            if any(isinstance(option, schema.NoneType | schema.AnyType) for option in options):
                return None
            node = _emptied(node, options)
        for option in options:
            read = self._reader(option, node)
            if read is not None:
                return read(node, path)
        wanted = " or ".join(dict.fromkeys(_wanted(option) for option in options if _wanted(option)))
        advice = "; put it in quotes" if "a string" in wanted and _kind(node) in _UNQUOTED else ""
        return self._refuse(path, f"expected {wanted}, got {_described(node)}{advice}")

    def _reader(self, info: schema.Type, node: yaml.Node) -> Callable[[Any, Path], Any] | None:
        """What reads a node as this type; None if it is of another kind."""
        kind = _kind(node)
        match info:
            case schema.AnyType():
                return self._read_anything
            case schema.StructType() if kind == "map":
                return lambda node, path: self._read_struct(info, node, path)
            case schema.DictType() if kind == "map":
                return lambda node, path: self._read_dict(info, node, path)
            case schema.VarTupleType() if kind == "seq":
                return lambda node, path: self._read_list(info.item_type, node, path)
            case schema.StrType() if kind == "str":
                return self._read_string
            case schema.LiteralType() if kind == "str":
                return lambda node, path: self._read_word(info, node, path)
            case schema.BoolType() if kind == "bool":
                return lambda node, _: _constructed(node)
            case schema.IntType() if kind == "int":
                return lambda node, path: self._read_number(info, node, path)
            case schema.FloatType() if kind in ("int", "float"):
                return lambda node, path: self._read_number(info, node, path)
        return None

    def _read_struct(self, info: schema.StructType, node: yaml.MappingNode, path: Path) -> Any:
        fields = {field.name: field for field in info.fields}
        values: dict[str, Any] = {}
        for key, child in self._pairs(node, path):
            place = self._at((*path, key.value), key)
            if key.value not in fields:
                self.unknown_key(place, fields)
                continue
            value = self._read(fields[key.value].type, child, place)
            if value is not _WRONG:
                values[key.value] = value
        missing = [name for name, field in fields.items() if field.required and name not in values]
        for name in missing:
            if not self.given(*path, name):
                self.error(path, f"needs a {name}")
        if missing:
            return _WRONG
        try:
            return info.cls(**values)
        except ValueError as error:
            return self._refuse(path, self.masked(str(error)))

    def _read_dict(self, info: schema.DictType, node: yaml.MappingNode, path: Path) -> Any:
        values: dict[str, Any] = {}
        for number, (key, child) in enumerate(self._pairs(node, path)):
            shown = number if path in self._hidden else key.value
            place = self._at((*path, shown), key)
            name = self._expand(key.value, place)
            if name is None:
                continue
            if name in values:
                self.error(place, "this key stands here twice, once its variables are filled in")
                continue
            value = self._read(info.value_type, child, self._at((*path, shown if path in self._hidden else name), key))
            if value is not _WRONG:
                values[name] = value
        return values

    def _read_list(self, info: schema.Type, node: yaml.SequenceNode, path: Path) -> Any:
        values = {i: self._read(info, child, self._at((*path, i), child)) for i, child in enumerate(node.value)}
        kept = {(*path, i): value for i, value in values.items() if value is not _WRONG}
        self._kept[path] = list(kept)
        return tuple(kept.values())

    def _read_string(self, node: yaml.ScalarNode, path: Path) -> Any:
        text = self._expand(node.value, path)
        return _WRONG if text is None else text

    def _read_word(self, info: schema.LiteralType, node: yaml.ScalarNode, path: Path) -> Any:
        text = self._read_string(node, path)
        if text is _WRONG or text in info.values:
            return text
        return self._refuse(path, f"expected one of {', '.join(map(str, info.values))}, got {self.quoted(text)}")

    def _read_number(self, info: schema.IntType | schema.FloatType, node: yaml.ScalarNode, path: Path) -> Any:
        number = _constructed(node)
        if not math.isfinite(number):
            return self._refuse(path, "expected a finite number")
        low, high = info.ge, info.le
        if (low is not None and number < low) or (high is not None and number > high):
            return self._refuse(path, f"must be {f'at least {low}' if high is None else f'from {low} to {high}'}")
        return number

    def _read_anything(self, node: yaml.Node, path: Path) -> Any:
        if len(path) > _DEEPEST:
            return self._refuse(path[:1], "nested too deeply")
        match _kind(node):
            case "map":
                pairs = [
                    (key.value, child, self._at((*path, key.value), key)) for key, child in self._pairs(node, path)
                ]
                return {name: self._read_anything(child, place) for name, child, place in pairs}
            case "seq":
                return [self._read_anything(child, self._at((*path, i), child)) for i, child in enumerate(node.value)]
            case "str":
                return self._read_string(node, path)  # type: ignore[arg-type]  # only scalars are strings
            case "int" | "float" | "bool" | "null":
                return _constructed(node)
        return self._refuse(path, f"expected a plain value, got {_described(node)}")

    def _pairs(self, node: yaml.Node, path: Path) -> list[tuple[yaml.ScalarNode, yaml.Node]]:
        """Keys and values, also those merged in with `<<`; what stands here itself wins over those."""
        own: dict[str, tuple[yaml.ScalarNode, yaml.Node]] = {}
        merged: list[tuple[yaml.ScalarNode, yaml.Node]] = []
        for number, (key, value) in enumerate(node.value):
            shown = number if path in self._hidden else getattr(key, "value", "")
            line = key.start_mark.line + 1
            if _kind(key) == "merge":
                for source in value.value if _kind(value) == "seq" else [value]:
                    if _kind(source) == "map" and source is not node:
                        merged += self._pairs(source, path)
                    else:
                        self._report((*path, "<<"), line, "expected a mapping, or a list of mappings")
            elif _kind(key) != "str" and not _is_word(key):
                advice = "; put it in quotes" if _kind(key) in _UNQUOTED | {"null"} else ""
                self._report(path, line, f"a key must be a string, not {_described(key)}{advice}")
            elif key.value in own:
                first = own[key.value][0].start_mark.line + 1
                self._report((*path, shown), line, f"this key stands here twice; the first is on line {first}")
            else:
                own[key.value] = (key, value)
        return [*own.values(), *((key, value) for key, value in merged if key.value not in own)]

    # the environment

    def _number(self, node: yaml.Node, path: Path) -> yaml.Node | None:
        """A value that is wholly `${VAR}` where no string is wanted, as the number (or true, null) it stands for."""
        found = _REFERENCE.fullmatch(node.value) if isinstance(node, yaml.ScalarNode) else None
        if found is None or not found[1]:
            return node
        text = self._expand(node.value, path)
        if text is None:
            return None
        tag = self._resolver.resolve(yaml.ScalarNode, text.strip(), (True, False))  # type: ignore[no-untyped-call]
        return yaml.ScalarNode(tag, text.strip(), node.start_mark, node.end_mark)

    def _expand(self, text: str, path: Path) -> str | None:
        """A text with its variables filled in; None after an error."""
        failed = False

        def substitute(found: re.Match[str]) -> str:
            nonlocal failed
            name, default = found[1], found[2]
            if found[0] == "$${":
                return "${"
            if name is None:
                self.error(path, "'${' begins no variable: write ${NAME} or ${NAME:-default}, or $${ for a literal ${")
            elif default is not None and not self._environ.get(name):
                return default
            elif name in self._environ:
                value = self._environ[name]
                if len(value) > 3:
                    self._substituted[value] = f"${{{name}}}"
                return value
            else:
                self.error(path, f"the environment variable {name} is not set: set it, or write ${{{name}:-default}}")
            failed = True
            return ""

        expanded = _REFERENCE.sub(substitute, text)
        if failed:
            self._wrong.add(path)
            return None
        return expanded

    # errors

    def _at(self, path: Path, node: yaml.Node) -> Path:
        self._lines[path] = node.start_mark.line + 1
        return path

    def _refuse(self, path: Path, message: str) -> object:
        self.error(path, message)
        return _WRONG

    def _report(self, path: Path, line: int, message: str) -> None:
        self._wrong.add(path)
        place = dotted(path)
        self._found.append((line, f"{place}: {message}" if place else message))

    def _syntax_error(self, error: yaml.MarkedYAMLError) -> None:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 1
        lines = self._text.splitlines()
        advice = "; put ${...} in quotes" if line <= len(lines) and re.search(r"[:\s,{\[]\$\{", lines[line - 1]) else ""
        self._found.append((line, f"not YAML: {error.problem or error.context}{advice}"))


def meant(name: str, known: Iterable[str]) -> str:
    """What follows an unknown name: the one that it looks like, or all there are."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    if close:
        return f"; did you mean {' or '.join(close)}?"
    return f"; known: {', '.join(sorted(known))}" if known else ""


def dotted(path: Path) -> str:
    """`providers.vllm.apis[0]`; a name that would read as something else stands in quotes."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            name = part if re.fullmatch(r"[^\s.\[\]\"']+", part) else f'"{part}"'
            text += f".{name}" if text else name
    return text


def _is_word(key: yaml.Node) -> bool:
    """Whether a key is a word of ours that YAML 1.1 takes for a truth: `on`, written so and without quotes."""
    return isinstance(key, yaml.ScalarNode) and _kind(key) == "bool" and key.value == "on"


def _kind(node: yaml.Node) -> str:
    """The last word of the node's tag if it is one of YAML's own; else the tag."""
    tag: str = node.tag
    return tag.removeprefix(_TAG)


def _described(node: yaml.Node) -> str:
    return _KINDS.get(_kind(node), f"a value tagged {_kind(node)}")


def _wanted(info: schema.Type) -> str:
    match info:
        case schema.StructType() | schema.DictType():
            return "a mapping"
        case schema.VarTupleType():
            return "a list"
        case schema.StrType() | schema.LiteralType():
            return "a string"
        case schema.BoolType():
            return "true or false"
        case schema.IntType():
            return "a whole number"
        case schema.FloatType():
            return "a number"
    return ""


def _emptied(node: yaml.Node, options: Iterable[schema.Type]) -> yaml.Node:
    """A key with nothing behind it (all commented out, say) is an empty mapping or list where one is wanted."""
    for option in options:
        if isinstance(option, schema.StructType | schema.DictType):
            return yaml.MappingNode(f"{_TAG}map", [], node.start_mark, node.end_mark)
        if isinstance(option, schema.VarTupleType):
            return yaml.SequenceNode(f"{_TAG}seq", [], node.start_mark, node.end_mark)
    return node


def _constructed(node: yaml.Node) -> Any:
    return yaml.constructor.SafeConstructor().construct_object(node)
