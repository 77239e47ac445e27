"""JSON texts decoded leniently where hosts need it, and patched without touching any other byte."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from aigateway import _json
from aigateway.errors import InvalidRequestError

KEYS = ("model", "m", "metadata", 'a"model', "model ", "mod\\el", "é", "response", "")
texts = st.text(st.characters(blacklist_categories=["Cs"]), max_size=8) | st.sampled_from(
    ['"model":"x"', '{"model": "x"}', '\\"model\\":', "}]{[", "model", '"', "\\", '\\\\"', ",", ":"]
)
scalars = st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.sampled_from([0.5, -1e30, 1e-7]) | texts
keys = st.sampled_from(KEYS) | texts
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=8
)
pairs = st.lists(st.tuples(keys, values), max_size=5)
spaces = st.sampled_from(["", "", " ", "\n", "\t ", "\r\n  "])


SPELLINGS: tuple[Callable[[str], str], ...] = (
    lambda text: json.dumps(text, ensure_ascii=False),
    json.dumps,
    lambda text: '"' + "".join(f"\\u{ord(c):04X}" for c in text) + '"' if text.isascii() else json.dumps(text),
    lambda text: f'"\\u{ord(text[0]):04x}{json.dumps(text[1:])[1:]}' if text[:1].isalpha() else json.dumps(text),
)
"""A string as it is, in ASCII only, with each character escaped by its number, with the first one so."""


class Pairs(list[tuple[str, Any]]):
    """An object with its order and its repeated keys."""


@st.composite
def rendered(draw: st.DrawFn, value: Any) -> str:
    """A value as JSON text, with white space wherever it is allowed."""
    spell, gap = draw(st.sampled_from(SPELLINGS)), draw(spaces)

    def text_of(inner: Any) -> str:
        if isinstance(inner, dict):
            inner = Pairs(inner.items())
        if isinstance(inner, Pairs):
            return "{" + (",".join(f"{gap}{spell(key)}{gap}:{gap}{text_of(item)}" for key, item in inner) or gap) + "}"
        if isinstance(inner, list):
            return "[" + (",".join(f"{gap}{text_of(item)}{gap}" for item in inner) or gap) + "]"
        return spell(inner) if isinstance(inner, str) else json.dumps(inner)

    return text_of(value)


@st.composite
def objects(draw: st.DrawFn, members: st.SearchStrategy[list[tuple[str, Any]]] = pairs) -> bytes:
    """The text of an object, repeated keys included; each of its values spelled in its own way."""
    texts = [f"{draw(rendered(Pairs([pair])))[1:-1]}" for pair in draw(members)]
    return (draw(spaces) + "{" + (",".join(texts) or draw(spaces)) + "}" + draw(spaces)).encode()


def with_model(members: list[tuple[str, Any]]) -> bool:
    return any(key == "model" for key, _ in members)


def only_the_value_changed(before: bytes, after: bytes, new: bytes, *path: str) -> bool:
    """Whether the two texts are the same around the value at a path."""
    span = _json.find_value(before, *path)
    assert span is not None
    return after == before[: span[0]] + new + before[span[1] :]


@given(objects(pairs.filter(with_model)), values)
@settings(max_examples=50)
@pytest.mark.parametrize("replace", [_json.replace_value, _json.replace_top_level], ids=lambda f: f.__name__)
def test_replacing_changes_one_value_and_no_other_byte(
    replace: Callable[[bytes, Any, str], bytes], text: bytes, new: Any
) -> None:
    result = replace(text, new, "model")
    assert _json.decode(result) == {**_json.decode(text), "model": new}
    assert only_the_value_changed(text, result, _json.encode(new), "model")


@given(objects(), keys, values)
def test_setting_replaces_or_adds(text: bytes, key: str, new: Any) -> None:
    result = _json.set_value(text, new, key)
    before = _json.decode(text)
    assert _json.decode(result) == {**before, key: new}
    if key in before:
        assert only_the_value_changed(text, result, _json.encode(new), key)
    else:
        brace = text.index(b"{") + 1
        assert (result[:brace], result[len(result) - len(text) + brace :]) == (text[:brace], text[brace:])


@given(objects(), keys)
def test_found_is_the_value_that_decoding_gives(text: bytes, key: str) -> None:
    span, decoded = _json.find_value(text, key), _json.decode(text)
    assert (span is not None) == (key in decoded)
    if span is not None:
        assert _json.decode(text[span[0] : span[1]]) == decoded[key]
        assert text[span[0] : span[1]].strip() == text[span[0] : span[1]]


@given(objects(st.lists(st.tuples(st.sampled_from(["response", "model"]), values | st.builds(dict)), max_size=3)))
@settings(max_examples=100)
def test_paths_lead_into_nested_objects_only(text: bytes) -> None:
    span = _json.find_value(text, "response", "model")
    response = _json.decode(text).get("response")
    if isinstance(response, dict) and "model" in response:
        assert span is not None
        assert _json.decode(text[span[0] : span[1]]) == response["model"]
        changed = _json.decode(_json.replace_value(text, "new", "response", "model"))
        assert changed == {**_json.decode(text), "response": {**response, "model": "new"}}
    else:
        assert span is None
        assert _json.replace_value(text, "new", "response", "model") == text


NOT_THE_MODEL = {
    "nested only": b'{"metadata":{"model":"x"}}',
    "in a list": b'{"a":[{"model":"x"}]}',
    "a value": b'{"a":"model","b":"c"}',
    "in a text": b'{"a":"\\"model\\":\\"x\\""}',
    "the end of another key": b'{"a\\"model":"x"}',
    "no object": b'["model","x"]',
    "behind the object": b'{"a":1}\n{"model":"x"}',
}


@pytest.mark.parametrize("text", NOT_THE_MODEL.values(), ids=NOT_THE_MODEL.keys())
def test_what_only_looks_like_the_key_is_not_found(text: bytes) -> None:
    assert _json.find_value(text, "model") is None
    assert _json.replace_value(text, "new", "model") == text


THE_MODEL = {
    "first": (b'{"model":"x","a":1}', b'{"model":"new","a":1}'),
    "last": (b'{"a":[1,{"b":"}"}],"model":"x"}', b'{"a":[1,{"b":"}"}],"model":"new"}'),
    "repeated: the last one": (b'{"model":"x","model":"y"}', b'{"model":"x","model":"new"}'),
    "white space": (b'\r\n{ "model" :\t"x" }\n', b'\r\n{ "model" :\t"new" }\n'),
    "escaped name": (b'{"mod\\u0065l":"x","m":{"model":"y"}}', b'{"mod\\u0065l":"new","m":{"model":"y"}}'),
    "escaped name, upper-case digits": (
        b'{"a":{"model":"y"},"\\u006Dodel":1}',
        b'{"a":{"model":"y"},"\\u006Dodel":"new"}',
    ),
    "null": (b'{"model":null}', b'{"model":"new"}'),
    "number at the end": (b'{"model":1}', b'{"model":"new"}'),
    "object": (b'{"model":{"model":"x","a":"}"},"b":1}', b'{"model":"new","b":1}'),
    "list": (b'{"model":[[],"]"] ,"b":1}', b'{"model":"new" ,"b":1}'),
    "quotes in it": (b'{"model":"a\\"b\\\\","b":1}', b'{"model":"new","b":1}'),
    "a text that ends like the key": (b'{"x\\"model":"y","mod\\u0065l":"z"}', b'{"x\\"model":"y","mod\\u0065l":"new"}'),
}


@pytest.mark.parametrize(("text", "expected"), THE_MODEL.values(), ids=THE_MODEL.keys())
def test_the_value_is_replaced_where_it_stands(text: bytes, expected: bytes) -> None:
    assert _json.replace_value(text, "new", "model") == expected
    assert _json.replace_top_level(text, "new", "model") == expected
    assert _json.set_value(text, "new", "model") == expected


def naive_depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max((naive_depth(item) for item in value.values()), default=0)
    if isinstance(value, list):
        return 1 + max((naive_depth(item) for item in value), default=0)
    return 0


@given(objects(), st.integers(0, 8))
@settings(max_examples=100)
def test_depth_is_that_of_a_plain_count(text: bytes, limit: int) -> None:
    value = json.loads(text, object_pairs_hook=lambda members: [item for _, item in members])
    assert _json.deeper_than(text, limit) == (naive_depth(value) > limit)


@pytest.mark.parametrize(
    "level",
    [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]"), ('{"a":[', "]}"), ('{"a":{"b":[', "]}}")],
    ids=["lists", "objects", "lists of objects", "objects of lists", "two objects and a list"],
)
def test_depth_counts_both_kinds_of_brackets(level: tuple[str, str]) -> None:
    per_level = sum(level[0].count(bracket) for bracket in "[{")
    text = (level[0] * 30 + "1" + level[1] * 30).encode()
    assert _json.deeper_than(text, 30 * per_level - 1)
    assert not _json.deeper_than(text, 30 * per_level)


SURROGATES = {
    "lone high": (rb'"a\ud83d"', "a\ufffd"),
    "lone high, upper case": (rb'"a\uD83Db"', "a\ufffdb"),
    "lone low": (rb'"\ude00b"', "\ufffdb"),
    "wrong order": (rb'"\ude00\ud83d"', "\ufffd\ufffd"),
    "a pair is one character": (rb'"\ud83d\ude00"', "\U0001f600"),
    "a pair beside a lone one": (rb'"\ud83d\ude00\ud83d"', "\U0001f600\ufffd"),
    "in a key": (rb'{"k\ud83d":["\ude00",{"a":1}]}', {"k\ufffd": ["\ufffd", {"a": 1}]}),
}


@pytest.mark.parametrize(("text", "expected"), SURROGATES.values(), ids=SURROGATES.keys())
def test_half_an_emoji_becomes_a_replacement_character(text: bytes, expected: Any) -> None:
    assert _json.decode(text) == expected
    _json.encode(_json.decode(text))


@given(values, st.integers(0xD800, 0xDFFF))
def test_only_the_lone_surrogate_is_replaced(value: Any, half: int) -> None:
    text = json.dumps({"half": chr(half), "value": value}).encode()
    assert _json.decode(text) == {"half": "\ufffd", "value": value}


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"nul", b'{"a":NaN}', rb'{"a":"\ud83d","b":NaN}', rb'{"a":"\ud83d"', rb'"\ud83d" x', b'"\\x"', b"[1,]"],
)
def test_broken_json_is_a_decode_error(text: bytes) -> None:
    with pytest.raises(_json.DecodeError):
        _json.decode(text)


@given(st.binary(max_size=30) | objects().map(lambda text: text[: len(text) // 2]))
def test_any_bytes_decode_or_fail_in_a_known_way(text: bytes) -> None:
    try:
        value = _json.decode_object(text)
    except InvalidRequestError as error:
        value = {}
        found = error.code
    else:
        found = "invalid_json"
    assert isinstance(value, dict)
    assert found == "invalid_json"


@given(values)
def test_decoding_what_was_encoded_gives_it_back(value: Any) -> None:
    assert _json.decode(_json.encode(value)) == value


BROKEN = {
    "not JSON": (b"{nope", "not valid JSON"),
    "empty": (b"", "not valid JSON"),
    "not UTF-8": (b'{"a":"\xff"}', "not valid UTF-8"),
    "too deep": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested too deeply"),
    "null": (b"null", "not null"),
    "boolean": (b"true", "not a boolean"),
    "string": (b'"a"', "not a string"),
    "integer": (b"1", "not an integer"),
    "number": (b"1.5", "not a number"),
    "array": (b"[]", "not an array"),
}


@pytest.mark.parametrize(("text", "says"), BROKEN.values(), ids=BROKEN.keys())
def test_a_body_that_is_no_object_is_refused_in_words(text: bytes, says: str) -> None:
    with pytest.raises(InvalidRequestError, match=says) as caught:
        _json.decode_object(text)
    assert (caught.value.status, caught.value.code) == (400, "invalid_json")


def test_json_types_have_their_names() -> None:
    assert _json.json_type({}) == "an object"
    assert isinstance(_json.DecodeError(), msgspec.DecodeError)


@given(objects(), st.binary(max_size=3), st.integers(0, 200))
@settings(max_examples=40)
def test_searching_in_broken_text_never_raises_or_hangs(text: bytes, noise: bytes, at: int) -> None:
    broken = text[:at] + noise + text[at:]
    assume(b"\\" not in broken)
    span = _json.find_value(broken, "model")
    assert span is None or 0 <= span[0] <= span[1] <= len(broken)
    assert isinstance(_json.deeper_than(broken, 3), bool)
