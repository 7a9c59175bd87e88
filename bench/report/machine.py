"""machine.py: what a figure was measured on, as claudebench-bench --json has it under "machine", for the reports that are not of one run of it."""

import os
import platform
import time


def facts():
    """{date, cpu, cores, memory_mib, kernel, load}; the load is the average of the last minute."""
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as f:
        cpu = next((line.partition(":")[2].strip() for line in f if line.startswith("model name")), "unknown CPU")
    return {"date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()), "cpu": cpu, "cores": os.cpu_count(),
            "memory_mib": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20, "kernel": f"{platform.system()} {platform.release()}",
            "load": os.getloadavg()[0]}


def line(m):
    """The line of a report's heading."""
    return f"- machine: {m['cpu']}, {m['cores']} cores, {m['memory_mib']} MiB, {m['kernel']}; load average at the start {m['load']:.2f}"
