"""A report as lines to print, and several reports as a Markdown table."""

from __future__ import annotations

from w2v2_jax.aot.chips import GIB
from w2v2_jax.batch import SAMPLE_RATE

HBM_KINDS = ("arguments", "temporaries", "outputs", "aliased", "code")


def gib(size: float | None) -> str:
    """Bytes as "1.50 GiB"; "?" if they are not known."""
    return "?" if size is None else f"{size / GIB:.2f} GiB"


def _memory_lines(report: dict) -> list[str]:
    hbm, room = report["hbm"], report["capacity"]
    verdict = "fits" if report["fits"] else "DOES NOT FIT"
    parts = ", ".join(f"{kind} {gib(hbm[kind])}" for kind in HBM_KINDS if kind in hbm)
    return [
        f"memory per chip {gib(hbm.get('total'))} of {gib(room)}: {verdict}",
        *([f"                {parts}"] if parts else []),
    ]


def _fuller_lines(report: dict) -> list[str]:
    if not report.get("fuller_batch"):
        return []
    rows, samples = report["fuller_batch"]
    return [
        f"                {rows} rows of {samples / SAMPLE_RATE:g} s hold more audio and may take "
        "more: --config.train.accumulate=auto looks at both"
    ]


def _time_lines(report: dict) -> list[str]:
    time = report["time"]
    if time["step"] is None:
        hidden = report["flops"]["compiled"] is None
        why = (
            "part of the work is in library calls" if hidden else "this device is not in the table"
        )
        return [f"time            not estimated: {why}"]
    least = "at least " if time["source"] == "roofline" else ""
    most = least.replace("least", "most")
    compute = time["compute"] if time["compute"] is not None else time["roofline"]
    lines = [
        f"time per step   {least}{time['step'] * 1e3:.1f} ms = {time['source']} "
        f"{compute * 1e3:.1f} + ICI {time['ici'] * 1e3:.1f} + DCN {time['dcn'] * 1e3:.1f}, "
        "nothing overlapped",
        f"                roofline {time['roofline'] * 1e3:.1f} ms",
    ]
    if time["cycles_left_out"]:
        lines.append(
            f"                {time['cycles_left_out']} operations of unknown cost left out"
        )
    if time["source"] == "roofline":
        lines.append(
            "                a lower bound: as if all products ran at the peak and memory at its "
            "rate (docs/aot.md says how far one GPU was from it)"
        )
    elif time.get("kernels"):
        lines.append(
            f"                of it {time['kernels']} runs of kernels, whose cycles the compiler "
            f"does not give, by their roofline: {time['kernels_by_roofline'] * 1e3:.1f} ms, a "
            "lower bound (--schedules counts their programs)"
        )
    lines.append(
        f"speed           {most}MFU {report['mfu']:.1%}, "
        f"{report['frames_per_second_per_chip']:,.0f} frames/s/chip, "
        f"{report['audio_hours_per_hour']:,.0f} h of audio per hour; "
        f"{least}{report['days_to_finish']:.2f} days for the recipe"
    )
    return lines


def _schedule_lines(report: dict) -> list[str]:
    result = report.get("schedule")
    if not result:
        return []
    lines = [
        f"by schedules    {result['seconds'] * 1e3:.1f} ms before exchanges, HBM limits "
        f"{result['memory'] * 1e3:.1f} of them; MFU {result['mfu']:.1%} with exchanges",
        f"                {result['without']} operations without a schedule, "
        f"{result['unknown_loops']} loops counted once",
        "parts of the network: ms by schedules, by XLA's cycles",
    ]
    for name, part in result["parts"].items():
        lines.append(f"  {part['seconds'] * 1e3:9.3f}{part['xla'] * 1e3:10.3f}  {name}")
    lines.append(
        "dearest by schedules: ms, limiting unit and how busy, ms of schedule, bytes, XLA's cycles"
    )
    for row in result["top"]:
        three = "".join(f"{row[key] * 1e3:9.3f}" for key in ("schedule", "memory", "xla"))
        busy = "" if row["busy"] is None else f"{row['busy']:.0%}"
        lines.append(
            f"  {row['seconds'] * 1e3:9.3f} {row['unit']:8}{busy:>4}{three}  {row['name']}  "
            f"{row['part']}"
        )
    return lines


