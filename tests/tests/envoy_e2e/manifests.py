"""Reads manifests in YAML and holds each document against its schema; prints JSON: [{"document": ..., "faults": [...]}].

usage: manifests.py FOLDER_OF_SCHEMAS FILE"""

import json
import pathlib
import sys

import jsonschema_rs
import yaml


def schema_of(document):
    if "services" in document:
        return "compose-spec.json"
    return f"{document['apiVersion'].replace('/', '_')}_{document['kind']}.json"


schemas, file = map(pathlib.Path, sys.argv[1:])
found = []
for document in yaml.safe_load_all(file.read_text()):
    if "static_resources" in document:
        faults = []  # Envoy's own configuration: Envoy judges it.
    else:
        schema = json.loads((schemas / schema_of(document)).read_text())
        errors = jsonschema_rs.validator_for(schema).iter_errors(document)
        faults = [f"{'/'.join(map(str, error.instance_path))}: {error.message}" for error in errors]
    found.append({"document": document, "faults": faults})
json.dump(found, sys.stdout)
