"""A packed body is all that was sent, or refused; never a part of it."""

import gzip
import zlib

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import given
from hypothesis import strategies as st

from streams.worker.bodies import _UNPACK, Unreadable, unpacked

MOST = 1_000


def raw_deflate(body):
    packing = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packing.compress(body) + packing.flush()


PACKED = {"gzip": gzip.compress, "deflate": zlib.compress, "raw deflate": raw_deflate}


@pytest.mark.parametrize("name", PACKED)
@given(st.binary(max_size=300), st.data())
def test_a_part_of_a_packed_body_is_refused_wherever_it_is_cut(name, body, data):
    whole = PACKED[name](body)
    unpack = _UNPACK[name.removeprefix("raw ")]
    assert unpack(whole, MOST) == body
    part = whole[: data.draw(st.integers(1, len(whole) - 1))]
    with pytest.raises((EOFError, OSError, zlib.error)):
        unpack(part, MOST)


@pytest.mark.parametrize(
    ("encoding", "body", "said"),
    [
        ("gzip", gzip.compress(b"21.5", mtime=0), "21.5"),
        ("gzip", gzip.compress(b"2", mtime=0) + gzip.compress(b"1.5", mtime=0), "21.5"),
        ("deflate", zlib.compress(b"21.5"), "21.5"),
        ("Deflate ", raw_deflate(b"21.5"), "21.5"),
        ("identity", b"21.5", "21.5"),
        ("gzip", gzip.compress(b"21.5", mtime=0)[:13], "400 the body is not what its headers say: gzip cannot be unpacked"),
        ("gzip", gzip.compress(bytes(MOST + 1), mtime=0), "413 the body is more than 1000 bytes unpacked"),
        ("deflate", zlib.compress(bytes(1_000_000)), "413 the body is more than 1000 bytes unpacked"),
        ("br", b"21.5", "415 content encoding 'br' is not read"),
    ],
)
async def test_a_body_is_unpacked_whole_or_refused_in_words(encoding, body, said):
    async def answer(request):
        try:
            return web.Response(body=await unpacked(request))
        except Unreadable as error:
            return web.Response(text=f"{int(error.status)} {error}")

    pages = web.Application(client_max_size=MOST)
    pages.router.add_post("/", answer)
    server = TestServer(pages)
    await server.start_server(auto_decompress=False)
    async with TestClient(server) as client:
        headers = {"Content-Encoding": encoding}
        told = await client.post("/", data=body, headers=headers, skip_auto_headers=["Content-Encoding"])
        assert await told.text() == said
