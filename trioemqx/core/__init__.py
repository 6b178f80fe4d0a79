"""The broker's state and rules: synchronous, no sockets, no clock.

Read in this order: topics, router, session, channel, registry, broker.
"""
