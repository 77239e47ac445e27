"""Multipart forms: one field replaced, every other byte as it came."""

from __future__ import annotations

from typing import Any

import aiohttp
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aigateway import FunctionProvider, Target
from aigateway.call import Call, Plan
from aigateway.errors import InvalidRequestError
from aigateway.formats.multipart import Form, boundary_of
from aigateway.intake import Limits, understand
from aigateway.surface import OPERATIONS
from aigateway.upstream import upstream_request

PROVIDER = FunctionProvider("up", dict, apis={"images"})
BOUNDARY_CHARS = "ABCyz019'()+_,-./:=?"


class Part(msgspec.Struct, frozen=True):
    """One part as a client might write it."""

    name: str
    value: bytes
    filename: str | None = None
    extra: str = ""
    spelling: str = 'Content-Disposition: form-data; name="{}"'

    def text(self, boundary: str, value: bytes | None = None) -> bytes:
        head = self.spelling.format(self.name)
        head += f'; filename="{self.filename}"' if self.filename is not None else ""
        content = self.value if value is None else value
        return f"--{boundary}\r\n{head}{self.extra}\r\n\r\n".encode() + content + b"\r\n"


boundaries = st.text(BOUNDARY_CHARS, min_size=1, max_size=20).map(lambda text: f"b{text}b")
spellings = st.sampled_from(
    [
        'Content-Disposition: form-data; name="{}"',
        'content-disposition:form-data;name="{}"',
        'Content-Type: text/plain; charset=utf-8\r\nContent-Disposition: form-data; name="{}"',
        'Content-Type: text/plain; name="prompt"\r\nContent-Disposition: form-data; name="{}"',
        "Content-Disposition: form-data; name={}",
    ]
)
extras = st.sampled_from(["", "\r\nContent-Type: image/png", "\r\nX-Odd: 1\r\nContent-Length: 7"])
tricky = st.sampled_from([b"\r\n--", b"--", b"\r\n\r\n", b'name="model"', b"\r\n", b"--b", b"\x00", b"\r\n--b--\r\n"])
contents = st.lists(st.binary(max_size=12) | tricky, max_size=5).map(b"".join)
files = st.builds(
    Part,
    name=st.sampled_from(["image", "image[]", "mask", "model", "prompt"]),
    value=contents,
    filename=st.sampled_from(["a.png", "", "名.png", 'model"; x="']),
    extra=extras,
    spelling=spellings,
)
fields = st.builds(
    Part,
    name=st.sampled_from(["prompt", "n", "user", "stream"]),
    value=st.text(st.characters(exclude_categories=["Cs"]), max_size=8).map(str.encode),
    extra=extras,
    spelling=spellings,
)


@st.composite
def forms(draw: st.DrawFn, models: st.SearchStrategy[list[Part]]) -> tuple[str, list[Part], bytes, bytes]:
    """A boundary that stands in no part, the parts, and what stands before and after them."""
    boundary = draw(boundaries)
    parts = [*draw(st.lists(files | fields, max_size=5)), *draw(models)]
    parts = draw(st.permutations(parts))
    delimiter = b"--" + boundary.encode()
    parts = [part for part in parts if delimiter not in part.value]
    before = draw(st.sampled_from([b"", b"preamble\r\n"]))
    return boundary, parts, before, draw(st.sampled_from([b"\r\n", b"", b"\r\nepilogue\r\n"]))


def content_type(boundary: str, *, quoted: bool) -> str:
    return f'multipart/form-data; boundary="{boundary}"' if quoted else f"multipart/form-data; boundary={boundary}"


def understood(body: bytes, kind: str) -> Call:
    call = Call("id", OPERATIONS["images.edits"], {"content-type": kind})
    understand(call, body, Limits())
    return call


def sent(call: Call, model: str) -> bytes:
    """The body that goes up where the route gives the model this name."""
    plan = Plan(Target(PROVIDER), model, "images", "images")
    body, asked_usage = upstream_request(call, plan, wants_usage=True)
    assert not asked_usage
    return body


model_part = st.builds(Part, name=st.just("model"), value=st.just(b"asked"), extra=extras, spelling=spellings)


@given(forms(st.lists(model_part, min_size=1, max_size=1)))
@settings(max_examples=200)
def test_only_the_model_is_rewritten(form: tuple[str, list[Part], bytes, bytes]) -> None:
    boundary, parts, before, after = form
    quoted = not set(boundary) <= set("ABCyz019'()+_-.b")
    end = f"--{boundary}--".encode() + after
    body = before + b"".join(part.text(boundary) for part in parts) + end
    call = understood(body, content_type(boundary, quoted=quoted))
    assert call.model == "asked"
    expected = [
        part.text(boundary, b"up-model" if part.name == "model" and part.filename is None else None) for part in parts
    ]
    assert sent(call, "up-model") == before + b"".join(expected) + end
    assert call.request.model == "asked"
    assert sent(call, "asked") == body


