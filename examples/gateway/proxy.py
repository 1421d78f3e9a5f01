"""Asks the providers: one attempt after another until one answers. Every attempt is recorded."""

from collections.abc import Iterable

import attrs
import httpx2
import trio

from trio_batchmetrics import BatchMetricsCollector

from .events import LLMCall
from .routing import Router, Target, Upstream

UPSTREAM_TIMEOUT = 1.0
"""Seconds a provider has for an answer, then it is the next one's turn."""


@attrs.frozen
class Answer:
    """A completion and who it came from."""

    provider: str
    model: str
    text: str
    tokens_in: int
    tokens_out: int


class AttemptError(Exception):
    """One attempt at one provider came to nothing; the next provider may do better."""

    def __init__(self, error_type: str, retry_after: float = 0.0) -> None:
        """Say what happened.

        Args:
            error_type: OpenTelemetry's `error.type`: a status code, or a word.
            retry_after: Seconds for which the provider asked to be left alone.
        """
        super().__init__(error_type)
        self.error_type = error_type
        self.retry_after = retry_after


class NoProviderError(Exception):
    """No provider answered."""


class Proxy:
    """Completes prompts through whichever provider is up to it."""

    def __init__(
        self,
        client: httpx2.AsyncClient,
        metrics: BatchMetricsCollector,
        upstreams: Iterable[Upstream],
    ) -> None:
        """Resolve the metrics' labels once, before there is traffic.

        Args:
            client: The client to ask with.
            metrics: Where to record.
            upstreams: The providers.
        """
        upstreams = list(upstreams)
        self.router = Router(upstreams)
        self._client = client
        self._metrics = metrics
        self._active = {
            upstream.name: metrics.gauge(
                "backend.active_requests", labels={"provider": upstream.name}, unit="{request}"
            )
            for upstream in upstreams
        }

    async def complete(self, model: str, prompt: str) -> Answer:
        """Return the first answer that a provider gives.

        Args:
            model: A model or a tier.
            prompt: What to complete.

        Raises:
            UnknownModelError: There is no such model.
            NoProviderError: All of them failed, or none is available.
        """
        started = trio.current_time()
        for target in self.router.candidates(model):
            try:
                answer = await self._attempt(target, prompt)
            except AttemptError as error:
                target.upstream.cooling_until = trio.current_time() + error.retry_after
                self._metrics.record_counter(
                    "gateway.failovers",
                    {"provider": target.upstream.name, "error.type": error.error_type},
                    1,
                )
            else:
                self._metrics.record(
                    LLMCall(
                        answer.provider,
                        answer.model,
                        answer.tokens_in,
                        answer.tokens_out,
                        trio.current_time() - started,
                    )
                )
                return answer
        raise NoProviderError(model)

    async def _attempt(self, target: Target, prompt: str) -> Answer:
        """Ask one provider once, and record what came of it."""
        name, model = target.upstream.name, target.model
        started = trio.current_time()
        error_type: str | None = None
        try:
            with self._active[name].track():
                return await self._post(target, prompt)
        except AttemptError as error:
            error_type = error.error_type
            raise
        except trio.Cancelled:
            error_type = "cancelled"
            raise
        finally:
            latency = trio.current_time() - started
            self._metrics.record_backend_request(name, model, error_type is None, latency, error_type)

    async def _post(self, target: Target, prompt: str) -> Answer:
        url = f"{target.upstream.url}/v1/chat/completions"
        try:
            with trio.fail_after(UPSTREAM_TIMEOUT):
                response = await self._client.post(url, json={"model": target.model, "prompt": prompt})
        except trio.TooSlowError as exc:
            raise AttemptError("timeout") from exc
        except httpx2.TransportError as exc:
            raise AttemptError("connection") from exc
        if response.status_code != 200:
            retry_after = float(response.headers.get("retry-after", 0))
            raise AttemptError(str(response.status_code), retry_after)
        return Answer(target.upstream.name, target.model, **response.json())
