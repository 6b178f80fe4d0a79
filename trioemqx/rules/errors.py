"""What goes wrong when somebody changes rules and resources, in EMQX's words."""

from __future__ import annotations

from typing import Final

from trioemqx.errors import TrioemqxError
from trioemqx.rules.terms import term

BAD: Final = 400
NOT_FOUND: Final = 404
FAILED: Final = 500


class RuleError(TrioemqxError):
    """A change that cannot be made. `code` is that of the API's answer, `reason` what there is to say to somebody who
    uses the command line."""

    def __init__(self, code: int, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.reason = reason or message


def bad_arguments(reason: str) -> RuleError:
    """400: something of the request cannot be. `reason` is a term."""
    return RuleError(BAD, f"Bad Arguments: {reason}", reason)


def required(name: str) -> RuleError:
    """400: a parameter that has to be there is not."""
    return bad_arguments(f"{{required_field_missing,{term(name)}}}")


def already_exists() -> RuleError:
    """400: the identifier is in use."""
    return RuleError(BAD, "Already Exists")


def no_rule(rule_id: str) -> RuleError:
    """400: there is no such rule to change."""
    return RuleError(BAD, f"Rule {rule_id} Not Found")


def no_action(name: str) -> RuleError:
    """400: there is no action of that name."""
    return RuleError(BAD, f"Action {name} Not Found")


def no_resource(resource_id: str) -> RuleError:
    """400: there is no such resource, or it has never had a connection."""
    return RuleError(BAD, f"Resource {resource_id} Not Found")
