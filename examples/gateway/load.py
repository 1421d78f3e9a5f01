"""The clients: a few workers that ask, wait a moment and ask again, not always politely."""

from random import Random

import httpx2
import trio

from trio_batchmetrics import BatchMetricsCollector

from .app import CHAT, HEALTH, MODELS

_MODELS = ("fast", "smart", "gpt-4o", "gpt-4o-mini", "claude-sonnet", "mistral-small")
_WEIGHTS = (8, 5, 3, 2, 2, 2)
_PROMPTS = tuple(f"Question {n}: {'why is that so, ' * (1 + n % 9)}then?" for n in range(400))


async def generate_load(url: str, metrics: BatchMetricsCollector, *, workers: int, pause: float, seed: int) -> None:
    """Send requests to the gateway until cancelled.

    Args:
        url: The gateway's base URL.
        metrics: Where the clients' side of the story is recorded.
        workers: How many clients ask at the same time.
        pause: Seconds between a client's requests, on average.
        seed: Makes the choice of requests repeatable, if not their timing.
    """
    async with httpx2.AsyncClient(base_url=url) as client, trio.open_nursery() as nursery:
        for number in range(workers):
            nursery.start_soon(_work, client, metrics, pause, Random(f"{seed}-{number}"))


async def _work(client: httpx2.AsyncClient, metrics: BatchMetricsCollector, pause: float, rng: Random) -> None:
    """Be one client. All of them get the same two instruments: they go by name and labels."""
    duration = metrics.histogram("http.client.request.duration", unit="s")
    refused = metrics.counter("client.refused", description="answers of 400 and above")
    while True:
        await trio.sleep(rng.expovariate(1 / pause))
        request = _next_request(client, rng)
        try:
            with duration.time():
                response = await client.send(request)
        except httpx2.TransportError:
            metrics.record_counter("client.errors", {"error.type": "connection"}, 1)
            continue
        if response.is_error:
            refused.add()


def _next_request(client: httpx2.AsyncClient, rng: Random) -> httpx2.Request:
    """Choose a request: mostly a prompt that others like too, now and then nonsense."""
    dice = rng.random()
    if dice < 0.03:
        return client.build_request("GET", MODELS)
    if dice < 0.06:
        return client.build_request("GET", f"{MODELS}/{rng.choice((*_MODELS, 'gpt-1'))}")
    if dice < 0.07:
        return client.build_request("GET", HEALTH)
    if dice < 0.08:
        return client.build_request("GET", f"/wp-admin/{rng.randrange(1000)}.php")
    if dice < 0.09:
        return client.build_request("POST", CHAT, content=b'{"model": "fast", "prompt')
    if dice < 0.10:
        return client.build_request("POST", CHAT, json={"model": "gpt-1", "prompt": "Anyone?"})
    [model] = rng.choices(_MODELS, _WEIGHTS)
    # Few prompts are popular and many are rare (Zipf), as real ones are: that is what a cache is for.
    prompt = _PROMPTS[int(rng.paretovariate(0.7)) % len(_PROMPTS)]
    return client.build_request("POST", CHAT, json={"model": model, "prompt": prompt})
