"""Which provider gets a call: the model's own first, then its equals elsewhere, healthy ones only."""

import math
from collections.abc import Iterable, Mapping, Sequence

import attrs
import trio

TIERS: Mapping[str, Sequence[tuple[str, str]]] = {
    "fast": (
        ("mistral", "mistral-small"),
        ("openai", "gpt-4o-mini"),
        ("anthropic", "claude-haiku"),
    ),
    "smart": (
        ("openai", "gpt-4o"),
        ("anthropic", "claude-sonnet"),
        ("mistral", "mistral-large"),
    ),
}
"""Models that can stand in for each other, best first, as (provider, model)."""


class UnknownModelError(LookupError):
    """The gateway has no such model."""


@attrs.define(eq=False)
class Upstream:
    """A provider as the gateway sees it: where it is and whether it is worth asking."""

    name: str
    url: str
    healthy: bool = True
    """What the last health check said. (health.py)"""

    cooling_until: float = -math.inf
    """Trio's time until which the provider asked to be left alone: its Retry-After."""

    def is_available(self) -> bool:
        """Return whether a call may be sent there now."""
        return self.healthy and trio.current_time() >= self.cooling_until


@attrs.frozen
class Target:
    """One model of one provider."""

    upstream: Upstream
    model: str


class Router:
    """Turns the name of a model, or of a tier, into the targets to try."""

    def __init__(self, upstreams: Iterable[Upstream]) -> None:
        """Index the targets by every name that a client may use.

        Args:
            upstreams: The providers that `TIERS` names.
        """
        by_name = {upstream.name: upstream for upstream in upstreams}
        self._targets: dict[str, list[Target]] = {}
        for tier, members in TIERS.items():
            targets = [Target(by_name[provider], model) for provider, model in members]
            self._targets[tier] = targets
            for target in targets:
                others = [other for other in targets if other is not target]
                self._targets[target.model] = [target, *others]

    @property
    def models(self) -> list[str]:
        """Every name that `candidates` knows."""
        return list(self._targets)

    def candidates(self, model: str) -> list[Target]:
        """Return the targets for a model, best first, without those that are not available.

        Args:
            model: A model or a tier.

        Returns:
            Possibly nothing, when every provider is down or cooling.

        Raises:
            UnknownModelError: There is no such model.
        """
        if model not in self._targets:
            raise UnknownModelError(model)
        return [target for target in self._targets[model] if target.upstream.is_available()]
