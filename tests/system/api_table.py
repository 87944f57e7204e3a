# SPDX-License-Identifier: Apache-2.0
"""
Every endpoint of the API, in the right and the wrong phase, with right and wrong bodies: one row each.

A row is (phase, method, path, body, status, pattern). body: None for none, a str as it stands, else it is sent as JSON;
"{kernel}", "{initrd}", "{disk}" and "{directory}" inside strings stand for paths. pattern: a regular
expression that is searched in fault_message (400) or in the body (200); None for 204. The rows of a phase are carried
out in order:

  new      one process that never starts its machine
  fresh    a process of its own for each row
  running  one machine that runs: BOOT, MACHINE and DRIVE
  paused   the same machine, paused; makes {directory}/state and {directory}/mem
  load     a process of its own for each row, with these files

The phase of a machine is the same after each row.
"""
import json
import re

import openapi

BOOT = {"kernel_image_path": "{kernel}", "initrd_path": "{initrd}", "boot_args": "console=ttyS0 panic=1 reboot=k"}
DRIVE = {"drive_id": "rootfs", "path_on_host": "{disk}", "is_root_device": True, "is_read_only": True}
MACHINE = {"vcpu_count": 1, "mem_size_mib": 128}
BUCKET = {"size": 1000000, "one_time_burst": 5000, "refill_time": 100}
CREATE = {"snapshot_path": "{directory}/state", "mem_file_path": "{directory}/mem"}
LOAD = {"snapshot_path": "{directory}/state", "mem_file_path": "{directory}/mem"}
BACKEND = {"snapshot_path": "{directory}/state", "mem_backend": {"backend_path": "{directory}/mem", "backend_type": "File"}}

AFTER = r"^The requested operation is not supported after starting the microVM\.$"
BEFORE = r"^The requested operation is not supported before starting the microVM\.$"
CONFIGURED = r"^Load snapshot error: Loading a microVM snapshot not allowed after configuring boot-specific resources\.$"
EMPTY_PATCH = r"^Empty PATCH request\.$"
LATER = r"is not supported yet"


def without(body, *keys):
    return {key: value for key, value in body.items() if key not in keys}


def bad_bodies(method, path, good, phase="new"):
    """What every endpoint with a body refuses."""
    empty = f"^Empty {method} request\\.$"
    return [
        (phase, method, path, None, 400, empty),
        (phase, method, path, "", 400, empty),
        (phase, method, path, "{", 400, "^invalid JSON at line 1, column"),
        (phase, method, path, "nonsense", 400, "^invalid JSON at line 1, column"),
        (phase, method, path, "[" * 5000, 400, "^invalid JSON at line 1"),
        (phase, method, path, "[]", 400, "expected a JSON object"),
        (phase, method, path, {**good, "no_such_field": 1}, 400, '^unknown field "no_such_field": allowed are? '),
        (phase, method, path, '{"twice": 1, "twice": 2}', 400, "duplicate object key"),
        (phase, method, path, " " * 51201, 400,
         r"^Request payload with size 51201 is larger than the limit of 51200 allowed by server\.$"),
    ]


def wrong_values(phase, method, path, good, field, values, pattern="is not allowed: expected"):
    return [(phase, method, path, {**good, field: value}, 400, f'"{field}".*{pattern}') for value in values]


def missing(phase, method, path, good, *fields):
    return [(phase, method, path, without(good, field), 400, f'missing field "{field}"') for field in fields]


GETS = [
    (phase, "GET", path, None, 200, pattern)
    for phase, state in (("new", "Not started"), ("running", "Running"), ("paused", "Paused"))
    for path, pattern in (
        ("/", f'"state":"{state}","vmm_version":"1[.]17[.]0","app_name":"Firecracker",'
              r'"implementation":"snapsafe-vmm [0-9.]+"}$'),
        ("/version", r'^\{"firecracker_version":"1\.[0-9]+\.[0-9]+"\}$'),
        ("/machine-config", r'^\{"vcpu_count":1,"mem_size_mib":128,"smt":false,"track_dirty_pages":false,'
                            r'"huge_pages":"None"\}$'),
        ("/vm/config", '"machine-config":.*"boot-source":.*"drives":'),
    )
]

PATHS = [
    ("new", "GET", "/foo", None, 400, r"^Invalid request method and/or path: GET foo\.$"),
    ("new", "GET", "/vm/config/more", None, 400, "^Invalid request method and/or path"),
    ("new", "POST", "/vm", {"state": "Paused"}, 400, r"^Invalid request method and/or path: POST vm\. .*PATCH"),
    ("new", "DELETE", "/boot-source", None, 400, "^Invalid request method and/or path"),
    ("new", "GET", "/", "{}", 400, r"^GET request cannot have a body\.$"),
    ("new", "PUT", "/drives", DRIVE, 400, r"^The ID cannot be empty\.$"),
    ("new", "PUT", "/drives/", DRIVE, 400, r"^The ID cannot be empty\.$"),
    ("new", "PUT", "/drives/a-b", DRIVE, 400, "alphanumeric characters and underscores"),
    ("new", "PUT", "/drives/other", DRIVE, 400, "The id from the path .other. does not match the id from the body"),
    ("running", "PATCH", "/drives/other", {"drive_id": "rootfs"}, 400, "does not match the id from the body"),
    ("running", "PATCH", "/drives/rootfs", {"drive_id": "rootfs"}, 400, EMPTY_PATCH),
    ("running", "PATCH", "/drives/rootfs", {"drive_id": "rootfs", "path_on_host": None}, 400, EMPTY_PATCH),
    ("new", "PATCH", "/machine-config", {}, 400, EMPTY_PATCH),
    ("new", "PATCH", "/machine-config", {"smt": None}, 400, EMPTY_PATCH),
] + [
    ("new", method, path, None, 400, f"^{method} {re.escape(path)} is not supported yet: ")
    for method, path in (
        ("DELETE", "/network-interfaces/eth0"),
        ("PUT", "/pmem/p"),
        ("PATCH", "/pmem/p"), ("DELETE", "/pmem/p"), ("PUT", "/hotplug/memory"), ("PATCH", "/hotplug/memory"),
        ("GET", "/hotplug/memory"), ("DELETE", "/drives/rootfs"))
]

VSOCK_BODY = {"guest_cid": 3, "uds_path": "{directory}/v"}

