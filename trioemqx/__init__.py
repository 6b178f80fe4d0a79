"""trioemqx: an MQTT broker on Trio for people who know EMQX 4 and for people who write Python."""

from __future__ import annotations

__version__ = "0.1.0"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from trioemqx.node import Node, open_broker

__all__ = ["Node", "__version__", "open_broker"]


def __getattr__(name: str) -> object:
    """`open_broker` and `Node` are imported on first use: importing one module must not load the whole broker."""
    if name in ("Node", "open_broker"):
        from trioemqx import node

        return getattr(node, name)
    raise AttributeError(f"module 'trioemqx' has no attribute {name!r}")
