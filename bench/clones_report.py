# SPDX-License-Identifier: Apache-2.0
"""
The table, the picture and the verdict of the clone experiment. Started by bench/clones.

    clones_report.py DIRECTORY PICTURE VARIANT...

DIRECTORY has VARIANT.N.json for each part of it, as clones_run.py writes it. PICTURE may be empty: none is drawn.
"""
import json
import pathlib
import subprocess
import sys

GNUPLOT = pathlib.Path(__file__).with_name("clones_plot.gp")
LABELS = {"none": "no protection", "vmgenid": "VM Generation ID", "vmgenid-7.3": "VM Generation ID, 7.3",
          "vmclock-7.3": "VMClock, 7.3", "module": "our module", "patched": "patched kernel",
          "patched-6.12": "patched kernel, 6.12", "patched-7.3": "patched kernel, 7.3",
          "patched-6.12-leaks": "patched kernel, 6.12, leak queues alone",
          "patched-7.3-leaks": "patched kernel, 7.3, leak queues and VMClock",
          "patched-7.3-vmclock": "patched kernel, 7.3, VMClock alone", "qemu-none": "QEMU, no driver", "qemu-vmgenid": "QEMU, VM Generation ID",
          "qemu-patched": "QEMU, patched kernel", "qemu-patched-6.12": "QEMU, patched kernel, 6.12",
          "qemu-patched-7.3": "QEMU, patched kernel, 7.3",
          "qemu-same-id": "QEMU, patched kernel, one ID"}
WAYS = {"full": "full snapshot", "diff": "chain of diffs", "uffd": "page-fault handler", "huge": "huge pages",
        "working-set": "working set", "paused": "resumed later"}
QEMU = "qemu-"  # how the names of its variants begin
COLUMNS = ["variant", "kernel", "snapshots", "machines", "results", "violations", "machines with any",
           "window, calls", "window, guest ms"]


class Vcpu:
    """One vCPU in one life of a machine. Its window reaches to the last call that gave what another machine got, too."""

    def __init__(self, readers):
        self.calls = sum(reader["equal"] for reader in readers)
        self.ms = max(reader["span_ns"] for reader in readers) / 1e6
        # Up to the end of a ring: the window may be longer than what was recorded.
        self.open = any(reader["equal"] and reader["last_equal"] == reader["calls"] for reader in readers)


class Machine:
    def __init__(self, data):
        self.role = data["role"]
        self.full = data["full"]
        self.results = sum(reader["calls"] for reader in data["readers"])
        self.violates = any(reader["equal"] for reader in data["readers"])
        numbers = sorted({reader["vcpu"] for reader in data["readers"]})
        self.vcpus = [Vcpu([reader for reader in data["readers"] if reader["vcpu"] == n]) for n in numbers]


