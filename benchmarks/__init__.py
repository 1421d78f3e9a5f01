"""Measures the cost of recording, side by side with a floor and with other metrics clients.

Run ``python -m benchmarks [--quick] [--only SUBSTRING] [--json FILE] [--write-docs]``, or ``make bench``, which also
installs the requirements. The page docs/explanation/performance.md explains the figures and shows the results.

Modules::

    __main__.py      the command line: the benchmarks and their order
    effort.py        how long the benchmarks take
    timing.py        times contenders in many short rounds, in turns
    figures.py       the results: a figure with its target, the cost of a call
    peers.py         other clients, set up according to their manuals
    loopback.py      local servers for the peers that send: sockets of this process
    recording.py     one call of a recorder
    clients.py       one call of each client
    instruments.py   one update of a bound instrument
    draining.py      recording, and the flush task's work after it
    series.py        the same, with events added to series
    scraping.py      a page of series
    blocking.py      how long a page or a push blocks the run loop
    line_protocol.py events as lines for InfluxDB
    bulk.py          events as documents for Elasticsearch
    encoding.py      events encoded by sinks that store them
    otlp.py          data points over OTLP, alongside OpenTelemetry's exporter
    influxdb.py      events into a real InfluxDB, by influxdb_writer.py
    pacing.py        recording at a given rate
    gateway.py       a process that records at a rate and reports its share of a core
    running.py       the share of a core, and the delay of a concurrent task
    fairness.py      events lost in a busy run loop
    memory.py        bytes, growth and pauses
    idling.py        wake-ups while nothing is recorded
    processes.py     runs programs of this folder in separate processes
    machine.py       describes the machine
    report.py        the table on the terminal, and JSON
    document.py      the table on the page
    chart.py         the chart on the page

Times are compared as ratios of two times, taken in turns within milliseconds of each other, because machines change
their speed. The garbage collector is on.
"""
