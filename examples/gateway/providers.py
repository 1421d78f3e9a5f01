"""Three simulated LLM providers: real HTTP servers that are slow, fail, limit and go down.

All speak one small dialect, so that the gateway stays small: `POST /v1/chat/completions` with
`{"model": ..., "prompt": ...}`, answered by `{"text": ..., "tokens_in": ..., "tokens_out": ...}`,
and `GET /health`. The names are those of real providers, the figures are made up.
"""

import json
import math
from collections.abc import Mapping
from contextlib import nullcontext
from random import Random

import attrs
import trio
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope

from .asgi import Response, read_body, run_lifespan, send_json

_WORDS = "a gateway counts what it sends and what it lost so nobody has to guess".split()


@attrs.frozen
class Provider:
    """How one simulated provider behaves."""

    name: str
    median_seconds: Mapping[str, float]
    """By model: the median of the answer's latency."""

    failure_rate: float = 0.0
    """Share of the calls that end in a 500, from 0 to 1."""

    stall_rate: float = 0.0
    """Share of the calls that take `stall_seconds` longer, from 0 to 1."""

    stall_seconds: float = 2.0
    max_calls_per_second: float = math.inf
    """More than this, once a second's worth is used up, and the answer is 429 with a Retry-After."""

    outage: tuple[float, float] = (math.inf, math.inf)
    """From when to when, in seconds from the provider's start, everything is answered by 503."""


def simulated_providers(seconds: float) -> list[Provider]:
    """Return the demo's providers.

    Args:
        seconds: How long the demo runs: one provider is down from 40 % to 65 % of it.

    Returns:
        Three providers, each with a model of either tier.
    """
    return [
        Provider(
            "openai",
            {"gpt-4o": 0.110, "gpt-4o-mini": 0.050},
            failure_rate=0.01,
            max_calls_per_second=16,
        ),
        Provider(
            "anthropic",
            {"claude-sonnet": 0.140, "claude-haiku": 0.060},
            failure_rate=0.02,
            stall_rate=0.02,
        ),
        Provider(
            "mistral",
            {"mistral-large": 0.085, "mistral-small": 0.030},
            failure_rate=0.04,
            outage=(0.40 * seconds, 0.65 * seconds),
        ),
    ]


class ProviderApp:
    """The ASGI application of one provider."""

    def __init__(self, provider: Provider, rng: Random) -> None:
        """Start the provider's clock.

        Args:
            provider: How to behave.
            rng: Where latencies and failures come from.
        """
        self._provider = provider
        self._rng = rng
        self._started = self._refilled = trio.current_time()
        self._allowance = provider.max_calls_per_second

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Answer one request, or run the (empty) lifespan.

        Args:
            scope: The ASGI scope.
            receive: The ASGI receive callable.
            send: The ASGI send callable.
        """
        if scope["type"] == "lifespan":
            await run_lifespan(receive, send, nullcontext())
        elif scope["type"] == "http":
            body = await read_body(receive)
            if body is None:
                return
            if self._is_down():
                response = Response(503, {"error": "down for maintenance"})
            elif scope["path"] == "/health":
                response = Response(200, {"status": "ok"})
            elif self._is_over_limit():
                response = Response(429, {"error": "slow down"}, {"retry-after": "1"})
            else:
                response = await self._complete(json.loads(body))
            await send_json(send, response)

    async def _complete(self, call: dict[str, str]) -> Response:
        model, prompt = call["model"], call["prompt"]
        median = self._provider.median_seconds[model]
        await trio.sleep(self._rng.lognormvariate(math.log(median), 0.35))
        if self._rng.random() < self._provider.stall_rate:
            await trio.sleep(self._provider.stall_seconds)
        if self._rng.random() < self._provider.failure_rate:
            return Response(500, {"error": "internal error"})
        words = self._rng.choices(_WORDS, k=self._rng.randint(8, 40))
        answer = {"text": " ".join(words), "tokens_in": len(prompt) // 4, "tokens_out": len(words)}
        return Response(200, answer)

    def _is_down(self) -> bool:
        start, end = self._provider.outage
        return start <= trio.current_time() - self._started < end

    def _is_over_limit(self) -> bool:
        """Take one call out of a token bucket that holds a second's worth of calls."""
        now, rate = trio.current_time(), self._provider.max_calls_per_second
        if math.isinf(rate):
            return False
        self._allowance = min(rate, self._allowance + (now - self._refilled) * rate)
        self._refilled = now
        if self._allowance < 1:
            return True
        self._allowance -= 1
        return False