@given(forms(st.just([])))
@settings(max_examples=100)
def test_a_missing_model_is_added_behind_the_others(form: tuple[str, list[Part], bytes, bytes]) -> None:
    boundary, parts, before, after = form
    end = f"--{boundary}--".encode() + after
    front = before + b"".join(part.text(boundary) for part in parts)
    call = understood(front + end, content_type(boundary, quoted=True))
    assert call.model == "dall-e-2"
    for name in ("up-model", "dall-e-2"):
        assert sent(call, name) == front + Part("model", name.encode()).text(boundary) + end


@given(forms(st.just([])))
def test_text_fields_are_read_and_files_are_not(form: tuple[str, list[Part], bytes, bytes]) -> None:
    boundary, parts, before, after = form
    body = before + b"".join(part.text(boundary) for part in parts) + f"--{boundary}--".encode() + after
    assert Form(body, boundary).fields() == {part.name: part.value.decode() for part in parts if part.filename is None}


@given(st.binary(max_size=60), st.integers(0, 200))
def test_any_bytes_are_a_form_or_a_400(noise: bytes, at: int) -> None:
    body = Part("model", b"m").text("b") + Part("image", b"\x89", "a.png").text("b") + b"--b--\r\n"
    broken = body[:at] + noise
    try:
        form = Form(broken, "b")
    except InvalidRequestError as error:
        code = error.code
    else:
        code = "invalid_multipart"
        assert form.with_fields(form.fields(), form.fields()) == broken
    assert code == "invalid_multipart"


async def test_what_a_real_client_sends_is_understood() -> None:
    writer = aiohttp.MultipartWriter("form-data")
    writer.append("asked").set_content_disposition("form-data", name="model")
    writer.append(b"\x89PNG\r\n--").set_content_disposition("form-data", name="image", filename="名 a.png")
    writer.append("é").set_content_disposition("form-data", name="prompt")
    body = await writer.as_bytes()
    call = understood(body, writer.content_type)
    assert call.request.body == {"model": "asked", "prompt": "é"}
    assert sent(call, "up-model") == body.replace(b"\r\n\r\nasked\r\n", b"\r\n\r\nup-model\r\n")


BOUNDARIES = {
    "plain": ("multipart/form-data; boundary=abc", "abc"),
    "quoted": ('multipart/form-data; boundary="a b:c"', "a b:c"),
    "after another parameter": ("multipart/form-data; charset=utf-8; boundary=abc", "abc"),
    "before another parameter": ("multipart/form-data; boundary=abc; charset=utf-8", "abc"),
    "no space": ("multipart/form-data;boundary=abc", "abc"),
    "upper case": ("Multipart/Form-Data; BOUNDARY=AbC", "AbC"),
}


@pytest.mark.parametrize(("kind", "boundary"), BOUNDARIES.values(), ids=BOUNDARIES.keys())
def test_the_boundary_is_read_from_the_content_type(kind: str, boundary: str) -> None:
    assert boundary_of(kind) == boundary


@pytest.mark.parametrize(
    "kind", ["", "multipart/form-data", "multipart/form-data; boundary=", "application/json; boundary=a", "text/plain"]
)
def test_another_content_type_is_a_400(kind: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        boundary_of(kind)
    assert (caught.value.status, caught.value.code) == (400, "invalid_content_type")


EDITS: dict[str, tuple[dict[str, Any], bytes]] = {
    "true": ({"a": True}, b"true"),
    "false": ({"a": False}, b"false"),
    "number": ({"a": 7}, b"7"),
    "text": ({"a": "é"}, "é".encode()),
    "taken away": ({}, b""),
}


@pytest.mark.parametrize(("after", "written"), EDITS.values(), ids=EDITS.keys())
def test_edited_fields_are_written_as_a_form_has_them(after: dict[str, Any], written: bytes) -> None:
    body = Part("a", b"x").text("b") + b"--b--"
    form = Form(body, "b")
    assert form.with_fields(form.fields(), after) == Part("a", written).text("b") + b"--b--"


def test_a_repeated_field_is_replaced_everywhere_and_read_as_the_last() -> None:
    form = Form(Part("a", b"x").text("b") + Part("a", b"y").text("b") + b"--b--", "b")
    assert form.fields() == {"a": "y"}
    assert form.with_fields(form.fields(), {"a": "z"}) == Part("a", b"z").text("b") * 2 + b"--b--"


def test_other_bytes_may_take_the_place_of_a_form() -> None:
    call = understood(Part("model", b"m").text("b") + b"--b--", "multipart/form-data; boundary=b")
    other = Part("model", b"n").text("b") + Part("image", b"\x00", "a.png").text("b") + b"--b--"
    call.request.replace_raw(other)
    assert (call.request.model, call.request.raw) == ("n", other)
