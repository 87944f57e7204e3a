# SPDX-License-Identifier: Apache-2.0
"""
Lines of metrics held against docs/metrics.schema.json, the shape that clients of Firecracker expect, with all its values
in each line. The schema is written by hand: the monitor's tables do not judge themselves. No guest has to run.
"""
import copy
import json
import signal

import jsonschema
import pytest

from conftest import ROOT
from test_contract import config, process  # noqa: F401 (fixtures)

SCHEMA = json.loads((ROOT / "docs" / "metrics.schema.json").read_text())

# What comes with a device: its section, and the counters of requests for it. Not required while it is "not supported yet".
DEVICES = {
    "/network-interfaces/x": ("net", "network"),
    "/vsock": ("vsock", "vsock"),
    "/balloon": ("balloon", None),
    "/mmds/config": ("mmds", None),
}


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def wrong(line, schema=SCHEMA):
    return [f"{'/'.join(map(str, e.absolute_path))}: {e.message[:200]}" for e in
            jsonschema.Draft7Validator(schema).iter_errors(line)]


def forgive(schema, section, counters):
    schema["required"].remove(section)
    for name in ("get", "put", "patch"):
        required = schema["properties"][f"{name}_api_requests"]["required"]
        required[:] = [key for key in required if key not in (f"{counters}_count", f"{counters}_fails")]


@pytest.fixture
def schema(process):  # noqa: F811
    """The document, less what the monitor says it does not have yet."""
    found = copy.deepcopy(SCHEMA)
    p, api = process()
    for path, (section, counters) in DEVICES.items():
        if "not supported yet" in api.raw("PUT", path, {})[1]:
            forgive(found, section, counters)
    p.kill()
    p.wait()
    return found


@pytest.fixture
def drives(config, tmp_path):  # noqa: F811
    """A machine with two drives."""
    whole = json.loads(config.read_text())
    whole["drives"] = []
    for name in ("a", "Z_9"):
        (tmp_path / name).write_bytes(bytes(4096))
        whole["drives"].append({"drive_id": name, "path_on_host": str(tmp_path / name), "is_root_device": False})
    config.write_text(json.dumps(whole))
    return config


def test_the_schema_itself_is_right():
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    assert SCHEMA["required"] == [key for key in SCHEMA["properties"] if key not in ("id", "properties")]


def test_every_line_has_every_value_also_of_what_is_not_configured(process, drives, schema, tmp_path):  # noqa: F811
    p, api = process("--metrics-path", tmp_path / "m")
    api.put("/drives/x", {"drive_id": "x", "path_on_host": str(tmp_path / "a"), "is_root_device": False})
    p.send_signal(signal.SIGTERM)
    p.wait(20)
    p, api = process("--config-file", drives, "--metrics-path", tmp_path / "m")
    api.put("/actions", {"action_type": "FlushMetrics"})
    p.send_signal(signal.SIGTERM)
    p.wait(20)
    found = lines(tmp_path / "m")
    assert len(found) >= 4
    for line in found:
        assert not wrong(line, schema)
    assert {key for key in found[-1] if key.startswith("block_")} == {"block_a", "block_Z_9"}


def test_a_line_that_lacks_a_value_or_has_another_one_is_not_valid(process, drives, schema, tmp_path):  # noqa: F811
    """That is: the test above would fail."""
    p, _ = process("--config-file", drives, "--metrics-path", tmp_path / "m")
    p.send_signal(signal.SIGTERM)
    p.wait(20)
    line = lines(tmp_path / "m")[-1]
    assert not wrong(line, schema)

    def change(place, key):
        if key.startswith("block_"):  # there could be fewer drives
            return
        value = place.pop(key)
        assert wrong(line, schema), key
        place[key] = "0"
        assert wrong(line, schema), key
        place[key] = value

    for section in list(line):
        change(line, section)
        for key in list(line[section]) if isinstance(line[section], dict) else ():
            change(line[section], key)
            for inner in list(line[section][key]) if isinstance(line[section][key], dict) else ():
                change(line[section][key], inner)
        if isinstance(line[section], dict):
            line[section]["snafu"] = 0
            assert wrong(line, schema), section
            del line[section]["snafu"]
    assert wrong({**line, "snafu": {}}, schema)


def test_an_id_and_properties_are_part_of_the_line(process, schema, tmp_path):  # noqa: F811
    p, api = process("--id", "vm-7")
    api.put("/metrics", {"metrics_path": str(tmp_path / "m"), "emit_id": True, "properties": {"zone": "a"}})
    p.send_signal(signal.SIGTERM)
    p.wait(20)
    line = lines(tmp_path / "m")[-1]
    assert (line["id"], line["properties"]) == ("vm-7", {"zone": "a"}) and not wrong(line, schema)


def test_requests_for_what_is_not_there_are_counted(process, tmp_path):  # noqa: F811
    p, api = process("--metrics-path", tmp_path / "m")
    for method, path in (("PUT", "/pmem/x"), ("PATCH", "/pmem/x"), ("GET", "/hotplug/memory")):
        assert api.raw(method, path, None if method == "GET" else {})[0] == 400
    p.send_signal(signal.SIGTERM)
    p.wait(20)
    found = lines(tmp_path / "m")

    def total(section, name):
        return sum(line[section][name] for line in found)

    assert total("put_api_requests", "pmem_count") == total("put_api_requests", "pmem_fails") == 1
    assert total("patch_api_requests", "pmem_count") == total("patch_api_requests", "pmem_fails") == 1
    assert total("get_api_requests", "hotplug_memory_count") == 1