VSOCK = [
    ("new", "PUT", "/vsock", VSOCK_BODY, 204, None),
    ("new", "PUT", "/vsock", {**VSOCK_BODY, "vsock_id": "1"}, 204, None),
    ("new", "PUT", "/vsock", {**VSOCK_BODY, "guest_cid": 4294967294}, 204, None),
    ("new", "GET", "/vm/config", None, 200, r'"vsock":\{"guest_cid":4294967294,"uds_path":"[^"]*/v"\}'),
    *missing("new", "PUT", "/vsock", VSOCK_BODY, "guest_cid", "uds_path"),
    *wrong_values("new", "PUT", "/vsock", VSOCK_BODY, "guest_cid", [None, 0, 1, 2, -1, 4294967295, "3", 2 ** 40]),
    *wrong_values("new", "PUT", "/vsock", VSOCK_BODY, "uds_path", [None, "", 1, "/" + "v" * 107]),
    ("new", "PUT", "/vsock", {**VSOCK_BODY, "uds_path": "{directory}/none/v"}, 400,
     '^Vsock config error: uds_path ".*/none/v": cannot examine the directory .*No such file or directory'),
    ("new", "PUT", "/vsock", {**VSOCK_BODY, "uds_path": "{disk}"}, 400,
     "^Vsock config error: uds_path .* a file of that name exists and is not a socket; it was left alone"),
    *bad_bodies("PUT", "/vsock", VSOCK_BODY),
    ("running", "PUT", "/vsock", VSOCK_BODY, 400, AFTER),
    ("paused", "PUT", "/vsock", VSOCK_BODY, 400, AFTER),
]

LEAF = {"leaf": "0x7", "subleaf": "0b0", "flags": 1, "modifiers": [{"register": "ebx", "bitmap": "0bxx01_0000"}]}


def leaf(**change):
    return {"cpuid_modifiers": [{**LEAF, **change}]}


def bitmap(register, text, number="0x7"):
    return leaf(leaf=number, modifiers=[{"register": register, "bitmap": text}])


CPU_CONFIG = [
    ("new", "PUT", "/cpu-config", {}, 204, None),
    ("new", "PUT", "/cpu-config", {"kvm_capabilities": ["1", "!0x79"], "cpuid_modifiers": [LEAF], "msr_modifiers": [
        {"addr": "0x10a", "bitmap": "0b" + "x" * 64}]}, 204, None),
    ("new", "GET", "/vm/config", None, 200, '"cpu-config":\\{"kvm_capabilities":\\["1","!0x79"\\],"cpuid_modifiers":\\[\\{"leaf"'),
    ("new", "PUT", "/cpu-config", {"reg_modifiers": [], "vcpu_features": None}, 204, None),
    ("new", "PUT", "/machine-config", {**MACHINE, "cpu_template": "None"}, 204, None),
    ("new", "GET", "/vm/config", None, 200, '"cpu-config":null'),
    ("new", "PUT", "/machine-config", {**MACHINE, "cpu_template": "T2"}, 204, None),
    ("new", "GET", "/machine-config", None, 200, '"cpu_template":"T2"'),
    ("new", "PUT", "/cpu-config", leaf(), 204, None),
    ("new", "GET", "/machine-config", None, 200, '"huge_pages":"None"}$'),
    ("new", "PUT", "/cpu-config", {"reg_modifiers": [1]}, 400, LATER),
    ("new", "PUT", "/cpu-config", {"cpuid": []}, 400, "unknown field"),
    ("new", "PUT", "/cpu-config", leaf(more=1), 400, r'unknown field "more" in "cpuid_modifiers\[0\]"'),
    *[("new", "PUT", "/cpu-config", leaf(**{field: value}), 400, rf'"cpuid_modifiers\[0\]\.{field}"')
      for field, value in (("leaf", "seven"), ("leaf", "0x"), ("leaf", 7), ("leaf", None), ("subleaf", "0x1_0000_0000"),
                           ("subleaf", "0x100000000"), ("flags", 8), ("flags", "0"), ("modifiers", {}), ("modifiers", None))],
    ("new", "PUT", "/cpu-config", bitmap("rax", "0b1"), 400, r'modifiers\[0\]\.register": "rax" is not allowed'),
    ("new", "PUT", "/cpu-config", bitmap("EAX", "0b1"), 400, r'modifiers\[0\]\.register": "EAX" is not allowed'),
    ("new", "PUT", "/cpu-config", bitmap("eax", "0b" + "x" * 33), 400, "more than 32 digits"),
    ("new", "PUT", "/cpu-config", bitmap("eax", "0b2"), 400, "expected .0b. and the digits 0, 1 and x"),
    ("new", "PUT", "/cpu-config", bitmap("eax", "0b"), 400, "no digits"),
    ("new", "PUT", "/cpu-config", bitmap("ecx", "0b1xxxxx", "0x1"), 400, "cannot give vmx: nested guests"),
    ("new", "PUT", "/cpu-config", bitmap("ecx", "0b1xx", "0x80000001"), 400, "cannot give svm: nested guests"),
    ("new", "PUT", "/cpu-config", {"msr_modifiers": [{"addr": "0x10a"}]}, 400, 'missing field "msr_modifiers'),
    ("new", "PUT", "/cpu-config", {"msr_modifiers": [{"addr": "0x10a", "bitmap": "x" * 65}]}, 400, "more than 64 digits"),
    ("new", "PUT", "/cpu-config", {"kvm_capabilities": ["!"]}, 400, '"kvm_capabilities": "" is not allowed'),
    ("new", "PUT", "/cpu-config", {"kvm_capabilities": ["1"] * 17}, 400, "an array of 0 to 16 strings"),
    ("running", "PUT", "/cpu-config", {}, 400, AFTER),
    ("paused", "PUT", "/cpu-config", {}, 400, AFTER),
]

BOOT_SOURCE = [
    ("new", "PUT", "/boot-source", BOOT, 204, None),
    ("new", "PUT", "/boot-source", {"kernel_image_path": "{kernel}", "initrd_path": None, "boot_args": None}, 204, None),
    ("new", "PUT", "/boot-source", {"kernel_image_path": "{directory}/none"}, 400,
     '^Boot source error: .*kernel_image_path ".*/none".*No such file or directory'),
    ("new", "PUT", "/boot-source", {"kernel_image_path": "{directory}"}, 400, "must be a regular file"),
    ("new", "PUT", "/boot-source", {**BOOT, "initrd_path": "{directory}/none"}, 400, "initrd_path .*No such file"),
    ("new", "PUT", "/boot-source", {**BOOT, "boot_args": "a\nb"}, 400, "boot_args.*0x0a"),
    ("new", "PUT", "/boot-source", {**BOOT, "boot_args": "a" * 2048}, 400, '"boot_args".*2047'),
    *missing("new", "PUT", "/boot-source", BOOT, "kernel_image_path"),
    *wrong_values("new", "PUT", "/boot-source", BOOT, "kernel_image_path", [None, "", 1, True, [], {}]),
    *wrong_values("new", "PUT", "/boot-source", BOOT, "initrd_path", ["", 1]),
    *wrong_values("new", "PUT", "/boot-source", BOOT, "boot_args", [1, []]),
    *bad_bodies("PUT", "/boot-source", BOOT),
    ("running", "PUT", "/boot-source", BOOT, 400, AFTER),
    ("paused", "PUT", "/boot-source", BOOT, 400, AFTER),
]

