"""JSON Schema of the policy files, for editors that complete and check while one types.

It comes from the models and then learns the short forms that a file may use instead of a full
one. `validate` refuses more; it takes nothing that this refuses but words for true and false.
"""

from __future__ import annotations

from typing import Any

from retention.errors import UsageError
from retention.policy.model import Bundle, Policy, Secret, Then
from retention.policy.where import Op
from retention.policy.words import did_you_mean

DIALECT = "https://json-schema.org/draft/2020-12/schema"
Json = dict[str, Any]

PARTS = {
    "organisation": "Organisation",
    "system": "SystemModel",
    "cluster": "Cluster",
    "location": "LocationModel",
    "policy": "Policy",
    "starting_point": "Start",
    "then": "Then",
    "schedule": "Schedule",
    "where": "Where",
    "limits": "LimitsModel",
    "review": "Review",
    "period": "Period",
    "secret": "Secret",
}
"""Names that `retention schema NAME` takes → the definition."""

DESCRIPTIONS = {
    "title": "One line for people.",
    "applies_to": 'A cluster, cluster/location, a list of them, or "*".',
    "where": "Only records that these filters certainly select.",
    "mandate": "A statute of the catalogue; it fills in cutoff and keep_at_least.",
    "starting_point": "When the period begins.",
    "cutoff": "Closing point that the starting point is moved to.",
    "keep_at_least": "Minimum: no record goes before it has ended.",
    "delete_at_latest": "Maximum, run time included: every record is gone by its end.",
    "backstop": "Latest end for a start that can move, counted from the first known date.",
    "cap": "This maximum also ends what other purposes would keep.",
    "then": "What happens to a record that is due.",
    "fields": "Only these fields go; the record stays.",
    "schedule": "Cron (five fields), @daily, `every 3 months`, on_event, or {last_of: […]}.",
    "misfire": "What happens to runs that were missed while nothing was running.",
    "both_day_fields": "Day of month and day of week are both meant: either of them fires.",
    "limits": "More than any of these stops a run before its first act.",
    "approval": "When a person must have approved a plan first.",
    "grace": "Time in the system's bin, where it has one.",
    "suppress": "Subject keys of which a keyed hash stays, so that nobody contacts the person.",
    "review": "Who looks at what is due.",
    "supersedes": "Policies that this one takes the place of where both apply.",
    "owner": "Who answers for it.",
    "source": "Where the promise stands.",
    "law": "The rule behind it, in words.",
}
"""Of the fields of a policy."""

_NAMES: Json = {"pattern": r"^[^\s/.@*,:]+$"}
_SENSITIVE = r"([Pp]assword|[Pp]asswd|[Pp]assphrase|[Ss]ecret|[Tt]oken|[Aa]pi[_-]?[Kk]ey)$"


def schema(name: str | None = None) -> Json:
    """The schema of a whole file, or of one part of it. Raises UsageError for an unknown part."""
    definitions = _definitions()
    if name is None:
        head: Json = {
            "title": "retention policy file",
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "organisation": _ref("Organisation"),
                "systems": _named("SystemModel"),
                "clusters": _named("Cluster"),
                "policies": _named("Policy"),
            },
        }
    elif name in PARTS:
        head = {"title": name, **_ref(PARTS[name])}
    else:
        raise UsageError(
            f"there is no schema `{name}`",
            hint=did_you_mean(name, PARTS),
            code="schema-unknown",
        )
    return {"$schema": DIALECT, **head, "$defs": definitions}


def _definitions() -> Json:
    definitions: Json = Bundle.model_json_schema()["$defs"]
    definitions = {name: _tidy(body) for name, body in definitions.items()}
    definitions["Secret"] = _tidy(Secret.model_json_schema()) | {
        "minProperties": 1,
        "maxProperties": 1,
    }
    definitions["Period"] = _period()
    definitions["Where"] = _where()
    definitions["Scalar"] = {"type": ["string", "number", "boolean"]}
    definitions["Then"] = _then()
    definitions.pop("ThenModel")
    start = definitions["Start"]
    members = {
        "type": "array",
        "minItems": 1,
        "items": {"anyOf": [{"type": "string"}, _ref("Start")]},
    }
    start["properties"] |= {"latest_of": members, "earliest_of": members}
    start["oneOf"] = [{"required": [n]} for n in ("date", "event", "latest_of", "earliest_of")]
    definitions["Start"] = {"anyOf": [{"type": "string"}, start]}
    definitions["Schedule"] = {"anyOf": [{"type": "string"}, _ref("LastOf")]}
    definitions["Cluster"]["properties"]["locations"] = _named("LocationModel")
    definitions["LocationModel"]["properties"]["where"] = _ref("Where")
    definitions["LimitsModel"]["minProperties"] = 1
    _policy(definitions["Policy"]["properties"])
    _system(definitions["SystemModel"])
    _periods(definitions)
    return definitions


