"""Real servers for the tests: how they are installed, started, asked, and what goes wrong on the way to them.

    cache           where the installed servers lie, and which of them are there
    recipes         how each is got: a package of the system unpacked, a Go program built, jars fetched
    install         runs the recipes; `python -m tests.servers`
    client          a free port, and questions over HTTP
    base            what all servers share: start, stop, kill, start again
    guard           ends the servers of a test run that was killed
    prometheus      Prometheus, Pushgateway, promtool
    influxdb        InfluxDB 1.6, 1.8, 1.13 and 2.7
    victoriametrics VictoriaMetrics
    search          OpenSearch, Elasticsearch
    proxy           the network between the library and a server, with faults that a test switches on and off
    wire            HTTP as the proxy speaks it
    traffic         100 000 events for three collectors at once, the same each time
    expected        what must come out of them, worked out by itself
    player          plays the traffic into collectors
    trouble         what goes wrong meanwhile
    hostile         texts that break formats, and how each back-end must have them
    cases           each sink with its server, and how to read back what arrived
    plugin          what pytest has of them: fixtures, the mark `server`, the tests that are left out

What installing imports is the standard library only: it runs before there is a virtual environment.
"""
