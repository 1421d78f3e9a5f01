"""What recording costs, measured side by side with a floor and with other metrics clients.

``python -m benchmarks [--quick] [--only SUBSTRING] [--json FILE] [--write-docs]``, or ``make bench``, which sets up
what it needs. The page docs/explanation/performance.md says what the lines mean, and shows what came out.

Where things live::

    __main__.py      the command line: which benchmarks there are, in which order
    effort.py        how long they take
    timing.py        contenders in short rounds, one after the other, many times
    figures.py       what comes out of it: a figure with its target, the cost of a call
    peers.py         other clients, set up as their manuals say
    loopback.py      what the peers that send are connected to: sockets of this process
    recording.py     one call of a recorder
    clients.py       one call of each client
    instruments.py   one update of a bound instrument
    draining.py      recording, and what the flush task does then
    series.py        the same, added to series
    scraping.py      a page of series
    line_protocol.py events as lines for InfluxDB
    bulk.py          events as documents for Elasticsearch
    influxdb.py      events into a real InfluxDB, by influxdb_writer.py
    pacing.py        recording at a given rate
    gateway.py       a process that does so and says how much of a core it took
    running.py       a share of a core, and what a task alongside it feels
    fairness.py      what a busy run loop loses
    memory.py        bytes, growth and pauses
    idling.py        wake-ups while nothing is recorded
    processes.py     programs of this folder in processes of their own
    machine.py       what it was measured on
    report.py        the table on the terminal, and JSON
    document.py      the table on the page
    chart.py         the chart on the page

Every time is a ratio of two that were taken in turns within milliseconds of each other, since machines change their
speed. The garbage collector is on.
"""