MACHINE_CONFIG = [
    ("new", "PUT", "/machine-config", {"vcpu_count": 32, "mem_size_mib": 4096, "smt": True, "huge_pages": "None",
                                       "cpu_template": "None", "track_dirty_pages": False}, 204, None),
    ("new", "GET", "/machine-config", None, 200, '"vcpu_count":32,"mem_size_mib":4096,"smt":true'),
    ("new", "PATCH", "/machine-config", {"vcpu_count": 2}, 204, None),
    ("new", "GET", "/machine-config", None, 200, '"vcpu_count":2,"mem_size_mib":4096,"smt":true'),
    ("new", "PATCH", "/machine-config", {"vcpu_count": 3}, 400, '"vcpu_count": 3 is not allowed with smt'),
    ("new", "PATCH", "/machine-config", {"mem_size_mib": 0}, 400, '"mem_size_mib": 0 is not allowed'),
    ("new", "GET", "/machine-config", None, 200, '"vcpu_count":2,"mem_size_mib":4096,"smt":true'),
    ("new", "PUT", "/machine-config", MACHINE, 204, None),
    ("new", "GET", "/machine-config", None, 200, '"vcpu_count":1,"mem_size_mib":128,"smt":false'),
    ("new", "PATCH", "/machine-config", {"track_dirty_pages": True, "huge_pages": "Transparent"}, 204, None),
    ("new", "GET", "/machine-config", None, 200, '"track_dirty_pages":true,"huge_pages":"Transparent"}$'),
    ("new", "PATCH", "/machine-config", {"huge_pages": "2M"}, 204, None),
    ("new", "GET", "/machine-config", None, 200, '"huge_pages":"2M"}$'),
    ("new", "PATCH", "/machine-config", {"mem_size_mib": 129}, 400,
     '"mem_size_mib": 129 is not allowed with huge_pages 2M: expected an even number'),
    ("new", "PUT", "/machine-config", MACHINE, 204, None),
    ("new", "PATCH", "/machine-config", {"vm_generation_id": False}, 204, None),
    ("new", "PATCH", "/machine-config", {"vcpu_count": 2}, 204, None),
    ("new", "GET", "/machine-config", None, 200, '"vcpu_count":2.*"vm_generation_id":false'),
    ("new", "PUT", "/machine-config", MACHINE, 204, None),
    ("new", "GET", "/machine-config", None, 200, '"huge_pages":"None"}$'),
    *missing("new", "PUT", "/machine-config", MACHINE, "vcpu_count", "mem_size_mib"),
    *[row for method in ("PUT", "PATCH") for row in (
        *wrong_values("new", method, "/machine-config", MACHINE, "vcpu_count", [0, 33, -1, 1.5, "1", [], 2 ** 40]),
        *wrong_values("new", method, "/machine-config", MACHINE, "mem_size_mib", [0, -1, 261121, 2 ** 62, "128", 1.0]),
        *wrong_values("new", method, "/machine-config", MACHINE, "smt", [0, "true"]),
        *wrong_values("new", method, "/machine-config", MACHINE, "vm_generation_id", [1, "no"]),
        *wrong_values("new", method, "/machine-config", MACHINE, "track_dirty_pages", [1, "yes"]),
        *wrong_values("new", method, "/machine-config", MACHINE, "huge_pages", ["1G", False]),
        *wrong_values("new", method, "/machine-config", MACHINE, "cpu_template", ["V1N1", "t2", 2]),
        *bad_bodies(method, "/machine-config", MACHINE),
        ("running", method, "/machine-config", MACHINE, 400, AFTER),
        ("paused", method, "/machine-config", MACHINE, 400, AFTER))],
    ("new", "PUT", "/machine-config", '{"vcpu_count": 1, "mem_size_mib": 18446744073709551616}', 400, "^invalid JSON"),
    ("new", "GET", "/machine-config", None, 200, '"vcpu_count":1,"mem_size_mib":128,"smt":false'),
]

