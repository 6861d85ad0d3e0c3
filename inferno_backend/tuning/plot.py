"""The curves of both configurations as an SVG picture: throughput to the right, latency upwards. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

from inferno_backend.benchmark.curve import Step

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 720, 420, 64, 48, 48
_COLOURS = ("#8a8f98", "#d9480f", "#1c7ed6")


def svg(title: str, curves: Mapping[str, Sequence[Step]], objective_ms: float) -> str:
    """The picture; each curve has its name in the legend."""
    steps = [step for curve in curves.values() for step in curve]
    right = max((step.requests_per_second for step in steps), default=1.0) * 1.05
    top = min(max([objective_ms, *(step.p99_ms for step in steps)]), objective_ms * 4) * 1.05

    def x(value: float) -> float:
        return _LEFT + value / right * (_WIDTH - _LEFT - 24)

    def y(value: float) -> float:
        return _HEIGHT - _BOTTOM - min(value, top) / top * (_HEIGHT - _TOP - _BOTTOM)

    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif">',
        '<style>text { font-size: 12px }</style><rect width="100%" height="100%" fill="white"/>',
        f'<text x="{_LEFT}" y="20">{escape(title)}</text>',
        f'<path d="M{_LEFT} {_TOP}V{_HEIGHT - _BOTTOM}H{_WIDTH - 24}" fill="none" stroke="black"/>',
        f'<text x="{_WIDTH // 2}" y="{_HEIGHT - 10}" text-anchor="middle">requests/s</text>',
        f'<text x="14" y="{_HEIGHT // 2}" transform="rotate(-90 14 {_HEIGHT // 2})" text-anchor="middle">p99 ms</text>',
        f'<path d="M{_LEFT} {y(objective_ms):.1f}H{_WIDTH - 24}" stroke="#2b8a3e" stroke-dasharray="6 4"/>',
        f'<text x="{_WIDTH - 26}" y="{y(objective_ms) - 4:.1f}" text-anchor="end">objective {objective_ms:g} ms</text>',
    ]
    for share in (0.25, 0.5, 0.75, 1.0):
        lines.append(f'<text x="{x(right * share):.1f}" y="{_HEIGHT - _BOTTOM + 16}" text-anchor="middle">'
                     f"{right * share:.4g}</text>")  # fmt: skip
        lines.append(f'<text x="{_LEFT - 6}" y="{y(top * share) + 4:.1f}" text-anchor="end">{top * share:.3g}</text>')
    for number, (name, curve) in enumerate(curves.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        points = " ".join(f"{x(step.requests_per_second):.1f},{y(step.p99_ms):.1f}" for step in curve)
        lines.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        lines += [
            f'<circle cx="{x(step.requests_per_second):.1f}" cy="{y(step.p99_ms):.1f}" r="3" fill="{colour}">'
            f"<title>{step.concurrency} in flight</title></circle>"
            for step in curve
        ]
        at = 34 + 14 * number
        lines.append(f'<text x="{_WIDTH - 26}" y="{at}" text-anchor="end" fill="{colour}">{escape(name)}</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"
