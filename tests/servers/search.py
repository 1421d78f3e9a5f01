"""OpenSearch and Elasticsearch: one node each, made of jars, without any limits by default."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from tests.servers.base import Server
from tests.servers.cache import server_folder
from tests.servers.client import free_port

__all__ = ["SEARCH_SERVERS", "Elasticsearch", "OpenSearch", "SearchServer"]

LOGGING = """\
status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = [%d{ISO8601}][%-5p][%c{1.}] %m%n
rootLogger.level = info
rootLogger.appenderRef.console.ref = console
"""


class SearchServer(Server):
    """What the two servers have in common.

    Args:
        folder: the folder for its files.
        settings: the node's settings by their dotted names, such as `{"thread_pool.write.queue_size": 1}`.
        java_options: options for the JVM, after those that make it start quickly.
    """

    ready_path: ClassVar[str] = "/_cluster/health?wait_for_status=yellow&timeout=1s"
    start_timeout: ClassVar[float] = 90.0  # 2 to 4 s on an idle machine

    plugins: ClassVar[Sequence[str]]
    """The classes of the plugins that complete it: HTTP, delete by query, more field types."""

    def __init__(
        self, folder: Path, *, settings: Mapping[str, object] | None = None, java_options: Sequence[str] = ()
    ) -> None:
        super().__init__(folder)
        self._settings = settings or {}
        self._java_options = java_options
        self._transport_port = free_port()

    @classmethod
    def archive(cls) -> Path:
        """Return where its loaded classes are saved; it also starts without them."""
        return server_folder(cls.kind) / "classes.jsa"

    def command(self, program: Path) -> Sequence[str | Path]:
        """Write the configuration and return the command."""
        configuration = self.folder / "config"
        temporary = self.folder / "tmp"
        for folder in (configuration, temporary):
            folder.mkdir(exist_ok=True)
        settings = {
            "cluster.name": "tests",
            "node.name": "node",
            "path.data": str(self.folder / "data"),
            "path.logs": str(self.folder / "logs"),
            "network.host": self.host,
            "http.port": self.port,
            "transport.port": self._transport_port,
            "discovery.type": "single-node",
            "cluster.routing.allocation.disk.threshold_enabled": False,  # a full disk doesn't matter to these tests
            "action.destructive_requires_name": False,
            **self._settings,
        }
        # JSON is YAML too.
        (configuration / f"{self.kind}.yml").write_text(json.dumps(settings, indent=1))
        (configuration / "log4j2.properties").write_text(LOGGING)
        return [
            "java",
            "-Xms256m",
            "-Xmx512m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            *([f"-XX:SharedArchiveFile={self.archive()}"] if self.archive().exists() else []),
            "-Djava.net.preferIPv4Stack=true",
            f"-Djava.io.tmpdir={temporary}",
            "-Dlog4j2.disable.jmx=true",
            f"-Dlog4j2.configurationFile={configuration / 'log4j2.properties'}",
            *self._java_options,
            "-cp",
            ":".join(str(jar) for jar in sorted((program / "libs").glob("*.jar"))),
            "Launcher",
            self.folder,
            *self.plugins,
        ]

    def refresh(self, index: str = "_all") -> None:
        """Make everything written to an index (or a pattern) visible."""
        self.ask("POST", f"/{index}/_refresh")

    def count(self, index: str, query: object = None) -> int:
        """Return the number of documents in an index (or a pattern), or of those that match; 0 without an index."""
        self.refresh(index + "*")
        everything: object = {"match_all": {}}
        body = {"query": query or everything}
        found: int = self.ask("GET", f"/{index}/_count?ignore_unavailable=true", json=body).json()["count"]
        return found

    def search(self, index: str, body: object) -> dict[str, Any]:
        """Return the whole response to a search: `hits.hits`, `aggregations`."""
        self.refresh(index)
        found: dict[str, Any] = self.ask("POST", f"/{index}/_search", json=body).json()
        return found

    def documents(self, index: str) -> list[dict[str, Any]]:
        """Return up to 10,000 documents of an index or a pattern, each with its `_id` and `_index`."""
        hits = self.search(index, {"query": {"match_all": {}}, "size": 10_000})["hits"]["hits"]
        return [{"_id": hit["_id"], "_index": hit["_index"], **hit["_source"]} for hit in hits]


class OpenSearch(SearchServer):
    """OpenSearch 2.19."""

    kind: ClassVar[str] = "opensearch"
    plugins: ClassVar[Sequence[str]] = (
        "org.opensearch.transport.Netty4Plugin",
        "org.opensearch.index.reindex.ReindexPlugin",
        "org.opensearch.index.mapper.MapperExtrasPlugin",
    )


class Elasticsearch(SearchServer):
    """Elasticsearch 7.17."""

    kind: ClassVar[str] = "elasticsearch"
    plugins: ClassVar[Sequence[str]] = (
        "org.elasticsearch.transport.Netty4Plugin",
        "org.elasticsearch.reindex.ReindexPlugin",
        "org.elasticsearch.index.mapper.MapperExtrasPlugin",
    )


SEARCH_SERVERS: dict[str, type[SearchServer]] = {"opensearch": OpenSearch, "elasticsearch": Elasticsearch}
"""Both servers, by name."""