DRIVES = [
    ("new", "PUT", "/drives/rootfs", DRIVE, 204, None),
    ("new", "PUT", "/drives/rootfs", {**DRIVE, "partuuid": "0eaa91a0-01", "cache_type": "Writeback", "io_engine": "Sync",
                                      "socket": None, "rate_limiter": {"bandwidth": BUCKET, "ops": None}}, 204, None),
    ("new", "PUT", "/drives/async", {**DRIVE, "drive_id": "async", "is_root_device": False, "io_engine": "Async"}, 204, None),
    ("new", "GET", "/vm/config", None, 200, '"io_engine":"Async"'),
    ("new", "GET", "/vm/config", None, 200, '"partuuid":"0eaa91a0-01","is_root_device":true,"cache_type":"Writeback"'),
    ("new", "PUT", "/drives/rootfs", DRIVE, 204, None),
    ("new", "PUT", "/drives/second", {**DRIVE, "drive_id": "second"}, 400,
     "^Drive config error: A root block device already exists!"),
    ("new", "PUT", "/drives/none", {**DRIVE, "drive_id": "none", "is_root_device": False, "path_on_host": "{directory}/none"},
     400, '^Drive config error: drive "none": .*path_on_host ".*/none".*No such file or directory'),
    ("new", "PUT", "/drives/dir", {**DRIVE, "drive_id": "dir", "is_root_device": False, "path_on_host": "{directory}"}, 400,
     "must be a regular file or a block device"),
    ("new", "PUT", "/drives/tty", {**DRIVE, "drive_id": "tty", "is_root_device": False, "path_on_host": "/dev/null"}, 400,
     "must be a regular file or a block device"),
    *missing("new", "PUT", "/drives/rootfs", DRIVE, "drive_id", "path_on_host", "is_root_device"),
    *wrong_values("new", "PUT", "/drives/rootfs", DRIVE, "drive_id", [None, "", 1, "x" * 81]),
    *wrong_values("new", "PUT", "/drives/rootfs", DRIVE, "path_on_host", [None, "", 1]),
    *wrong_values("new", "PUT", "/drives/rootfs", DRIVE, "is_root_device", [None, 1, "true"]),
    *wrong_values("new", "PUT", "/drives/rootfs", DRIVE, "is_read_only", [1, "no"]),
    *wrong_values("new", "PUT", "/drives/rootfs", DRIVE, "cache_type", ["unsafe", 1]),
    *wrong_values("new", "PUT", "/drives/rootfs", DRIVE, "io_engine", ["sync", 1]),
    *wrong_values("new", "PUT", "/drives/rootfs", DRIVE, "socket", ["/s"], LATER),
    *wrong_values("new", "PUT", "/drives/rootfs", DRIVE, "partuuid", ["", "x", "0eaa91a0-01 init=/bin/sh", 1, "1" * 37]),
    *wrong_values("new", "PUT", "/drives/rootfs", DRIVE, "rate_limiter", [1, []]),
    ("new", "PUT", "/drives/rootfs", {**DRIVE, "rate_limiter": {"ops": {"size": 1}}}, 400,
     'missing field "rate_limiter.ops.refill_time"'),
    ("new", "PUT", "/drives/rootfs", {**DRIVE, "rate_limiter": {"ops": {**BUCKET, "size": -1}}}, 400,
     '"rate_limiter.ops.size": -1'),
    ("new", "PUT", "/drives/rootfs", {**DRIVE, "rate_limiter": {"foo": 1}}, 400, 'unknown field "foo" in "rate_limiter"'),
    *bad_bodies("PUT", "/drives/rootfs", DRIVE),
    ("running", "PUT", "/drives/rootfs", DRIVE, 400, AFTER),
    ("paused", "PUT", "/drives/rootfs", DRIVE, 400, AFTER),
    ("new", "PUT", "/drives/" + "x" * 80, {**DRIVE, "drive_id": "x" * 80, "is_root_device": False}, 204, None),
    ("new", "PATCH", "/drives/rootfs", {"drive_id": "rootfs", "path_on_host": "{disk}"}, 400, BEFORE),
    *[row for phase in ("running", "paused") for row in (
        (phase, "PATCH", "/drives/rootfs", {"drive_id": "rootfs", "path_on_host": "{disk}"}, 204, None),
        (phase, "PATCH", "/drives/rootfs", {"drive_id": "rootfs", "rate_limiter": {"ops": BUCKET}}, 204, None),
        (phase, "GET", "/vm/config", None, 200, '"ops":{"size":1000000,"one_time_burst":5000,"refill_time":100}'),
        (phase, "PATCH", "/drives/rootfs", {"drive_id": "rootfs", "rate_limiter": {"ops": {"size": 0, "refill_time": 0}}},
         204, None),
        (phase, "GET", "/vm/config", None, 200, '"rate_limiter":null'),
        (phase, "PATCH", "/drives/other", {"drive_id": "other", "path_on_host": "{disk}"}, 400,
         '^Unable to patch the block device: drive "other" does not exist'),
        (phase, "PATCH", "/drives/rootfs", {"drive_id": "rootfs", "path_on_host": "{directory}/none"}, 400,
         "^Unable to patch the block device: .*No such file or directory"),
        (phase, "PATCH", "/drives/rootfs", {"drive_id": "rootfs", "path_on_host": "{directory}"}, 400,
         "^Unable to patch the block device: "),
        *wrong_values(phase, "PATCH", "/drives/rootfs", {"drive_id": "rootfs"}, "path_on_host", ["", 1]),
        *bad_bodies("PATCH", "/drives/rootfs", {"drive_id": "rootfs"}, phase))],
]

# The taps themselves: tests/unit/test_net_tap.c, tests/system/test_network.py.
NIC = {"iface_id": "eth0", "host_dev_name": "no_such_tap", "guest_mac": "06:00:ac:10:00:02"}
NETWORK = [
    ("new", "PUT", "/network-interfaces/eth0", NIC, 400,
     '^Network config error: network interface "eth0": (there is no network interface "no_such_tap"|cannot open /dev/net/tun)'),
    ("new", "PUT", "/network-interfaces/eth1", NIC, 400, "The id from the path .eth1. does not match the id from the body"),
    ("new", "PUT", "/network-interfaces/a-b", NIC, 400, "alphanumeric characters and underscores"),
    ("new", "PUT", "/network-interfaces", NIC, 400, r"^The ID cannot be empty\.$"),
    *missing("new", "PUT", "/network-interfaces/eth0", NIC, "iface_id", "host_dev_name"),
    *wrong_values("new", "PUT", "/network-interfaces/eth0", NIC, "iface_id", [None, "", 1, "x" * 81]),
    *wrong_values("new", "PUT", "/network-interfaces/eth0", NIC, "host_dev_name",
                  [None, "", 1, "x" * 16, "a/b", "..", "tap%d", "a b", "a:b"]),
    *wrong_values("new", "PUT", "/network-interfaces/eth0", NIC, "guest_mac",
                  ["", 1, "06:00:ac:10:00", "06:00:ac:10:00:02:03", "06:00:ac:10:00:0g", "06-00-ac-10-00-02",
                   "6:0:ac:10:0:2", "01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00"]),
    *wrong_values("new", "PUT", "/network-interfaces/eth0", NIC, "mtu", [0, 67, 65536, -1, "1500"]),
    *wrong_values("new", "PUT", "/network-interfaces/eth0", NIC, "rx_rate_limiter", [1, []]),
    *wrong_values("new", "PUT", "/network-interfaces/eth0", NIC, "tx_rate_limiter", [1, []]),
    ("new", "PUT", "/network-interfaces/eth0", {**NIC, "tx_rate_limiter": {"ops": {"size": 1}}}, 400,
     'missing field "tx_rate_limiter.ops.refill_time"'),
    ("new", "PUT", "/network-interfaces/eth0", {**NIC, "allow_mmds_requests": True}, 400, "unknown field"),
    *bad_bodies("PUT", "/network-interfaces/eth0", NIC),
    ("new", "PATCH", "/network-interfaces/eth0", {"iface_id": "eth0", "rx_rate_limiter": {"ops": BUCKET}}, 400, BEFORE),
    *[row for phase in ("running", "paused") for row in (
        (phase, "PUT", "/network-interfaces/eth0", NIC, 400, AFTER),
        (phase, "PATCH", "/network-interfaces/eth0", {"iface_id": "eth0", "rx_rate_limiter": {"ops": BUCKET}}, 400,
         '^Unable to update the net device: net "eth0" does not exist'),
        (phase, "PATCH", "/network-interfaces/eth1", {"iface_id": "eth0"}, 400, "does not match the id from the body"),
        (phase, "PATCH", "/network-interfaces/eth0", {"iface_id": "eth0"}, 400, EMPTY_PATCH),
        (phase, "PATCH", "/network-interfaces/eth0", {"iface_id": "eth0", "host_dev_name": "tap1"}, 400, "unknown field"),
    )],
]