class Result:
    """One variant, of all its parts; if there are ways of restoring, in one of them."""

    def __init__(self, variant, way, parts):
        rounds = [entry for part in parts for entry in part["rounds"] if entry["way"] == way]
        self.variant = variant
        self.label = f"{LABELS[variant]}, {WAYS[way]}" if way else LABELS[variant]
        self.kernel = parts[0]["kernel"]
        self.emulated = parts[0]["emulated"]
        self.snapshots = len(rounds)
        self.wanted_clones = sum(part["snapshots"] * part["clones"] for part in parts)
        self.violations = sum(entry["violations"] for entry in rounds)
        self.late = sum(entry["late"] for entry in rounds)
        self.unserved = sum(entry["unserved"] for entry in rounds)
        self.early_unarmed = sum(entry["early_unarmed"] for entry in rounds)
        self.early = sum(entry["early"] for entry in rounds) - self.early_unarmed
        self.machines = [Machine(machine) for entry in rounds for machine in entry["machines"]]
        self.clones = sum(machine.role == "clone" and machine.full for machine in self.machines)
        self.results = sum(machine.results for machine in self.machines)
        # What one machine alone has was compared with nothing.
        self.empty = sum(sum(Machine(machine).results > 0 for machine in entry["machines"]) < 2 for entry in rounds)
        # Only of machines that ran for long enough, and of vCPUs that have a window at all.
        self.vcpus = [vcpu for machine in self.machines if machine.full for vcpu in machine.vcpus]

    def window(self, value, form):
        """Median and maximum; with a sign if what was recorded ended before the window did."""
        windows = sorted((value(vcpu), vcpu.open) for vcpu in self.vcpus if vcpu.calls)
        if not windows:
            return "none"
        return " / ".join(("≥ " if is_open else "") + format(number, form)
                          for number, is_open in (windows[len(windows) // 2], windows[-1]))

    def row(self):
        any_violation = sum(machine.violates for machine in self.machines)
        return [self.label, self.kernel, str(self.snapshots), f"{len(self.machines)}", f"{self.results:,}",
                f"{self.violations:,}", f"{any_violation}",
                self.window(lambda vcpu: vcpu.calls, ",d"), self.window(lambda vcpu: vcpu.ms, ",.1f")]


def print_table(results):
    """As Markdown, so that it can go into the documentation as it is."""
    rows = [COLUMNS] + [result.row() for result in results]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    rows.insert(1, ["-" * width for width in widths])
    print()
    for row in rows:
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |")
    print("\nmachines: clones, originals that went on, and the clone that is the next original.\n"
          "violations: different 16-byte strings that two machines from one snapshot returned, by calls begun after the resume.\n"
          "window: of the vCPUs that have one, median / maximum; ≥: it was longer than the record of results.")
    for result in results:
        print(f"{result.label}: {result.clones} of {result.wanted_clones} clones ran until their rings were full; "
              f"{result.late} calls that were in progress at the resume gave what another machine got (no violations); "
              f"{result.unserved} of them had not got it before the snapshot; "
              f"{result.early} readers went on after the resume before the counter had moved, and {result.early_unarmed} in machines "
              "of a snapshot that came before the driver had armed the next event.")
    if any(result.emulated for result in results):
        print("Measured in emulated machines: their times can be compared with each other, and with nothing else.")


def draw(results, directory, picture):
    data = directory / "vcpus.tsv"
    with open(data, "w") as file:
        file.write("variant\tx\tcalls\tms\n")
        for column, result in enumerate(results):
            for number, vcpu in enumerate(result.vcpus):
                spread = (number * 0.618034) % 1 - 0.5  # golden ratio: even, and the same each time
                file.write(f"{result.variant}\t{column + 0.6 * spread:.3f}\t{vcpu.calls}\t{vcpu.ms:.3f}\n")
    labels = ", ".join(f'"{LABELS[result.variant]}\\n{result.violations:,} violations\\n{len(result.machines)} machines" {column}'
                       for column, result in enumerate(results))
    subprocess.run(["gnuplot", "-e", f"data='{data}'; picture='{picture}'; columns={len(results)}",
                    "-e", f"set xtics ({labels})", str(GNUPLOT)], check=True)


def fault_of_patched(result):
    """Of a variant that must show nothing: why it has failed, or None."""
    if result.snapshots == 0 or result.empty:
        return (f"nothing was compared: of {result.snapshots} snapshots there are {result.empty} of which less than two machines "
                "have results")
    if result.violations:
        return f"{result.violations} violations, and there must be none"
    if result.unserved:
        return f"{result.unserved} calls in progress at the resume got after it what another machine got, and none must"
    if result.early:
        return f"{result.early} readers went on after the resume before they could know of it"
    if result.clones * 10 < result.wanted_clones * 9:
        return f"only {result.clones} of {result.wanted_clones} clones ran until their rings were full"
    return None


def verdict(results, monitor):
    """Why the experiment has failed with this monitor, in a sentence; None if it has not. All names begin with `monitor`."""
    found = [(result.variant.removeprefix(monitor), result) for result in results]
    all_patched = [result for name, result in found if name.startswith("patched")]
    if not all_patched or all(name != "none" for name, _ in found):
        return f"without the variant {monitor}none, and one that is patched, there is nothing to be judged"
    for patched in all_patched:
        fault = fault_of_patched(patched)
        if fault:
            return f"{patched.label} ({patched.kernel}): {fault}"
    for name, result in found:
        if name == "none" and not result.violations:
            return f"{result.label} shows no violation: the experiment could not have found one"
        if name == "same-id" and not result.violations:
            return f"{result.label} shows no violation: with this kernel the experiment could not have found one"
    return None


def judge(results):
    """Each monitor by itself: that one shows violations does not say that they could have been found with the other."""
    qemu = [result for result in results if result.variant.startswith(QEMU)]
    ours = [result for result in results if not result.variant.startswith(QEMU)]
    return (verdict(ours, "") if ours else None) or (verdict(qemu, QEMU) if qemu else None)


def read_results(directory, variant):
    """One for each way that was asked for, whether there is anything of it or not."""
    parts = [json.loads(path.read_text()) for path in sorted(directory.glob(f"{variant}.*.json"))]
    return [Result(variant, way, parts) for way in parts[0]["ways"]]


def main():
    directory, picture, *variants = sys.argv[1:]
    directory = pathlib.Path(directory)
    results = [result for variant in variants for result in read_results(directory, variant)]
    print_table(results)
    if picture:
        draw(results, directory, picture)
        print(f"Picture: {picture}")
    failure = judge(results)
    if failure:
        sys.exit(f"bench/clones: {failure}")
    print("The patched kernel shows no violation where no protection shows some.")


main()
