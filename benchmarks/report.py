"""The table, the JSON and the bar chart."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from pathlib import Path
from typing import Any

from benchmarks.libraries import CONTENDERS
from benchmarks.runner import Line, Options

TITLE_WIDTH = 52
SHORT = {
    "flambeau": "Flambeau",
    "flambeau-compiled": "compiled",
    "pytorch": "PyTorch",
    "pytorch-compiled": "inductor",
    "jax": "JAX",
}
RATIOS = {"plain": "plain", "compiled": "compiled", "floor": "JAX"}


def about(options: Options) -> dict[str, Any]:
    """Under what conditions the figures were taken."""
    versions = {}
    for module in ("flambeau", "torch", "jax", "numpy"):
        try:
            versions[module] = importlib.metadata.version(module)
        except importlib.metadata.PackageNotFoundError:
            versions[module] = "from the tree" if module == "flambeau" else None
    return {
        "device": options.setting.device,
        "dtype": options.setting.dtype,
        "threads": options.threads,
        "rounds": options.rounds,
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "machine": platform.machine(),
        "python": platform.python_version(),
        "versions": versions,
    }


def duration(seconds: float | None) -> str:
    """Seconds as a person reads them."""
    if seconds is None:
        return "-"
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} us"
    if seconds < 1:
        return f"{seconds * 1e3:.3g} ms" if seconds < 0.1 else f"{seconds * 1e3:.0f} ms"
    return f"{seconds:.3g} s"


def heading(options: Options) -> str:
    """What stands above the table."""
    facts = about(options)
    versions = ", ".join(f"{name} {version or 'absent'}" for name, version in facts["versions"].items())
    columns = "".join(f"{SHORT[name]:>10}" for name in options.contenders)
    ratios = "".join(f"{name:>9}" for name in RATIOS.values())
    return "\n".join(
        [
            f"{facts['device']}, {facts['dtype']}, {facts['threads']} threads; {versions}",
            f"Medians of {options.rounds} interleaved rounds. Ratios: PyTorch's better time by Flambeau's plain and",
            "compiled time, and JAX's by Flambeau's compiled time: over 1, Flambeau is faster.",
            "",
            f"{'':{TITLE_WIDTH}}{columns}  {ratios}",
        ]
    )


def row(line: Line, options: Options) -> str:
    """A line of the table, and under it what is to be said about it."""
    times = "".join(f"{duration(line.median(name)):>10}" for name in options.contenders)
    ratios = "".join(f"{'-' if ratio is None else f'{ratio:.2f}':>9}" for ratio in line.ratios().values())
    rows = [f"{line.number:>2} {line.title:{TITLE_WIDTH - 3}.{TITLE_WIDTH - 4}}{times}  {ratios}"]
    for name, note in line.notes.items():
        if name in line.failed:
            rows.append(f"     {CONTENDERS[name]} FAILED: {note}")
    return "\n".join(rows)


def absent(lines: list[Line]) -> list[str]:
    """Contenders that took no part, with the reasons, each said once."""
    reasons = {(name, note): None for line in lines for name, note in line.notes.items() if name not in line.failed}
    return [f"{CONTENDERS[name]} left out: {note}" for name, note in reasons]


def memory(lines: list[Line], wanted: set[str], options: Options) -> str:
    """A table of peak memory: of the device if there is one, otherwise of the process."""
    place, key = ("process", "peak_bytes") if options.setting.device == "cpu" else ("device", "device_bytes")
    columns = "".join(f"{SHORT[name]:>10}" for name in options.contenders)
    title = f"Peak memory of the {place} in MiB; ratios to PyTorch's"
    rows = [f"{title:{TITLE_WIDTH}}{columns}  {'plain':>9}{'compiled':>9}"]
    for line in lines:
        if line.name not in wanted or not line.memory:
            continue
        held = {name: found[key] for name, found in line.memory.items() if found[key]}
        cells = [f"{held[name] / 2**20:.0f}" if name in held else "-" for name in options.contenders]
        ratios = []
        for name in ("flambeau", "flambeau-compiled"):
            known = name in held and "pytorch" in held
            ratios.append(f"{held[name] / held['pytorch']:.2f}" if known else "-")
        figures = "".join(f"{cell:>10}" for cell in cells) + "  " + "".join(f"{ratio:>9}" for ratio in ratios)
        rows.append(f"{line.number:>2} {line.title:{TITLE_WIDTH - 3}.{TITLE_WIDTH - 4}}{figures}")
    return "\n".join(rows) if len(rows) > 1 else ""


def as_json(lines: list[Line], options: Options) -> dict[str, Any]:
    """Everything that was measured."""
    return {
        "about": about(options),
        "lines": [
            {
                "number": line.number,
                "name": line.name,
                "title": line.title,
                "medians": {name: line.median(name) for name in line.seconds},
                "seconds": line.seconds,
                "best_peer": line.best_peer(),
                "ratios": line.ratios(),
                "memory": line.memory,
                "notes": line.notes,
                "failed": sorted(line.failed),
            }
            for line in lines
        ],
    }


def write(lines: list[Line], options: Options, directory: Path, name: str) -> list[str]:
    """Writes the JSON and the chart; what to tell about it."""
    directory.mkdir(parents=True, exist_ok=True)
    data = directory / f"{name}.json"
    data.write_text(json.dumps(as_json(lines, options), indent=1) + "\n")
    told = [f"wrote {data}"]
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        return [*told, f"no chart: {error}"]
    picture = directory / f"{name}.png"
    shown = [line for line in lines if line.best_peer()]
    if shown:
        chart(shown, options, Figure(figsize=(10, 1.4 + 0.5 * len(shown)), layout="constrained")).savefig(
            picture, dpi=150
        )
        told.append(f"wrote {picture}")
    return told


def chart(lines: list[Line], options: Options, figure: Any) -> Any:
    """Bars of speed relative to PyTorch's better form, one group per line."""
    axes = figure.subplots()
    names = [name for name in options.contenders if any(line.seconds.get(name) for line in lines)]
    height = 0.84 / len(names)
    for k, name in enumerate(names):
        speeds = [line.ratio(line.best_peer(), name) or 0.0 for line in lines]
        places = [i + (k - (len(names) - 1) / 2) * height for i in range(len(lines))]
        axes.barh(places, speeds, height * 0.92, label=CONTENDERS[name])
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(lambda speed, _: f"{speed:g}")
    axes.set_yticks(range(len(lines)), [f"{line.number}. {line.title}" for line in lines], fontsize=8)
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.set_xlabel("speed, relative to the better of PyTorch eager and compiled (1 is as fast, 2 takes half as long)")
    axes.grid(axis="x", alpha=0.25)
    axes.set_axisbelow(True)
    facts = about(options)
    title = f"{facts['device']}, {facts['dtype']}, {facts['threads']} threads"
    figure.legend(fontsize=8, loc="outside upper center", ncols=len(names), frameon=False, title=title)
    return figure
