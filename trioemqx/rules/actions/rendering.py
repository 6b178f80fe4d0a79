"""What templates of actions give, as MQTT and HTTP need it."""

from __future__ import annotations

from trioemqx.rules.template import Template
from trioemqx.services.rulekit import ActionFailed, Output


def text_of(template: Template, output: Output) -> str:
    """The filled-in text. Raises ActionFailed when it is not UTF-8."""
    text = template.render(output)
    if isinstance(text, bytes):
        raise ActionFailed(f"not UTF-8: {template.text:.100}")
    return text
