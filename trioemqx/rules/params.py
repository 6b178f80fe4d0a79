"""Checks the parameters of actions and resources, and shows what they can be. Errors are EMQX's, word by word."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from trioemqx.rules.errors import RuleError, bad_arguments, required
from trioemqx.rules.terms import term
from trioemqx.services.http import HttpUrl
from trioemqx.services.rulekit import NOTHING, RESOURCE, RuleParam

_BOOLEANS: Final = {"true": True, "false": False}
_MISSING: Final = object()


def validated(params: object, specs: Iterable[RuleParam]) -> dict[str, Any]:
    """The parameters with all defaults; those that nobody knows are kept. Raises RuleError with the first that is
    wrong, by name."""
    if not isinstance(params, Mapping):
        raise bad_arguments(f"{{invalid_data_type,{{object,{term(params)}}}}}")
    found: dict[str, Any] = {str(name): value for name, value in params.items()}
    for spec in sorted(specs, key=lambda spec: spec.name):
        value = found.get(spec.name, _MISSING)
        if value is not _MISSING:
            found[spec.name] = _checked(value, spec)
        elif spec.required:
            raise required(spec.name)
        elif spec.default is not NOTHING:
            found[spec.name] = _own(spec.default)
    return found


def _checked(value: object, spec: RuleParam) -> object:
    """A value as it is kept. Several types: the first that takes it, whatever `enum` says."""
    if isinstance(spec.type, tuple):
        for kind in spec.type:
            try:
                return _of_type(value, kind, spec)
            except RuleError:
                continue
        raise _invalid(term(value))
    if spec.enum:
        return _of_enum(value, spec.enum)
    return _of_type(value, spec.type, spec)


def _of_enum(value: object, enum: tuple[object, ...]) -> object:
    if len(enum) == 2 and all(isinstance(member, bool) for member in enum):
        return _boolean(value)
    if not any(value == member and type(value) is type(member) for member in enum):
        raise _invalid(f"{{enum,{{{term(value)},{term(enum)}}}}}")
    return value


def _of_type(value: object, kind: str, spec: RuleParam) -> object:
    if kind == "boolean":
        return _boolean(value)
    if kind == "number":
        fits = isinstance(value, int | float) and not isinstance(value, bool)
        shown = f"{{number,{{{term(value)},any}}}}"
    elif kind in ("string", "password"):
        fits = isinstance(value, str) and (spec.format != "url" or _is_url(value))
        shown = f"{{string,{term('******' if kind == 'password' else value)}}}"
    else:
        fits = isinstance(value, _JSON[kind])
        shown = f"{{{kind},{term(value)}}}"
    if not fits:
        raise _invalid(shown)
    return value


_JSON: Final[Mapping[str, tuple[type, ...]]] = {
    "object": (dict,),
    "array": (list,),
    "file": (str, dict, list),
}


def _boolean(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value in _BOOLEANS:
        return _BOOLEANS[value]
    raise _invalid(f"{{boolean,{term(value)}}}")


def _is_url(text: str) -> bool:
    try:
        HttpUrl.parse(text)
    except ValueError:
        return False
    return True


def _invalid(what: str) -> RuleError:
    return bad_arguments(f"{{invalid_data_type,{what}}}")


def _own(default: object) -> object:
    """A default, not shared with anybody who might change it."""
    return dict(default) if isinstance(default, dict) else default


def described(specs: Iterable[RuleParam]) -> dict[str, dict[str, Any]]:
    """What parameters can be, by name, as `GET /actions` has it. The form begins at 1, `$resource` is 0."""
    ordered = list(specs)
    first = 0 if ordered and ordered[0].name == RESOURCE else 1
    return {spec.name: _described(spec, order) for order, spec in enumerate(ordered, first)}


def _described(spec: RuleParam, order: int) -> dict[str, Any]:
    """Only what applies."""
    shown: dict[str, Any] = {
        "order": order,
        "type": list(spec.type) if isinstance(spec.type, tuple) else spec.type,
        "required": spec.required,
    }
    if spec.default is not NOTHING:
        shown["default"] = spec.default
    if spec.enum:
        shown["enum"] = list(spec.enum)
    if spec.format:
        shown["format"] = spec.format
    if spec.input:
        shown["input"] = spec.input
    if spec.type == "object":
        shown["schema"] = {}
    return {**shown, "title": spec.title.as_dict(), "description": spec.description.as_dict()}
