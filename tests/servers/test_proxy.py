"""Each of the proxy's faults works as documented, and the proxy knows exactly what reached the server."""

import socket
from collections.abc import AsyncGenerator
from functools import partial

import h11
import httpx2
import pytest
import trio

from tests.servers.base import eventually
from tests.servers.client import HOST, free_port
from tests.servers.proxy import Proxy


class Echo:
    """A server that answers 201 and repeats the body; it counts requests independently of the proxy."""

    def __init__(self) -> None:
        self.host = HOST
        self.port = free_port()
        self.got: list[tuple[bytes, bytes, bytes]] = []

    async def serve(self, stream: trio.SocketStream) -> None:
        """Respond to one request and close."""
        http = h11.Connection(h11.SERVER)
        request: h11.Request | None = None
        body = b""
        async with stream:
            while not isinstance(event := http.next_event(), h11.EndOfMessage):
                if isinstance(event, h11.Request):
                    request = event
                elif isinstance(event, h11.Data):
                    body += event.data
                else:
                    http.receive_data(await stream.receive_some())
            assert request is not None
            self.got.append((request.method, request.target, body))
            answer = h11.Response(status_code=201, headers=[("X-Echo", "yes"), ("Connection", "close")])
            for out in (answer, h11.Data(data=body), h11.EndOfMessage()):  # chunked
                await stream.send_all(http.send(out) or b"")


@pytest.fixture
async def echo(nursery: trio.Nursery) -> Echo:
    """A running echo server."""
    server = Echo()
    await nursery.start(partial(trio.serve_tcp, server.serve, server.port, host=HOST))
    return server


@pytest.fixture
async def proxy(echo: Echo) -> AsyncGenerator[Proxy, None]:
    """A proxy in front of the echo server."""
    async with Proxy(echo.host, echo.port) as proxy:
        yield proxy


@pytest.fixture
async def client(proxy: Proxy) -> AsyncGenerator[httpx2.AsyncClient, None]:
    """A client of the proxy, which keeps its connections."""
    async with httpx2.AsyncClient(base_url=proxy.url, trust_env=False, timeout=5) as client:
        yield client


async def _chunks() -> AsyncGenerator[bytes, None]:
    for piece in (b"one", b"two"):
        yield piece


# ------------------------------------------------------------------------------------------------ without faults


async def test_requests_and_responses_pass_unchanged(echo: Echo, proxy: Proxy, client: httpx2.AsyncClient) -> None:
    """Both ways of framing a body work over one client connection, and the proxy remembers everything."""
    plain = await client.post("/a?b=c", content=b"x" * 300_000, headers={b"X-Own": "ü".encode("latin-1")})
    chunked = await client.put("/d", content=_chunks())
    empty = await client.get("/e")
    assert [(answer.status_code, answer.headers["x-echo"]) for answer in (plain, chunked, empty)] == [(201, "yes")] * 3
    assert [plain.content, chunked.content, empty.content] == [b"x" * 300_000, b"onetwo", b""]
    assert echo.got == [(b"POST", b"/a?b=c", b"x" * 300_000), (b"PUT", b"/d", b"onetwo"), (b"GET", b"/e", b"")]
    assert [(seen.method.encode(), seen.target.encode(), seen.body) for seen in proxy.requests] == echo.got
    assert proxy.requests[0].headers["x-own"] == "ü"
    assert [(seen.complete, seen.forwarded, seen.status) for seen in proxy.requests] == [(True, True, 201)] * 3
    assert proxy.forwarded == 3
    assert proxy.connections == 3  # the server closes each connection


async def test_a_connection_is_kept(proxy: Proxy, client: httpx2.AsyncClient) -> None:
    """A connection stays open until the responding side closes it or the test drops it."""
    proxy.answer(204)
    for _ in range(3):
        assert (await client.get("/")).status_code == 204
    assert proxy.connections == 1
    proxy.drop_connections()
    assert (await client.get("/")).status_code == 204
    assert proxy.connections == 2


async def test_a_missing_server_resets_the_connection(proxy: Proxy, client: httpx2.AsyncClient) -> None:
    """The proxy has already accepted the connection and can't refuse any more, but nothing was delivered."""
    async with Proxy(HOST, free_port()) as other:
        with pytest.raises(httpx2.ReadError):
            await client.get(other.url)
        assert (other.forwarded, other.requests[0].complete, other.requests[0].status) == (0, True, None)


async def test_a_client_that_goes_away_is_not_an_error(echo: Echo, proxy: Proxy) -> None:
    """The client may go away before a request, in the middle of one, or before the response."""
    proxy.slow(0.05)
    half = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nhalf"
    for sent in (b"", b"POST / HT", half, b"GET / HTTP/1.0\r\n\r\n"):
        async with await trio.open_tcp_stream(proxy.host, proxy.port) as stream:
            await stream.send_all(sent)
        await trio.sleep(0.1)
    assert [(seen.method, seen.body, seen.complete) for seen in proxy.requests] == [
        ("POST", b"half", False),
        ("GET", b"", True),
    ]
    assert len(echo.got) == 1


async def test_a_client_that_does_not_speak_http_fails_the_test(echo: Echo) -> None:
    """The error leaves the block."""
    with pytest.RaisesGroup(h11.RemoteProtocolError):
        async with Proxy(echo.host, echo.port) as proxy:
            async with await trio.open_tcp_stream(proxy.host, proxy.port) as stream:
                await stream.send_all(b"nonsense\r\n\r\n")
                await trio.sleep(5)


async def test_an_error_of_the_block_propagates_unwrapped(echo: Echo) -> None:
    """The exception is not wrapped in a group."""
    with pytest.raises(KeyError, match="own"):
        async with Proxy(echo.host, echo.port):
            raise KeyError("own")


