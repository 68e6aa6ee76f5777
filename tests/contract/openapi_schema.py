"""JSON against the schemas of docs/openapi.json: a validator of exactly the keywords that the document uses.

A keyword that it doesn't know fails, so that nothing of the document goes unchecked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

#: Say something to people, not about what is valid.
_SPEECH = {"title", "description", "examples", "default", "format", "discriminator"}
_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


def errors(value: Any, schema: Mapping[str, Any], document: Mapping[str, Any], at: str = "") -> Iterator[str]:
    """What of ``value`` isn't as ``schema`` says."""
    if "$ref" in schema:
        yield from errors(value, resolve(schema["$ref"], document), document, at)
        return
    for keyword, wanted in sorted(schema.items(), key=lambda item: item[0] != "type"):
        if keyword in _SPEECH:
            continue
        match keyword:
            case "type":
                wrong_bool = isinstance(value, bool) and wanted in ("integer", "number")
                if not isinstance(value, _TYPES[wanted]) or wrong_bool:
                    yield f"{at}: {value!r} is no {wanted}"
                    return
            case "enum":
                if value not in wanted:
                    yield f"{at}: {value!r} is none of {wanted}"
            case "const":
                if value != wanted:
                    yield f"{at}: {value!r} isn't {wanted!r}"
            case "anyOf" | "oneOf":
                tried = [list(errors(value, one, document, at)) for one in wanted]
                if all(tried):
                    yield f"{at}: fits nothing of {keyword}: {min(tried, key=len)}"
            case "pattern":
                if isinstance(value, str) and not re.search(wanted, value):
                    yield f"{at}: {value!r} doesn't match {wanted}"
            case "required":
                yield from (f"{at}: {name} is missing" for name in wanted if name not in value)
            case "properties":
                for name, one in wanted.items():
                    if name in value:
                        yield from errors(value[name], one, document, f"{at}/{name}")
            case "additionalProperties":
                for name in value.keys() - schema.get("properties", {}).keys():
                    if wanted is False:
                        yield f"{at}: {name} isn't documented"
                    elif isinstance(wanted, dict):
                        yield from errors(value[name], wanted, document, f"{at}/{name}")
            case "propertyNames":
                for name in value:
                    yield from errors(name, wanted, document, f"{at}/{name}")
            case "items":
                for number, one in enumerate(value):
                    yield from errors(one, wanted, document, f"{at}/{number}")
            case "minItems" | "minLength" | "minProperties":
                if len(value) < wanted:
                    yield f"{at}: fewer than {wanted}"
            case "maxItems" | "maxLength" | "maxProperties":
                if len(value) > wanted:
                    yield f"{at}: more than {wanted}"
            case "minimum":
                if value < wanted:
                    yield f"{at}: {value} is below {wanted}"
            case "maximum":
                if value > wanted:
                    yield f"{at}: {value} is above {wanted}"
            case "exclusiveMaximum":
                if value >= wanted:
                    yield f"{at}: {value} is not below {wanted}"
            case _:
                raise NotImplementedError(f"keyword {keyword}")


def resolve(reference: str, document: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a ``$ref`` within the document names."""
    found: Any = document
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    assert isinstance(found, Mapping)
    return found


def operation_of(method: str, path: str, document: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]] | None:
    """The template and the operation that a request is for; None where the document has none."""
    for template, operations in document["paths"].items():
        pattern = re.sub(r"\\\{[^/]+?\\\}", "[^/]+", re.escape(template))
        if re.fullmatch(pattern, path) and method.lower() in operations:
            return template, operations[method.lower()]
    return None


def response_errors(
    method: str, path: str, status: int, media_type: str, body: Any, document: Mapping[str, Any]
) -> list[str]:
    """What of an answer isn't as documented. ``body`` is the parsed JSON, None for files and empty answers."""
    found = operation_of(method, path, document)
    if found is None:
        return [] if status in (404, 405) else [f"{method} {path} answered {status} and isn't documented"]
    template, operation = found
    documented = operation["responses"].get(str(status))
    if documented is None:
        return [f"{method} {template}: status {status} isn't documented"]
    content = documented.get("content")
    if not content:
        return [] if body is None else [f"{method} {template}: {status} has a body and none is documented"]
    if media_type not in content:
        return [f"{method} {template}: {status} as {media_type}, documented {sorted(content)}"]
    if body is None:
        return []
    return [f"{method} {template} {status} {one}" for one in errors(body, content[media_type]["schema"], document)]
