"""The faults while three collectors record: a refusal, a lost response, and the end of the server."""

from collections.abc import Awaitable, Callable, Sequence

import trio

from tests.servers.base import Server
from tests.servers.player import Player
from tests.servers.proxy import Proxy

__all__ = ["next_request", "trouble"]


async def next_request(proxy: Proxy, number: int = 1) -> None:
    """Wait for this many more requests to a proxy, so that a fault for that many is used up."""
    goal = len(proxy.requests) + number
    while len(proxy.requests) < goal:  # noqa: ASYNC110 - the proxy has no event for that
        await trio.sleep(0.005)


def trouble(
    server: Server, proxy: Proxy, *, lost_answer: bool = True, crash: bool = True
) -> Callable[[Sequence[Player]], Awaitable[None]]:
    """Return a function that causes trouble while the players are recording.

    First a request is refused with a 503. Then, if `lost_answer`, the server gets a request and its response is lost.
    Then the server ends, gracefully or by a crash, and is restarted once a request has failed because of that. The
    players keep recording meanwhile.

    Args:
        server: the server to stop or kill.
        proxy: the proxy between the sinks and the server.
        lost_answer: whether a response is lost, so that the sink must send the same payload again.
        crash: whether the server is killed.
    """

    async def make(players: Sequence[Player]) -> None:
        gates = [player.hold(15) for player in players]
        await players[0].reached(5)
        proxy.answer(503, times=1)
        await next_request(proxy)
        if lost_answer:
            await players[0].reached(10)
            proxy.reset_after(times=1)
            await next_request(proxy)
        for player in players:
            await player.reached(15)
        await (server.akill() if crash else server.astop())
        for gate in gates:
            gate.set()
        # One more than there are sinks, and no sink makes two attempts at once: so at least one attempt has failed.
        await next_request(proxy, len(players) + 1)
        await server.astart()

    return make
