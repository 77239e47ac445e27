"""Answers that come encoded though nobody asked for it: decoded within bounds, or refused in clear words."""

from __future__ import annotations

import asyncio
import gzip
import importlib
import sys
import zlib
from collections.abc import Callable

import brotli
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigateway.errors import UpstreamProtocolError
from aigateway.transport import response
from aigateway.transport.encodings import STEP, EncodingError, decoder_for
from aigateway.transport.protocol import HTTPRequest
from tests.raw_peer import answering, fetch, pooled, raw_peer

zstd = importlib.import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")


def bare_deflate(plain: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(plain) + packer.flush()


PACKERS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "gzip of several members": ("x-gzip", lambda plain: gzip.compress(plain[:7]) + gzip.compress(plain[7:])),
    "deflate": ("deflate", zlib.compress),
    "deflate without its header": ("Deflate", bare_deflate),
    "br": ("br", lambda plain: brotli.compress(plain, quality=3)),
    "zstd": ("zstd", zstd.compress),
    "zstd of several frames": ("zstd", lambda plain: zstd.compress(plain[:7]) + zstd.compress(plain[7:])),
}


def decoded(encoding: str, *pieces: bytes) -> list[bytes]:
    decoder = decoder_for(encoding)
    assert decoder is not None
    plain = [part for piece in pieces for part in decoder.feed(piece)]
    decoder.finish()
    return plain


@pytest.mark.parametrize("name", PACKERS)
@given(plain=st.binary(max_size=300) | st.integers(1, 4).map(lambda n: b"long " * 30_000 * n), data=st.data())
def test_any_split_of_an_encoded_body_gives_the_same_text_in_small_steps(
    name: str, plain: bytes, data: st.DataObject
) -> None:
    encoding, pack = PACKERS[name]
    packed = pack(plain)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(packed)), max_size=5)))
    parts = decoded(encoding, *(packed[a:b] for a, b in zip([0, *cuts], [*cuts, len(packed)], strict=True)))
    assert b"".join(parts) == plain
    assert all(0 < len(part) <= STEP for part in parts)


@pytest.mark.parametrize("name", PACKERS)
def test_a_body_that_is_cut_off_or_broken_is_an_error(name: str) -> None:
    encoding, pack = PACKERS[name]
    packed = pack(bytes(range(256)) * 10)
    with pytest.raises(EncodingError, match=r"cut off|broken"):
        decoded(encoding, packed[:-1])
    with pytest.raises(EncodingError, match=r"broken|cut off"):
        decoded(encoding, b"\x00\x99" * 60)


@pytest.mark.parametrize("encoding", ["compress", "gzip, br", "aes128gcm"])
def test_an_encoding_that_nobody_knows_and_two_at_once_are_refused(encoding: str) -> None:
    with pytest.raises(EncodingError, match="nobody asked for"):
        decoder_for(encoding)


@pytest.mark.parametrize("encoding", ["", "identity", ", identity"])
def test_identity_is_no_encoding(encoding: str) -> None:
    assert decoder_for(encoding) is None


@pytest.mark.parametrize("encoding", ["br", "zstd"])
def test_without_its_package_an_encoding_is_refused_with_a_hint(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("brotli", "brotlicffi", "compression.zstd", "backports.zstd"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(EncodingError, match=r"aigateway\[encodings\]"):
        decoder_for(encoding)


def encoded(encoding: str, body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-encoding: %b\r\ncontent-length: %d\r\n\r\n%b" % (
        encoding.encode(),
        len(body),
        body,
    )


@pytest.mark.parametrize("name", PACKERS)
async def test_an_encoded_answer_is_plain_to_whoever_reads_it(name: str) -> None:
    encoding, pack = PACKERS[name]
    async with raw_peer(answering(encoded(encoding, pack(b"plain " * 999)))) as peer, pooled() as transport:
        for _ in range(2):
            assert await fetch(transport, peer.url) == (200, b"plain " * 999)
        assert peer.connections == 1


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd"])
async def test_a_bomb_is_defused_in_small_steps_and_never_read_as_a_whole(
    encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(response, "MAX_WHOLE", 4 * 1024 * 1024)
    bomb = dict(PACKERS.values())[encoding](bytes(16 * 1024 * 1024))
    assert len(bomb) < 20_000
    async with raw_peer(answering(encoded(encoding, bomb))) as peer, pooled() as transport:
        with pytest.raises(UpstreamProtocolError, match="Provider 'p' answered with more than 4 MiB"):
            await fetch(transport, peer.url)
        streamed = await transport.send(HTTPRequest(method="POST", url=peer.url, headers=[], body=b"{}"))
        sizes = [len(piece) async for piece in streamed.stream()]
        await streamed.aclose()
        assert (sum(sizes), max(sizes) <= STEP) == (16 * 1024 * 1024, True)


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd"])
async def test_while_a_bomb_is_defused_others_go_on(encoding: str) -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    bomb = dict(PACKERS.values())[encoding](bytes(16 * 1024 * 1024))
    async with raw_peer(answering(encoded(encoding, bomb))) as peer, pooled() as transport:
        bombed = await transport.send(HTTPRequest(method="POST", url=peer.url, headers=[], body=b"{}"))
        await asyncio.sleep(0.05)  # all of it has come
        busy = asyncio.create_task(other())
        assert len(await bombed.read()) == 16 * 1024 * 1024
        assert turns >= 200
        busy.cancel()
        await bombed.aclose()


async def test_a_plain_body_without_end_is_never_read_as_a_whole_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(response, "MAX_WHOLE", 100_000)
    endless = answering(b"HTTP/1.1 200 OK\r\n\r\n", *[b"x" * 50_000] * 10)
    async with raw_peer(endless) as peer, pooled() as transport:
        with pytest.raises(UpstreamProtocolError, match="answered with more than"):
            await fetch(transport, peer.url)


@pytest.mark.parametrize(
    ("encoding", "body"),
    [("gzip", b"hello"), ("gzip", gzip.compress(b"x" * 99, mtime=0)[:-4]), ("br", b"hello")],
    ids=["no gzip", "gzip cut off", "no br"],
)
async def test_what_cannot_be_decoded_is_a_protocol_error(encoding: str, body: bytes) -> None:
    async with raw_peer(answering(encoded(encoding, body))) as peer, pooled() as transport:
        with pytest.raises(UpstreamProtocolError, match="Provider 'p' answered with a"):
            await fetch(transport, peer.url)