ENTROPY = [
    ("new", "PUT", "/entropy", {}, 204, None),
    ("new", "PUT", "/entropy", {"rate_limiter": None}, 204, None),
    ("new", "PUT", "/entropy", {"rate_limiter": {"bandwidth": None, "ops": None}}, 204, None),
    ("new", "PUT", "/entropy", {"rate_limiter": {"bandwidth": BUCKET, "ops": BUCKET}, "leak_reporting": False}, 204, None),
    ("new", "GET", "/vm/config", None, 200, '"entropy":{"rate_limiter":{"bandwidth":{"size":1000000.*"leak_reporting":false'),
    ("new", "PUT", "/entropy", {}, 204, None),
    ("new", "GET", "/vm/config", None, 200, '"entropy":{"rate_limiter":null}'),
    *wrong_values("new", "PUT", "/entropy", {}, "leak_reporting", [1, "yes"]),
    *wrong_values("new", "PUT", "/entropy", {}, "rate_limiter", [1, []]),
    *bad_bodies("PUT", "/entropy", {}),
    ("new", "GET", "/entropy", None, 400, BEFORE),
    ("running", "GET", "/entropy", None, 200, '^{"generation":[0-9]+,"handled":0,"late":false,"driver":"None"}$'),
    ("paused", "GET", "/entropy", None, 200, '^{"generation":[0-9]+,"handled":0,"late":false,"driver":"None"}$'),
    ("running", "PUT", "/entropy", {}, 400, AFTER),
    ("paused", "PUT", "/entropy", {}, 400, AFTER),
]

BALLOON = {"amount_mib": 8, "deflate_on_oom": True, "stats_polling_interval_s": 1, "free_page_hinting": True,
           "free_page_reporting": True}
AMOUNT, INTERVAL = {"amount_mib": 4}, {"stats_polling_interval_s": 2}
BALLOONS = [
    ("fresh", "GET", "/balloon", None, 400, '^Balloon config error: "balloon" is not configured$'),
    ("fresh", "PUT", "/balloon", {"amount_mib": 0, "deflate_on_oom": False}, 204, None),
    ("new", "PUT", "/balloon", BALLOON, 204, None),
    ("new", "GET", "/balloon", None, 200, r'^{"amount_mib":8,"deflate_on_oom":true,"stats_polling_interval_s":1,'
                                          r'"free_page_hinting":true,"free_page_reporting":true}$'),
    ("new", "GET", "/vm/config", None, 200, '"balloon":{"amount_mib":8,'),
    ("new", "PUT", "/balloon", {**BALLOON, "amount_mib": 129}, 400,
     '^Balloon config error: field "amount_mib": 129 is not allowed: the machine has 128 MiB of memory'),
    ("new", "PUT", "/machine-config", {**MACHINE, "mem_size_mib": 7}, 400,
     '^Machine config error: field "mem_size_mib": 7 is not allowed: the balloon\'s amount_mib is 8, which is more$'),
    ("new", "PATCH", "/machine-config", {"mem_size_mib": 7}, 400, "the balloon's amount_mib is 8"),
    ("new", "PUT", "/balloon", {"amount_mib": 128, "deflate_on_oom": False, "free_page_hinting": None}, 204, None),
    ("new", "GET", "/balloon", None, 200, r'^{"amount_mib":128,"deflate_on_oom":false,"stats_polling_interval_s":0,'
                                          r'"free_page_hinting":false,"free_page_reporting":false}$'),
    *missing("new", "PUT", "/balloon", BALLOON, "amount_mib", "deflate_on_oom"),
    *wrong_values("new", "PUT", "/balloon", BALLOON, "amount_mib", [None, -1, "8", 8.5, 1 << 32, True]),
    *wrong_values("new", "PUT", "/balloon", BALLOON, "deflate_on_oom", [None, 1, "true"]),
    *wrong_values("new", "PUT", "/balloon", BALLOON, "stats_polling_interval_s", [-1, 65536, "1", True]),
    *wrong_values("new", "PUT", "/balloon", BALLOON, "free_page_hinting", [1, "true"]),
    *wrong_values("new", "PUT", "/balloon", BALLOON, "free_page_reporting", [1, "true"]),
    *bad_bodies("PUT", "/balloon", BALLOON),
    *[("new", method, path, body, 400, BEFORE) for method, path, body in (
        ("PATCH", "/balloon", AMOUNT), ("GET", "/balloon/statistics", None), ("PATCH", "/balloon/statistics", INTERVAL),
        ("PATCH", "/balloon/hinting/start", None), ("PATCH", "/balloon/hinting/start", {"acknowledge_on_stop": True}),
        ("PATCH", "/balloon/hinting/stop", None), ("GET", "/balloon/hinting/status", None))],
    *bad_bodies("PATCH", "/balloon", AMOUNT),
    *bad_bodies("PATCH", "/balloon/statistics", INTERVAL),
    *missing("new", "PATCH", "/balloon", {"amount_mib": 1}, "amount_mib"),
    *wrong_values("new", "PATCH", "/balloon", {}, "amount_mib", [None, -1, "8", 1 << 32]),
    *wrong_values("new", "PATCH", "/balloon/statistics", {}, "stats_polling_interval_s", [None, -1, 65536]),
    *wrong_values("new", "PATCH", "/balloon/hinting/start", {}, "acknowledge_on_stop", [1, "true"]),
    ("new", "PATCH", "/balloon/hinting/start", {"now": True}, 400, 'unknown field "now"'),
    ("new", "PATCH", "/balloon/hinting/stop", {"now": True}, 400, 'unknown field "now": no field is allowed here'),
    ("new", "PATCH", "/balloon/hinting", {}, 400, "^Invalid request method and/or path"),
    ("new", "PUT", "/balloon/statistics", INTERVAL, 400, "Allowed for this path: PATCH, GET"),
    *[row for phase in ("running", "paused") for row in (  # the machine of these phases has no balloon
        (phase, "PUT", "/balloon", BALLOON, 400, AFTER),
        (phase, "GET", "/balloon", None, 400, '^Balloon config error: "balloon" is not configured$'),
        (phase, "PATCH", "/balloon", AMOUNT, 400, '^Balloon update error: "balloon" is not configured$'),
        (phase, "GET", "/balloon/statistics", None, 400, '^Internal VMM error: "balloon" is not configured$'),
        (phase, "PATCH", "/balloon/statistics", INTERVAL, 400, '^Balloon update error: "balloon" is not configured$'),
        (phase, "PATCH", "/balloon/hinting/start", None, 400, '^Balloon update error: "balloon" is not configured$'),
        (phase, "PATCH", "/balloon/hinting/stop", {}, 400, '^Balloon update error: "balloon" is not configured$'),
        (phase, "GET", "/balloon/hinting/status", None, 400, '^Balloon update error: "balloon" is not configured$'))],
    ("new", "PUT", "/balloon", {"amount_mib": 0, "deflate_on_oom": False}, 204, None),
]

