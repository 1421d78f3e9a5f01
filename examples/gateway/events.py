"""The gateway's own event: one finished call of a language model.

The labels and instruments follow OpenTelemetry's conventions for generative AI
(https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/), with one difference: tokens in and
tokens out are two counters, where the conventions have one instrument with a label to tell them apart,
because an event's labels go for everything that it measures.
"""

from trio_batchmetrics import Counter, Histogram, label, measure, metric_event


@metric_event
class LLMCall:
    """A completion that a provider delivered: what it cost and how long it took."""

    provider: str = label("gen_ai.provider.name")
    """Who answered."""

    model: str = label("gen_ai.request.model")
    """Which of the provider's models answered."""

    tokens_in: int = measure(Counter, "gen_ai.client.tokens.input", unit="{token}")
    """Tokens of the prompt."""

    tokens_out: int = measure(Counter, "gen_ai.client.tokens.output", unit="{token}")
    """Tokens of the answer."""

    seconds: float = measure(Histogram, "gen_ai.client.operation.duration", unit="s")
    """Seconds from the first attempt, at whichever provider, to the answer."""