# ----------------------------------------------------------------------------------------------------- the faults


async def test_refuse_behaves_like_a_server_that_is_not_running(
    echo: Echo, proxy: Proxy, client: httpx2.AsyncClient
) -> None:
    """New connections are refused and old ones closed; the port stays the same."""
    proxy.answer(200)
    await client.get("/")
    proxy.refuse()
    proxy.refuse()
    for _ in range(2):
        with pytest.raises(httpx2.ConnectError):
            await client.get("/")
    proxy.forward()
    assert (await client.get("/")).status_code == 201
    assert len(echo.got) == 1
    assert len(proxy.requests) == 2


@pytest.mark.parametrize("size", [0, 5_000_000])
async def test_reset_keeps_a_request_from_the_server(
    echo: Echo, proxy: Proxy, client: httpx2.AsyncClient, size: int
) -> None:
    """The fault applies to the given number of requests, and then everything is forwarded."""
    proxy.reset(times=2)
    for _ in range(2):
        # A client that is still sending when it is reset looks for a response, and finds none.
        with pytest.raises((httpx2.ReadError, httpx2.WriteError, httpx2.RemoteProtocolError)):
            await client.post("/", content=b"x" * size)
    assert echo.got == []
    assert (await client.post("/", content=b"x" * size)).status_code == 201
    assert [(seen.forwarded, seen.status) for seen in proxy.requests] == [(False, None)] * 2 + [(True, 201)]


async def test_reset_sends_a_rst(proxy: Proxy) -> None:
    """The client sees the system's ECONNRESET, not an orderly end."""
    proxy.reset()
    async with await trio.open_tcp_stream(proxy.host, proxy.port) as stream:
        await stream.send_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        with pytest.raises(trio.BrokenResourceError) as caught:
            await stream.receive_some()
    assert isinstance(caught.value.__cause__, ConnectionResetError)


async def test_reset_after_delivers_without_a_response(echo: Echo, proxy: Proxy, client: httpx2.AsyncClient) -> None:
    """The server has the request, but the client cannot know."""
    proxy.reset_after(times=1)
    with pytest.raises(httpx2.ReadError):
        await client.post("/", content=b"once")
    assert echo.got == [(b"POST", b"/", b"once")]
    assert (proxy.requests[0].forwarded, proxy.requests[0].status) == (True, 201)
    assert (await client.post("/", content=b"twice")).content == b"twice"


async def test_a_black_hole_never_responds(echo: Echo, proxy: Proxy, client: httpx2.AsyncClient) -> None:
    """The proxy reads the request and does nothing else."""
    proxy.black_hole(times=1)
    with pytest.raises(httpx2.ReadTimeout):
        await client.post("/", content=b"x" * 100_000, timeout=0.2)
    assert (proxy.requests[0].complete, proxy.requests[0].forwarded, echo.got) == (True, False, [])
    assert (await client.get("/")).status_code == 201


async def test_slow_delays_only_the_response(echo: Echo, proxy: Proxy, client: httpx2.AsyncClient) -> None:
    """The server gets the request at once."""
    proxy.slow(0.4)
    with pytest.raises(httpx2.ReadTimeout):
        await client.get("/", timeout=0.2)
    assert len(echo.got) == 1
    begin = trio.current_time()
    assert (await client.get("/")).status_code == 201
    assert trio.current_time() - begin >= 0.4


async def test_answer_does_not_contact_the_server(echo: Echo, proxy: Proxy, client: httpx2.AsyncClient) -> None:
    """The test determines status, headers and body."""
    proxy.answer(503, {"Retry-After": "7"}, b"busy", times=2)
    for _ in range(2):
        answer = await client.post("/", content=b"x")
        assert (answer.status_code, answer.headers["retry-after"], answer.content) == (503, "7", b"busy")
    assert echo.got == []
    assert (await client.get("/")).status_code == 201
    assert [seen.body for seen in proxy.requests] == [b"x", b"x", b""]


async def test_garbage_is_not_http(echo: Echo, proxy: Proxy, client: httpx2.AsyncClient) -> None:
    """The client must notice the invalid response."""
    proxy.garbage()
    with pytest.raises(httpx2.RemoteProtocolError, match="illegal status line"):
        await client.get("/")
    assert echo.got == []


async def test_truncate_sends_half_a_body(echo: Echo, proxy: Proxy, client: httpx2.AsyncClient) -> None:
    """The status arrives, the rest of the body does not."""
    proxy.truncate(200, b"0123456789")
    with pytest.raises(httpx2.RemoteProtocolError, match="received 5 bytes, expected 10"):
        await client.get("/")
    assert echo.got == []


async def test_a_fault_applies_to_requests_that_begin_after_it(proxy: Proxy, client: httpx2.AsyncClient) -> None:
    """A request in progress keeps its own fault, and only the last switch counts for the next one."""
    async with trio.open_nursery() as nursery:
        proxy.slow(0.2, times=1)
        statuses: list[int] = []

        async def get() -> None:
            statuses.append((await client.get("/")).status_code)

        nursery.start_soon(get)
        await eventually(lambda: proxy.requests, every=0.01)
        proxy.answer(429, times=5)
        proxy.answer(500, times=1)
        await get()
        await get()
    assert statuses == [500, 201, 201]


async def test_nothing_listens_after_the_block(echo: Echo) -> None:
    """The port is closed whether the proxy was listening or refusing."""
    for refusing in (False, True):
        async with Proxy(echo.host, echo.port) as proxy:
            if refusing:
                proxy.refuse()
        with pytest.raises(ConnectionRefusedError), socket.socket() as trial:
            trial.connect((proxy.host, proxy.port))