def _policy(properties: Json) -> None:
    properties |= {
        "applies_to": _one_or_more(),
        "suppress": _one_or_more(),
        "supersedes": _one_or_more(),
        "where": _ref("Where"),
        "starting_point": _ref("Start"),
        "then": _ref("Then"),
        "schedule": _ref("Schedule"),
    }
    for field in Policy.model_fields:
        properties[field]["description"] = DESCRIPTIONS[field]


def _system(system: Json) -> None:
    """Secrets are places, never text; a URL may be text where it holds no password."""
    reference = {"anyOf": [_ref("Secret"), {"type": "object", "not": _any_of_keys("env", "file")}]}
    system["properties"]["url"] = {
        "anyOf": [_ref("Secret"), {"type": "string", "not": {"pattern": r"://[^/@\s:]*:[^/@\s]+@"}}]
    }
    system["patternProperties"] = {rf"(^|[_-]){_SENSITIVE}": reference}


def _any_of_keys(*names: str) -> Json:
    return {"anyOf": [{"required": [name]} for name in names]}


def _then() -> Json:
    mask = {"type": ["string", "number", "boolean", "null"]}
    plain = [t.value for t in Then if t not in (Then.ANONYMISE, Then.HAND_OVER, Then.COPY_TO)]
    return {
        "anyOf": [
            {"enum": plain},
            _only(
                "anonymise", {"type": "object", "minProperties": 1, "additionalProperties": mask}
            ),
            _only("hand_over", _ref("HandOver")),
            _only("copy_to", _ref("CopyTo")),
            {"type": "object", "required": ["kind"], "properties": {"kind": {"enum": list(Then)}}},
        ]
    }


def _only(name: str, body: Json) -> Json:
    return {
        "type": "object",
        "properties": {name: body},
        "required": [name],
        "additionalProperties": False,
    }


def _where() -> Json:
    scalars = {"type": "array", "minItems": 1, "items": _ref("Scalar")}
    listed = {"anyOf": [_ref("Scalar"), scalars]}
    operators: Json = {
        Op.IN: listed,
        Op.NOT_IN: listed,
        Op.BEFORE: {"type": "string", "format": "date"},
        Op.AFTER: {"type": "string", "format": "date"},
        Op.MATCHES: {"type": "string", "maxLength": 200},
        Op.EMPTY: {"type": "boolean"},
    }
    comparison = {
        "type": "object",
        "minProperties": 1,
        "properties": {str(op): body for op, body in operators.items()},
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "minProperties": 1,
        "additionalProperties": {"anyOf": [_ref("Scalar"), scalars, comparison]},
    }


def _period() -> Json:
    units = "|".join(_either_case(u) for u in ("hour", "day", "week", "month", "year"))
    words = rf"^\s*(\d+\s*({units})[sS]?(\s|,|and)*)+$"
    iso = r"^\s*P(?=.)(\d+Y)?(\d+M)?(\d+W)?(\d+D)?(T(\d+H)?)?\s*$"
    return {
        "type": "string",
        "anyOf": [{"pattern": words}, {"pattern": iso}],
        "examples": ["1 month", "3 years 6 months", "90 days", "24 hours", "P1M"],
    }


def _either_case(word: str) -> str:
    return "".join(f"[{c.lower()}{c.upper()}]" for c in word)


def _periods(definitions: Json) -> None:
    for body in definitions.values():
        for name, field in body.get("properties", {}).items():
            if "examples" in field:
                said = {k: v for k, v in field.items() if k == "description"}
                body["properties"][name] = {**said, **_ref("Period")}


def _tidy(value: Any) -> Any:
    """Without titles that repeat names, and without null: in a file a key has a value."""
    if isinstance(value, list):
        return [_tidy(item) for item in value]
    if not isinstance(value, dict):
        return value
    out: Json = {
        key: _tidy_properties(item) if key == "properties" else _tidy(item)
        for key, item in value.items()
        if not (key == "title" and isinstance(item, str))
        and not (key == "default" and item in (None, [], {}))
    }
    members: list[Json] = [m for m in out.get("anyOf", []) if m != {"type": "null"}]
    if len(members) == 1:
        del out["anyOf"]
        out = members[0] | out
    elif members:
        out["anyOf"] = members
    return out


def _tidy_properties(properties: Json) -> Json:
    return {name: _tidy(body) for name, body in properties.items()}


def _ref(name: str) -> Json:
    return {"$ref": f"#/$defs/{name}"}


def _named(name: str) -> Json:
    return {"type": "object", "propertyNames": dict(_NAMES), "additionalProperties": _ref(name)}


def _one_or_more() -> Json:
    text = {"type": "string", "minLength": 1}
    return {"anyOf": [text, {"type": "array", "minItems": 1, "items": text}]}
