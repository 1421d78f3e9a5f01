"""Elasticsearch's and OpenSearch's ``_bulk`` API, and the sink that uses it.

::

    sink       ElasticsearchSink
    index      index names, and the index template
    bulk       events to the body of a request
    response   the outcome of each event in a response
"""

from __future__ import annotations

from .sink import ElasticsearchSink

__all__ = ["ElasticsearchSink"]
