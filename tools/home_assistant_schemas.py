#!/usr/bin/env python3
"""Writes tests/it/home_assistant/schemas.json: what Home Assistant accepts in the discovery messages that stakeout publishes.

    pip download --no-deps --only-binary=:all: --python-version 3.14 homeassistant
    python3 tools/home_assistant_schemas.py homeassistant-*.whl > tests/it/home_assistant/schemas.json

It parses the schemas in Home Assistant's source and does not run them, so Home Assistant's dependencies are not needed. An unknown form
in the source is an error, so no key is lost silently.
"""

import ast
import json
import sys
import zipfile

COMPONENTS = "homeassistant/components"
PLATFORMS = ["binary_sensor", "button", "event", "image", "number", "select", "sensor", "switch"]


class Source:
    """The modules of the package: their top-level assignments, imports and classes."""

    def __init__(self, wheel):
        self.wheel = zipfile.ZipFile(wheel)
        self.modules = {}
        info = next(name for name in self.wheel.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = self.wheel.read(info).decode()
        self.version = next(line.split(": ")[1] for line in metadata.splitlines() if line.startswith("Version: "))

    def module(self, path):
        if path not in self.modules:
            tree = ast.parse(self.wheel.read(path))
            assigned, imported, classes = {}, {}, {}
            for node in tree.body:
                if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                    assigned[node.targets[0].id] = node.value
                elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                    assigned[node.target.id] = node.value
                elif isinstance(node, ast.ClassDef):
                    classes[node.name] = node
                elif isinstance(node, ast.ImportFrom):
                    for alias in node.names:
                        imported[alias.asname or alias.name] = (self.path_of(path, node), alias.name)
            self.modules[path] = (assigned, imported, classes)
        return self.modules[path]

    def path_of(self, path, node):
        """The file that `from node import` in `path` refers to; None outside the package."""
        parts = node.module.split(".") if node.module else []
        if node.level:
            parts = path.split("/")[: -node.level] + parts
        base = "/".join(parts)
        for candidate in (f"{base}.py", f"{base}/__init__.py"):
            if candidate in self.wheel.namelist():
                return candidate
        return None

    def find(self, path, name):
        """The module that defines the value of `name` in `path`, and the expression of this value."""
        assigned, imported, _ = self.module(path)
        if name in assigned:
            return path, assigned[name]
        if imported.get(name, (None,))[0]:
            return self.find(*imported[name])
        raise SystemExit(f"{path}: {name} is not defined")

    def text(self, path, node):
        """The text of a key: a literal, or the value of a constant."""
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name):
            return self.text(*self.find(path, node.id))
        raise SystemExit(f"{path}:{node.lineno}: not a text: {ast.unparse(node)}")

    def keys(self, path, node):
        """The keys of a schema, each with `Required`, `Optional`, or `Exclusive` and the name of its group."""
        if isinstance(node, ast.Name):
            return self.keys(*self.find(path, node.id))
        if isinstance(node, ast.Attribute) and node.attr == "schema":
            return self.keys(path, node.value)
        if isinstance(node, ast.Dict):
            return dict(self.key(path, key) for key in node.keys)
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called == "vol.Schema":
                return self.keys(path, node.args[0])
            if called == "vol.All":
                # Checks that are functions do not declare keys.
                return self.keys(path, next(arg for arg in node.args if self.is_schema(path, arg)))
            if called.endswith(".extend"):
                return self.keys(path, node.func.value) | self.keys(path, node.args[0])
        raise SystemExit(f"{path}:{node.lineno}: not a schema: {ast.unparse(node)}")

    def is_schema(self, path, node):
        if isinstance(node, ast.Name):
            assigned, imported, _ = self.module(path)
            return node.id in assigned or node.id in imported
        return not (isinstance(node, ast.Call) and ast.unparse(node.func).startswith("cv."))

    def key(self, path, node):
        if isinstance(node, ast.Call):
            kind = ast.unparse(node.func).removeprefix("vol.")
            name = self.text(path, node.args[0])
            if kind in ("Required", "Optional"):
                return name, kind
            if kind == "Exclusive":
                return name, "Exclusive " + self.text(path, node.args[1])
        raise SystemExit(f"{path}:{node.lineno}: not a key: {ast.unparse(node)}")

    def values(self, path, name):
        """The values of an enumeration."""
        body = self.module(path)[2][name].body
        return sorted(self.text(path, node.value) for node in body if isinstance(node, ast.Assign))


def table(keys):
    result = {
        "required": sorted(name for name, kind in keys.items() if kind == "Required"),
        "optional": sorted(name for name, kind in keys.items() if kind != "Required"),
    }
    groups = {}
    for name, kind in keys.items():
        if kind.startswith("Exclusive "):
            groups.setdefault(kind.removeprefix("Exclusive "), []).append(name)
    return result | {"one_of": [sorted(names) for names in groups.values() if len(names) > 1]}


def main():
    source = Source(sys.argv[1])
    schemas = f"{COMPONENTS}/mqtt/schemas.py"

    def schema(name):
        return table(source.keys(*source.find(schemas, name)))

    # The schema of one entry is defined inside of the schema of the list.
    _, listed = source.find(schemas, "_MQTT_AVAILABILITY_LIST_SCHEMA")
    entry = next(node.elts[0] for node in ast.walk(listed) if isinstance(node, ast.List))
    abbreviations = f"{COMPONENTS}/mqtt/abbreviations.py"

    def short(name):
        _, mapping = source.find(abbreviations, name)
        return {key.value: value.value for key, value in zip(mapping.keys, mapping.values)}

    platforms = {
        platform: table(source.keys(*source.find(f"{COMPONENTS}/mqtt/{platform}.py", "DISCOVERY_SCHEMA")))
        for platform in PLATFORMS
    }
    result = {
        "homeassistant": source.version,
        "message": schema("DEVICE_DISCOVERY_SCHEMA"),
        "device": schema("MQTT_ENTITY_DEVICE_INFO_SCHEMA"),
        "origin": schema("MQTT_ORIGIN_INFO_SCHEMA"),
        "availability": table(source.keys(schemas, entry)),
        "platforms": platforms,
        "device_classes": {
            "binary_sensor": source.values(f"{COMPONENTS}/binary_sensor/__init__.py", "BinarySensorDeviceClass"),
            "event": source.values(f"{COMPONENTS}/event/__init__.py", "EventDeviceClass"),
            "sensor": source.values(f"{COMPONENTS}/sensor/const.py", "SensorDeviceClass"),
        },
        "entity_category": source.values("homeassistant/const.py", "EntityCategory"),
        "state_class": source.values(f"{COMPONENTS}/sensor/const.py", "SensorStateClass"),
        "abbreviations": short("ABBREVIATIONS"),
        "device_abbreviations": short("DEVICE_ABBREVIATIONS"),
        "origin_abbreviations": short("ORIGIN_ABBREVIATIONS"),
    }
    tables = [result["message"], *platforms.values()]
    known = {name for keys in tables for kind in ("required", "optional") for name in keys[kind]}
    result["abbreviations"] = {key: name for key, name in result["abbreviations"].items() if name in known | {"platform", "topic"}}
    print(json.dumps(result, indent=1))


main()
