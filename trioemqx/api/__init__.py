"""The HTTP API of EMQX 4, `/api/v4`, on Quart-Trio and hypercorn.

`server` listens, `app` answers: it reads a request (`requests`), asks who it is from (`auth`), finds the endpoint
(`v4`), and writes the answer. What endpoints do is done by the services behind them.
"""
