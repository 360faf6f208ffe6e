"""Draws the scatter plot of predicted against measured efficiency, as an SVG file.

The same verdicts give the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import ceil, floor, log10

from compiler.macros.validation import Verdict, summary

SIDE = 520
LEFT, TOP, RIGHT, BOTTOM = 70, 54, 150, 56
# Colours that the colour-blind can tell apart (Okabe and Ito), and shapes that survive printing in
# grey.
STYLES = {
    "AIMC-SRAM": ("#0072b2", "circle"),
    "DIMC-SRAM": ("#d55e00", "square"),
    "AIMC-NVM": ("#009e73", "triangle"),
    "AIMC-eDRAM": ("#cc79a7", "diamond"),
    "DIGITAL": ("#555555", "cross"),
}


def plot(verdicts: Sequence[Verdict], title: str) -> str:
    """Draws the SVG picture; rows without a measure or a prediction are not in it."""
    points = [
        (v, log10(v.row.measured_tops_w), v.tops_w)
        for v in verdicts
        if v.tops_w is not None and v.row.measured_tops_w is not None
    ]
    ends = [x for _, x, _ in points] + [log10(t.value) for _, _, t in points] or [0.0, 1.0]
    low, high = floor(min(ends)), max(ceil(max(ends)), floor(min(ends)) + 1)
    width, height = LEFT + SIDE + RIGHT, TOP + SIDE + BOTTOM

    def at(measured: float, predicted: float) -> tuple[float, float]:
        share = SIDE / (high - low)
        return LEFT + (measured - low) * share, TOP + SIDE - (predicted - low) * share

    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="13">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<clipPath id="area"><rect x="{LEFT}" y="{TOP}" width="{SIDE}" height="{SIDE}"/>'
        "</clipPath>",
        f'<text x="{LEFT}" y="22" font-size="15" font-weight="bold">{escape(title)}</text>',
        f'<text x="{LEFT}" y="42">{escape(_caption(verdicts))}</text>',
    ]
    for power in range(low, high + 1):
        x, y = at(power, power)
        lines += [
            _line(x, TOP, x, TOP + SIDE, "#dddddd"),
            _line(LEFT, y, LEFT + SIDE, y, "#dddddd"),
            f'<text x="{x:.1f}" y="{TOP + SIDE + 18}" text-anchor="middle">{10.0**power:g}</text>',
            f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{10.0**power:g}</text>',
        ]
    for offset, dash in ((0.0, ""), (log10(2), "6 4"), (-log10(2), "6 4")):
        ends_of_line = (*at(low, low + offset), *at(high, high + offset))
        lines.append(_line(*ends_of_line, "#888888", dash, clipped=True))
    for verdict, measured, tops_w in points:
        colour, shape = STYLES.get(verdict.row.group, ("#000000", "circle"))
        x, y = at(measured, log10(tops_w.value))
        bottom, top = at(measured, log10(tops_w.low))[1], at(measured, log10(tops_w.high))[1]
        lines.append(_line(x, bottom, x, top, colour, opacity=0.3, clipped=True))
        hint = (
            f"{verdict.row.name}: predicted {tops_w.value:.3g}, "
            f"measured {verdict.row.measured_tops_w:.4g} TOPS/W"
        )
        lines.append(
            f"<g><title>{escape(_printable(hint))}</title>{_mark(shape, x, y, colour)}</g>"
        )
    shown = [group for group in STYLES if any(v.row.group == group for v, _, _ in points)]
    for place, group in enumerate(shown):
        colour, shape = STYLES[group]
        y = TOP + 14 + 22 * place
        lines.append(_mark(shape, LEFT + SIDE + 20, y, colour))
        lines.append(f'<text x="{LEFT + SIDE + 34}" y="{y + 4}">{escape(group)}</text>')
    middle = TOP + SIDE / 2
    lines += [
        f'<rect x="{LEFT}" y="{TOP}" width="{SIDE}" height="{SIDE}" fill="none" stroke="#333333"/>',
        f'<text x="{LEFT + SIDE / 2:.0f}" y="{TOP + SIDE + 42}" text-anchor="middle">'
        "measured (TOPS/W)</text>",
        f'<text transform="translate(20 {middle:.0f}) rotate(-90)" text-anchor="middle">'
        "predicted (TOPS/W)</text>",
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _caption(verdicts: Sequence[Verdict]) -> str:
    found = summary(verdicts)
    if found is None:
        return "nothing to compare"
    return (
        f"{found.compared} rows, mean |log10 error| {found.mean_log_error:.2f}, "
        f"{100 * found.inside:.0f} % inside the interval; dashed: a factor of 2"
    )


def _printable(text: str) -> str:
    return "".join(letter for letter in text if letter.isprintable())


def _line(
    x0: float, y0: float, x1: float, y1: float, colour: str, dash: str = "",
    *, opacity: float = 1.0, clipped: bool = False,
) -> str:  # fmt: skip
    more = f' stroke-dasharray="{dash}"' if dash else ""
    more += f' stroke-opacity="{opacity:g}"' if opacity < 1 else ""
    more += ' clip-path="url(#area)"' if clipped else ""
    return (
        f'<line x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}" stroke="{colour}"{more}/>'
    )


def _mark(shape: str, x: float, y: float, colour: str) -> str:
    corners = {
        "square": ((-4, -4), (4, -4), (4, 4), (-4, 4)),
        "triangle": ((0, -5), (5, 4), (-5, 4)),
        "diamond": ((0, -6), (6, 0), (0, 6), (-6, 0)),
        "cross": (
            (-5, -2), (-2, -2), (-2, -5), (2, -5), (2, -2), (5, -2),
            (5, 2), (2, 2), (2, 5), (-2, 5), (-2, 2), (-5, 2),
        ),
    }  # fmt: skip
    if shape not in corners:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{colour}"/>'
    points = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in corners[shape])
    return f'<polygon points="{points}" fill="{colour}"/>'
