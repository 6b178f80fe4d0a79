"""An HTTP/1.1 client for plugins that ask or tell a web server: kept-alive connections, and everything bounded.

h11 does the protocol, Trio the rest. A request over this costs a third of one over a general client, and nothing is
hidden: no redirect is followed, no cookie kept, no proxy of the environment used, no answer larger than asked for. Each
address a name resolves to is checked before a connection is made to that very address.
"""

from __future__ import annotations

from trioemqx.services.http.client import HttpAnswer, HttpClient, HttpError
from trioemqx.services.http.target import HttpTls, HttpUrl

__all__ = ["HttpAnswer", "HttpClient", "HttpError", "HttpTls", "HttpUrl"]