SERIAL = [
    ("new", "PUT", "/serial", {"serial_out_path": "{directory}/serial", "rate_limiter": BUCKET}, 204, None),
    ("new", "PUT", "/serial", {}, 204, None),
    *wrong_values("new", "PUT", "/serial", {}, "serial_out_path", ["", 1]),
    ("new", "PUT", "/serial", {"rate_limiter": {"bandwidth": BUCKET}}, 400, 'unknown field "bandwidth"'),
    ("new", "PUT", "/serial", {"serial_socket_path": "{directory}/console"}, 204, None),
    ("new", "PUT", "/serial", {}, 204, None),
    *wrong_values("new", "PUT", "/serial", {}, "serial_socket_path", ["", 1, "x" * 108]),
    ("new", "PUT", "/serial", {"serial_socket_path": "{directory}/nowhere/console"}, 400,
     '^Serial config error: serial_socket_path ".*/nowhere/console": cannot examine the directory ".*/nowhere": '),
    ("new", "PUT", "/serial", {"serial_socket_path": "{kernel}"}, 400, "exists and is not a socket; it was left alone$"),
    ("new", "PUT", "/serial", {"serial_socket_path": "{directory}/console", "serial_out_path": "{directory}/serial"}, 400,
     'fields "serial_out_path" and "serial_socket_path": only one of them may be given'),
    *bad_bodies("PUT", "/serial", {}),
    ("running", "PUT", "/serial", {}, 400, AFTER),
    ("paused", "PUT", "/serial", {}, 400, AFTER),
]

LOGGER = [
    ("new", "PUT", "/logger", {}, 204, None),
    ("new", "PUT", "/logger", {"log_path": "{directory}/log", "level": "Info", "show_level": True, "show_log_origin": True,
                               "module": None}, 204, None),
    ("new", "PUT", "/logger", {"level": "warning"}, 204, None),
    ("new", "PUT", "/logger", {"log_path": "{directory}/no/log"}, 400, "^Logger error: .*No such file or directory"),
    *wrong_values("new", "PUT", "/logger", {}, "level", ["Loud", 1]),
    *wrong_values("new", "PUT", "/logger", {}, "show_level", [1, "yes"]),
    *wrong_values("new", "PUT", "/logger", {}, "show_log_origin", [1, "yes"]),
    *wrong_values("new", "PUT", "/logger", {}, "log_path", ["", 1]),
    *wrong_values("new", "PUT", "/logger", {}, "module", ["", 1, "x" * 65]),
    *bad_bodies("PUT", "/logger", {}),
    ("running", "PUT", "/logger", {}, 400, AFTER),
    ("paused", "PUT", "/logger", {}, 400, AFTER),
]

METRICS = [
    ("new", "PUT", "/metrics", {"metrics_path": "{directory}/no/metrics"}, 400, "^Metrics error: .*No such file or directory"),
    *missing("new", "PUT", "/metrics", {"metrics_path": "{directory}/metrics"}, "metrics_path"),
    *wrong_values("new", "PUT", "/metrics", {"metrics_path": "{directory}/metrics"}, "emit_id", [1, "yes"]),
    *wrong_values("new", "PUT", "/metrics", {"metrics_path": "{directory}/metrics"}, "properties", [1, [], {"a": 1}]),
    *bad_bodies("PUT", "/metrics", {"metrics_path": "{directory}/metrics"}),
    ("new", "PUT", "/metrics", {"metrics_path": "{directory}/metrics", "emit_id": True, "properties": {"a": "b"}}, 204, None),
    ("new", "PUT", "/metrics", {"metrics_path": "{directory}/metrics"}, 400,
     r"^Metrics error: Reinitialization of metrics not allowed\.$"),
    ("running", "PUT", "/metrics", {"metrics_path": "{directory}/metrics"}, 400, AFTER),
]

ACTIONS = [
    ("fresh", "PUT", "/actions", {"action_type": "InstanceStart"}, 400,
     r"^Start microvm error: Cannot start microvm without kernel configuration\.$"),
    ("new", "PUT", "/actions", {"action_type": "FlushMetrics"}, 400, BEFORE),
    ("new", "PUT", "/actions", {"action_type": "SendCtrlAltDel"}, 400, BEFORE),
    ("new", "PUT", "/actions", {"action_type": "SignalEntropyLeak"}, 400, BEFORE),
    *missing("new", "PUT", "/actions", {"action_type": "FlushMetrics"}, "action_type"),
    *wrong_values("new", "PUT", "/actions", {}, "action_type", [None, 1, "instancestart", "BlockDeviceRescan"]),
    *bad_bodies("PUT", "/actions", {"action_type": "FlushMetrics"}),
    *[row for phase in ("running", "paused") for row in (
        (phase, "PUT", "/actions", {"action_type": "InstanceStart"}, 400, AFTER),
        (phase, "PUT", "/actions", {"action_type": "FlushMetrics"}, 204, None),
        (phase, "PUT", "/actions", {"action_type": "SignalEntropyLeak"}, 204, None))],
]

VM = [
    ("new", "PATCH", "/vm", {"state": "Paused"}, 400, BEFORE),
    ("new", "PATCH", "/vm", {"state": "Resumed"}, 400, BEFORE),
    *missing("running", "PATCH", "/vm", {"state": "Resumed"}, "state"),
    *wrong_values("running", "PATCH", "/vm", {}, "state", [None, 1, "Running", "paused"]),
    *bad_bodies("PATCH", "/vm", {"state": "Resumed"}, "running"),
    *wrong_values("running", "PATCH", "/vm", {"state": "Resumed"}, "reseed_timeout_ms", [0, -1, 60001, 1.5, "1", True]),
    ("running", "PATCH", "/vm", {"state": "Paused", "reseed_timeout_ms": 1}, 400,
     r'^field "reseed_timeout_ms": 1 is not allowed with state Paused: expected with Resumed$'),
    ("running", "PATCH", "/vm", {"state": "Resumed", "reseed_timeout_ms": None}, 204, None),
    ("running", "PATCH", "/vm", {"state": "Resumed"}, 204, None),
    ("paused", "PATCH", "/vm", {"state": "Paused"}, 204, None),
]

