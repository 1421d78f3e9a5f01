"""Elasticsearch's and OpenSearch's ``_bulk``, and the sink that speaks it.

::

    sink       ElasticsearchSink
    index      names of indices, and the template
    bulk       events to the body of a request
    documents  how the rows of each event class become documents
    answer     what an answer says of each event
"""

from __future__ import annotations

from .sink import ElasticsearchSink

__all__ = ["ElasticsearchSink"]
