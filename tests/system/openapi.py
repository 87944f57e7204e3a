# SPDX-License-Identifier: Apache-2.0
"""Holds requests and answers against docs/openapi.yaml."""
import pathlib
import re

import jsonschema
import yaml

DOCUMENT = yaml.safe_load((pathlib.Path(__file__).parents[2] / "docs/openapi.yaml").read_text())


def schema(node):
    """OpenAPI 3.0's dialect as JSON Schema: references resolved, "nullable" said as JSON Schema does."""
    if isinstance(node, list):
        return [schema(item) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        target = DOCUMENT
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        return schema(target)
    plain = {key: schema(value) for key, value in node.items() if key != "nullable"}
    return {"anyOf": [plain, {"type": "null"}]} if node.get("nullable") else plain


def operation(method, path):
    """What the document says of a request, None if it has no such path and method."""
    for template, methods in DOCUMENT["paths"].items():
        if re.fullmatch(re.sub(r"\{id\}", "[^/]+", template), path):
            return methods.get(method.lower())
    return None


def wrong(content, value):
    """None, or what in a body the document does not allow."""
    errors = jsonschema.Draft7Validator(schema(content["application/json"]["schema"])).iter_errors(value)
    return next((f"{'/'.join(map(str, error.absolute_path))}: {error.message[:200]}" for error in errors), None)


def check(method, path, body, status, answer):
    """None, or how a request that was answered contradicts the document. body and answer are values, None if there is none."""
    found = operation(method, path)
    if not found:
        return "answered, but not in docs/openapi.yaml" if status < 300 else None
    if str(status) not in found["responses"]:
        return f"status {status} is not in docs/openapi.yaml"
    if status < 300 and body is not None:
        fault = wrong(found["requestBody"]["content"], body)
        if fault:
            return f"accepted, but docs/openapi.yaml does not allow the body: {fault}"
    response = schema(found["responses"][str(status)])
    if "content" not in response:
        return None if answer is None else "has a body, docs/openapi.yaml knows none"
    return wrong(response["content"], answer)