SNAPSHOT_CREATE = [
    ("new", "PUT", "/snapshot/create", CREATE, 400, BEFORE),
    ("running", "PUT", "/snapshot/create", CREATE, 400, "^Create snapshot error: the microVM is running; pause it first$"),
    *missing("paused", "PUT", "/snapshot/create", CREATE, "snapshot_path", "mem_file_path"),
    *wrong_values("paused", "PUT", "/snapshot/create", CREATE, "snapshot_path", [None, "", 1]),
    *wrong_values("paused", "PUT", "/snapshot/create", CREATE, "mem_file_path", [None, "", 1]),
    *wrong_values("paused", "PUT", "/snapshot/create", CREATE, "snapshot_type", ["full", "diff", 1]),
    *bad_bodies("PUT", "/snapshot/create", CREATE, "paused"),
    ("paused", "PUT", "/snapshot/create", {**CREATE, "mem_file_path": "{directory}/state"}, 400, "two different files"),
    ("paused", "PUT", "/snapshot/create", {**CREATE, "version": "1.0.0"}, 400, 'unknown field "version"'),
    ("paused", "PUT", "/snapshot/create", {**CREATE, "snapshot_path": "{directory}/no/state"}, 400,
     "^Create snapshot error: .*No such file or directory"),
    ("paused", "PUT", "/snapshot/create", {**CREATE, "mem_file_path": "{directory}/no/mem"}, 400,
     "^Create snapshot error: .*No such file or directory"),
    ("paused", "PUT", "/snapshot/create", CREATE, 204, None),
    ("paused", "PUT", "/snapshot/create", {**CREATE, "snapshot_type": "Full"}, 204, None),
]

SNAPSHOT_LOAD = [
    ("running", "PUT", "/snapshot/load", LOAD, 400, AFTER),
    ("paused", "PUT", "/snapshot/load", LOAD, 400, AFTER),
    ("new", "PUT", "/snapshot/load", LOAD, 400, CONFIGURED),
    *missing("fresh", "PUT", "/snapshot/load", LOAD, "snapshot_path"),
    *wrong_values("fresh", "PUT", "/snapshot/load", LOAD, "snapshot_path", [None, "", 1]),
    *wrong_values("fresh", "PUT", "/snapshot/load", LOAD, "resume_vm", [1, "yes"]),
    *wrong_values("fresh", "PUT", "/snapshot/load", {**LOAD, "resume_vm": True}, "reseed_timeout_ms", [0, -1, 60001, 1.5, "1"]),
    ("fresh", "PUT", "/snapshot/load", {**LOAD, "reseed_timeout_ms": 9}, 400,
     r'^field "reseed_timeout_ms": 9 is not allowed without resume_vm: expected with the PATCH /vm that resumes the machine$'),
    *wrong_values("fresh", "PUT", "/snapshot/load", LOAD, "clock_realtime", [1, "yes"]),
    *wrong_values("fresh", "PUT", "/snapshot/load", LOAD, "track_dirty_pages", [1, "yes"]),
    *wrong_values("fresh", "PUT", "/snapshot/load", LOAD, "enable_diff_snapshots", [1, "yes"]),
    *wrong_values("fresh", "PUT", "/snapshot/load", LOAD, "network_overrides", [{}, "tap0", [{}] * 9]),
    *[("fresh", "PUT", "/snapshot/load", {**LOAD, "network_overrides": [item]}, 400, r"network_overrides\[0\]: " + pattern)
      for item, pattern in ((1, "1 is not allowed here"), ({}, "missing field"), ({"iface_id": "1"}, "missing field"),
                            ({"iface_id": "1", "host_dev_name": "a" * 16}, "field .host_dev_name.: .*is not allowed"),
                            ({"iface_id": "1", "host_dev_name": "a/b"}, "field .host_dev_name.: .*is not allowed"))],
    ("load", "PUT", "/snapshot/load", {**LOAD, "network_overrides": [{"iface_id": "1", "host_dev_name": "tap0"}]}, 400,
     "^Load snapshot error: .*the snapshot has no interface .1.: Unknown Network Device"),
    *wrong_values("fresh", "PUT", "/snapshot/load", LOAD, "vsock_override", [1, "/v", []]),
    ("fresh", "PUT", "/snapshot/load", {**LOAD, "vsock_override": {}}, 400, 'missing field "vsock_override.uds_path"'),
    ("fresh", "PUT", "/snapshot/load", {**LOAD, "vsock_override": {"uds_path": "/" + "v" * 107}}, 400,
     '"vsock_override.uds_path".*is not allowed: expected'),
    ("load", "PUT", "/snapshot/load", {**LOAD, "vsock_override": {"uds_path": "{directory}/v"}}, 400,
     "^Load snapshot error: vsock_override: the snapshot's machine has no vsock device"),
    *wrong_values("fresh", "PUT", "/snapshot/load", LOAD, "huge_pages", ["1G", False]),
    ("fresh", "PUT", "/snapshot/load", {"snapshot_path": "{directory}/state"}, 400, "either `mem_backend` or `mem_file_path`"),
    ("fresh", "PUT", "/snapshot/load", {**BACKEND, "mem_file_path": "{directory}/mem"}, 400, "^too many fields"),
    ("load", "PUT", "/snapshot/load", {**BACKEND, "mem_backend": {"backend_path": "/u", "backend_type": "Uffd"}}, 400,
     "^Load snapshot error: mem_backend: cannot connect to the page-fault handler at ./u.: No such file or directory"),
    ("fresh", "PUT", "/snapshot/load", {**BACKEND, "mem_backend": {"backend_path": "/u", "backend_type": "Uffd",
                                                                   "layers": ["/b"]}}, 400, "is not allowed with Uffd"),
    ("fresh", "PUT", "/snapshot/load", {**BACKEND, "mem_backend": {"backend_path": "/u"}}, 400,
     'missing field "mem_backend.backend_type"'),
    *[("fresh", "PUT", "/snapshot/load", {**BACKEND, "mem_backend": {**BACKEND["mem_backend"], **wrong}}, 400, pattern)
      for wrong, pattern in (({"working_set": "Maybe"}, 'working_set": "Maybe" is not allowed'),
                             ({"working_set": "Record", "working_set_ms": 0}, "working_set_ms.*is not allowed"),
                             ({"working_set_ms": 1}, "is not allowed with working_set Use"),
                             ({"working_set": "Ignore", "working_set_path": "/w"}, "is not allowed with working_set Ignore"),
                             ({"backend_type": "Uffd", "working_set": "Use"}, "is not allowed with Uffd"))],
    *bad_bodies("PUT", "/snapshot/load", LOAD, "fresh"),
    ("fresh", "PUT", "/snapshot/load", {**LOAD, "snapshot_path": "{directory}/none"}, 400,
     "^Load snapshot error: .*No such file or directory"),
    ("fresh", "PUT", "/snapshot/load", {**LOAD, "snapshot_path": "{disk}"}, 400, "^Load snapshot error: "),
    ("load", "PUT", "/snapshot/load", {**LOAD, "mem_file_path": "{directory}/none"}, 400,
     "^Load snapshot error: .*No such file or directory"),
    ("load", "PUT", "/snapshot/load", {**LOAD, "mem_file_path": "{disk}"}, 400, "^Load snapshot error: "),
    ("load", "PUT", "/snapshot/load", LOAD, 204, None),
    ("load", "PUT", "/snapshot/load", {**LOAD, "resume_vm": True}, 204, None),
    ("load", "PUT", "/snapshot/load", BACKEND, 204, None),
    ("load", "PUT", "/snapshot/load", {**BACKEND, "resume_vm": True, "enable_diff_snapshots": False,
                                       "track_dirty_pages": False, "network_overrides": [], "vsock_override": None,
                                       "huge_pages": "Snapshot"}, 204, None),
    ("load", "PUT", "/snapshot/load", {**BACKEND, "track_dirty_pages": True, "huge_pages": "Transparent"}, 204, None),
    ("load", "PUT", "/snapshot/load", {**BACKEND, "enable_diff_snapshots": True, "huge_pages": "None"}, 204, None),
]

