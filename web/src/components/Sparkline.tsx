// A small line with its area, in SVG: no axes, the shape only. Gaps stay gaps.
import { useMemo } from 'preact/hooks';

interface Props {
  points: (number | null)[];
  color?: string;
  width?: number;
  height?: number;
  min?: number | undefined;
  max?: number | undefined;
}

export function Sparkline({ points, color = 'var(--accent)', width = 240, height = 48, min, max }: Props) {
  const { line, area } = useMemo(() => shape(points, width, height, min, max), [points, width, height, min, max]);
  return (
    <svg class="spark" viewBox={`0 0 ${width} ${height}`} preserveAspectRatio="none" aria-hidden="true">
      <path d={area} fill={color} opacity="0.14" />
      <path d={line} fill="none" stroke={color} stroke-width="1.5" vector-effect="non-scaling-stroke" stroke-linejoin="round" stroke-linecap="round" />
    </svg>
  );
}

function shape(points: (number | null)[], width: number, height: number, min?: number, max?: number) {
  const known = points.filter((p): p is number => p !== null && Number.isFinite(p));
  if (known.length === 0) return { line: '', area: '' };
  let low = min ?? Math.min(...known);
  let high = max ?? Math.max(...known);
  if (high - low < Math.abs(high) * 0.02 || high === low) {
    // A flat series reads as a flat line in the lower half, not as noise blown up.
    const pad = Math.abs(high) * 0.1 || 1;
    low = min ?? low - pad;
    high += pad;
  }
  const x = (i: number): number => (points.length < 2 ? width : (i / (points.length - 1)) * width);
  const y = (v: number): number => height - 2 - ((v - low) / (high - low || 1)) * (height - 6);
  let line = '';
  let area = '';
  let start = -1;
  points.forEach((value, i) => {
    const ok = value !== null && Number.isFinite(value);
    if (ok) {
      const at = `${x(i).toFixed(1)} ${y(value).toFixed(1)}`;
      line += `${start < 0 ? 'M' : 'L'}${at}`;
      area += start < 0 ? `M${x(i).toFixed(1)} ${height}L${at}` : `L${at}`;
      if (start < 0) start = i;
    }
    const last = i === points.length - 1;
    if (start >= 0 && (!ok || last)) {
      // A point alone is drawn as a dot: round caps need a line of some length.
      if (start === (ok ? i : i - 1)) line += 'h0.01';
      area += `L${x(ok ? i : i - 1).toFixed(1)} ${height}Z`;
      start = -1;
    }
  });
  return { line, area };
}
