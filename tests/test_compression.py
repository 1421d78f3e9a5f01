"""Compression: other programs can read the output, and large data is compressed off the event loop."""

import gzip
import sys
import threading

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import assert_checkpoints, assert_no_checkpoints

from trio_batchmetrics._http import compression as _compression
from trio_batchmetrics._http.compression import compressed, compressor, gzipped


@given(data=st.binary(max_size=5_000))
def test_gzip_is_read_by_the_standard_library(data: bytes) -> None:
    """The output has one member, and nothing after it."""
    assert gzip.decompress(gzipped(data)) == data


@given(data=st.binary(max_size=5_000))
def test_zstd_is_read_by_its_library(data: bytes) -> None:
    """The library is the standard one from 3.14 on, else its back port."""
    zstd = pytest.importorskip("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
    assert zstd.decompress(compressor("zstd")(data)) == data


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
async def test_large_data_is_compressed_in_a_thread_and_small_data_at_once(
    codec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread is a worker thread; for small data it would cost more than the work."""
    threads = set[int]()
    honest = compressor

    def watched(codec: str) -> object:
        def compress(data: bytes) -> bytes:
            threads.add(threading.get_ident())
            return honest(codec)(data)

        return compress

    monkeypatch.setattr(_compression, "compressor", watched)
    limiter = trio.CapacityLimiter(1)
    with assert_no_checkpoints():
        small = await compressed(codec, b"a" * 10_000, limiter)
    assert threads == {threading.get_ident()}
    threads.clear()
    with assert_checkpoints():
        large = await compressed(codec, b"a" * 100_000, limiter)
    assert threads
    assert threading.get_ident() not in threads
    assert len(small) < 200
    assert len(large) < 1_000


def test_an_unknown_codec_is_named() -> None:
    """The error lists the known codecs, and for one whose library is missing it says how to get it."""
    with pytest.raises(ValueError, match=r"codec must be 'gzip' or 'zstd' \(got 'brotli'\)"):
        compressor("brotli")


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install."""
    monkeypatch.setitem(sys.modules, "compression.zstd", None)
    monkeypatch.setitem(sys.modules, "backports.zstd", None)
    with pytest.raises(ValueError, match=r"trio-batchmetrics\[zstd\]"):
        compressor("zstd")
