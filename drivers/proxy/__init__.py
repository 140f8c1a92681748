"""A TCP and HTTP fault proxy: a process between a client and a server that delays, throttles, resets or fails.

It needs no root and knows nothing of the site. Every fault has a time to live that this process keeps by its own
monotonic clock, so a fault ends when nobody is left to end it. `python -m drivers.proxy --help`.
"""