def _collective_lines(report: dict) -> list[str]:
    lines = [
        f"collectives     ICI {report['ici_bytes'] / 1e6:,.1f} MB, DCN "
        f"{report['dcn_bytes'] / 1e6:,.1f} MB sent per chip and step"
    ]
    for row in report["collectives"]:
        axes = "x".join(row["axes"])
        size, ici, dcn = (row[key] / 1e6 for key in ("payload_bytes", "ici_bytes", "dcn_bytes"))
        lines.append(
            f"  {row['kind']:18} {axes:18} {row['count']:5} times {size:11,.2f} MB  "
            f"ICI {ici:,.2f}  DCN {dcn:,.2f}"
        )
    return lines


def _top_lines(report: dict) -> list[str]:
    lines = ["most expensive operations: share, times, bound, GFLOP, MB"]
    for row in report["top"]:
        lines.append(
            f"  {row['share']:6.1%} {row['times']:4} {row['bound']:8}{row['flops'] / 1e9:10.1f}"
            f"{row['bytes'] / 1e6:10.1f}  {row['name']}  {row['part']}"
        )
    return lines


def lines(report: dict) -> list[str]:
    """The whole report, one fact per line."""
    mesh = " x ".join(f"{axis} {size}" for axis, size in report["mesh"].items())
    text = [
        f"{report['config']} on {report['topology']} x {report['slices']}: {report['devices']} "
        f"{report['device']}, {mesh}",
        f"parameters      {report['parameters']:,}",
        f"batch           {report['rows']} rows of {report['samples'] / SAMPLE_RATE:g} s "
        f"({report['rows'] / report['recipe_rows']:.2f} of the recipe's), "
        f"{report['rows_per_shard']} a chip, {report['accumulate']} microbatches, "
        f"remat {report['remat']}",
        *([f"                {report['accumulate_auto']}"] if report["accumulate_auto"] else []),
        *_memory_lines(report),
        *_fuller_lines(report),
    ]
    if "collectives" in report:
        compiled = report["flops"]["compiled"]
        shown = "in library calls" if compiled is None else f"{compiled / 1e12:.3f} TFLOP"
        text.append(
            f"work per chip   model {report['flops']['model'] / 1e12:.3f} TFLOP, compiled {shown}, "
            f"{report['hbm_bytes_moved'] / 1e9:.1f} GB moved"
        )
        text += [*_time_lines(report), *_collective_lines(report), *_top_lines(report)]
        text += _schedule_lines(report)
        if report["unknown_loops"]:
            text.append(f"loops counted once: {', '.join(report['unknown_loops'])}")
    if "suggestion" in report:
        text.append(f"to make it fit: {report['suggestion']}")
    return text


def markdown(reports: list[dict]) -> str:
    """One row per report."""
    rows = [
        "| recipe | topology | chips | mesh | rows per chip | remat | HBM GiB of | fits "
        "| ms per step | MFU | h/h | days |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for one in reports:
        time = (one.get("time") or {}).get("step")
        slices = f" x {one['slices']}" if one["slices"] > 1 else ""
        cells = [
            one["config"].removeprefix("experiments/"),
            one["topology"] + slices,
            str(one["devices"]),
            "x".join(str(size) for size in one["mesh"].values()),
            f"{one['rows_per_shard']} x {one['accumulate']}",
            one["remat"],
            f"{(one['hbm'].get('total') or 0) / GIB:.1f} of {(one['capacity'] or 0) / GIB:.0f}",
            "yes" if one["fits"] else "no",
            f"{time * 1e3:.0f}" if time else "-",
            f"{one['mfu']:.0%}" if time else "-",
            f"{one['audio_hours_per_hour']:,.0f}" if time else "-",
            f"{one['days_to_finish']:.1f}" if time else "-",
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"
