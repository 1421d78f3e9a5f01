"""Real servers for the tests: how they are installed, started and queried, and what can fail between them and a sink.

    cache           where the servers are installed, and which ones are available
    recipes         how to get each one: unpack a system package, build a Go program, or fetch jars
    install         runs the recipes; `python -m tests.servers`
    client          a free port, and requests over HTTP
    base            what all servers share: start, stop, kill, restart
    guard           kills the servers of a test run that was killed
    prometheus      Prometheus 2.42 and 3.16, Pushgateway, promtool
    opentelemetry   the OpenTelemetry Collector; the folder `otelcol` has its program in Go
    influxdb        InfluxDB 1.6, 1.8, 1.13 and 2.7
    victoriametrics VictoriaMetrics
    search          OpenSearch, Elasticsearch
    proxy           the network between the library and a server, with faults that a test switches on and off
    wire            HTTP as the proxy speaks it
    traffic         100 000 events for three collectors at once, the same each time
    expected        the results of that traffic, calculated without the library
    player          plays the traffic into collectors
    trouble         the faults while it plays
    hostile         texts that break formats, and how each back-end must store them
    cases           each sink with its server, and how to read back what arrived
    plugin          the pytest plugin: fixtures, the mark `server`, and which tests are deselected

Installing imports only the standard library, because it runs before there is a virtual environment.
"""