# With interfaces: tests/system/test_mmds.py.
MMDS_CONFIG = {"network_interfaces": ["eth0"], "version": "V2"}
MMDS = [
    (phase, *row) for phase in ("new", "running", "paused") for row in (
        ("PUT", "/mmds", {"latest": {"meta-data": {"id": "i-1", "n": 1}}}, 204, None),
        ("PATCH", "/mmds", {"latest": {"meta-data": {"id": "i-2", "n": None}}}, 204, None),
        ("GET", "/mmds", None, 200, r'^\{"latest":\{"meta-data":\{"id":"i-2"\}\}\}$'),
        ("PUT", "/mmds", "[]", 400, "^MMDS error: metadata is a JSON object"),
        ("PATCH", "/mmds", "null", 400, "^invalid JSON at line 1"),
        ("PUT", "/mmds", {"a": "x" * 51180}, 204, None),
        ("PATCH", "/mmds", {"b": "x" * 20}, 413, "^MMDS limit exceeded error: The MMDS patch request doesn't fit"),
        ("PUT", "/mmds", {}, 204, None),
        ("GET", "/mmds", None, 200, r"^\{\}$"))
] + [
    *missing("new", "PUT", "/mmds/config", MMDS_CONFIG, "network_interfaces"),
    *wrong_values("new", "PUT", "/mmds/config", MMDS_CONFIG, "network_interfaces", [None, "eth0", 1, [1], [""], ["a"] * 9]),
    *wrong_values("new", "PUT", "/mmds/config", MMDS_CONFIG, "version", ["V3", 1, ""]),
    *wrong_values("new", "PUT", "/mmds/config", MMDS_CONFIG, "ipv4_address", ["", 1, "169.254.169.2545"]),
    *wrong_values("new", "PUT", "/mmds/config", MMDS_CONFIG, "ipv4_address",
                  ["10.0.0.1", "169.254.0.255", "169.254.255.0", "169.254.1"], r"The MMDS IPv4 address is not link local\."),
    *wrong_values("new", "PUT", "/mmds/config", MMDS_CONFIG, "imds_compat", [1, "true"]),
    ("new", "PUT", "/mmds/config", {"network_interfaces": []}, 400,
     r"The list of network interface IDs that allow forwarding MMDS requests is empty\."),
    ("new", "PUT", "/mmds/config", MMDS_CONFIG, 400, "^MMDS config error: The list of network interface IDs provided contains "
     "at least one ID that does not correspond to any existing network interface"),
    *bad_bodies("PUT", "/mmds/config", MMDS_CONFIG),
    *[(phase, "PUT", "/mmds/config", MMDS_CONFIG, 400, AFTER) for phase in ("running", "paused")],
] + [("fresh", "PATCH", "/mmds", {"a": 1}, 400, r"^MMDS error: The MMDS data store is not initialized\.$")]

# GETS come first: they show the defaults.
TABLE = (GETS + PATHS + MMDS + CPU_CONFIG + BOOT_SOURCE + MACHINE_CONFIG + DRIVES + NETWORK + VSOCK + ENTROPY + BALLOONS + SERIAL +
         LOGGER + METRICS + ACTIONS + VM + SNAPSHOT_CREATE + SNAPSHOT_LOAD)
PHASES = ("new", "fresh", "running", "paused", "load")


def rows(phase):
    return [row for row in TABLE if row[0] == phase]


def fill(value, files):
    """Puts paths into the strings of a body."""
    if isinstance(value, str):
        for name, path in files.items():
            value = value.replace("{" + name + "}", str(path))
        return value
    if isinstance(value, dict):
        return {key: fill(item, files) for key, item in value.items()}
    if isinstance(value, list):
        return [fill(item, files) for item in value]
    return value


def carry_out(connection, row, files):
    """Sends the request of a row. None, or a sentence that says what was wrong with the answer."""
    _, method, path, body, status, pattern = row
    if body is not None and not isinstance(body, str):
        body = json.dumps(fill(body, files))
    connection.request(method, path, body, {"Accept": "application/json", "Content-Type": "application/json"})
    response = connection.getresponse()
    text = response.read().decode()
    where = f"{row[0]}: {method} {path} {(body or '')[:200]}: {response.status} {text}"
    if response.status != status:
        return f"{where}: expected status {status}"
    if response.getheader("Server") != "Firecracker API":
        return f"{where}: no Server header"
    if status == 204 and text:
        return f"{where}: expected no body"
    if status != 204 and response.getheader("Content-Type") != "application/json":
        return f"{where}: expected JSON"
    fault = openapi.check(method, path, json.loads(body) if status == 204 and body else None, status,
                          json.loads(text) if text else None)
    if fault:
        return f"{where}: {fault}"
    if status == 204:
        return None
    if status in (400, 413):
        fault = json.loads(text)
        if list(fault) != ["fault_message"]:
            return f"{where}: expected a fault_message and nothing else"
        text = fault["fault_message"]
    return None if re.search(pattern, text) else f"{where}: expected {pattern!r}"
