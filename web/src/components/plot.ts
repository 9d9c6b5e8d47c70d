// How our graphs set uPlot up: axes in our units, scales, thresholds, zoom and tooltip.
import uPlot from 'uplot';
import { cssColor, withAlpha } from '../lib/colors';
import { dateTime, t } from '../lib/i18n';
import type { Span } from '../lib/time';
import { format } from '../lib/units';

export interface GraphSeries {
  name: string;
  color: string;
  values: (number | null)[];
  unit: string;
  decimals?: number | null | undefined;
  width?: number;
  /** 0–100 */
  fill?: number;
  draw?: 'line' | 'bars' | 'points';
  step?: 'before' | 'after' | undefined;
  smooth?: boolean;
  dash?: number[] | undefined;
  /** Series with the same word here stand on each other. */
  stack?: string | undefined;
  right?: boolean;
  hidden?: boolean;
  spanGaps?: boolean;
  points?: boolean;
}

export interface Threshold {
  value: number;
  color: string;
}

export interface GraphProps {
  times: number[];
  series: GraphSeries[];
  span: Span;
  unit: string;
  log?: boolean;
  percentStack?: boolean;
  min?: number | undefined;
  max?: number | undefined;
  softMin?: number | undefined;
  softMax?: number | undefined;
  thresholds?: Threshold[] | undefined;
  thresholdLines?: boolean;
  thresholdAreas?: boolean;
  onZoom?: ((span: Span) => void) | undefined;
  /** Graphs with the same key share the cursor. */
  sync?: string | undefined;
  label: string;
}

/** What the plot's callbacks read, as of the last drawing. */
export interface Latest { times: number[]; series: GraphSeries[]; span: Span }

const TOOLTIP_ROWS = 16;
const MIN_ZOOM_PX = 6;

/** Bytes are counted in powers of two, and so are the steps of their axis. */
const BINARY_UNIT = /^(bytes|kbytes|mbytes|gbytes|bits|binBps|binbps)$/;
const BINARY_STEPS = Array.from({ length: 62 }, (_, i) => 2 ** (i - 10));

export function plotOptions(
  props: GraphProps,
  bands: uPlot.Band[],
  size: { width: number; height: number },
  zoomed: (from: number, to: number) => void,
  latest: () => Latest,
): uPlot.Options {
  const { series } = props;
  const hasRight = series.some((s) => s.right && !s.hidden);
  return {
    width: size.width,
    height: size.height,
    padding: [8, hasRight ? 0 : 18, 0, 0],
    legend: { show: false },
    cursor: {
      y: false,
      points: { size: 7, width: 0, fill: (_, i) => series[i - 1]?.color ?? cssColor('--muted') },
      drag: { x: true, y: false, setScale: false },
      focus: { prox: 24 },
      ...(props.sync ? { sync: { key: props.sync, scales: ['x', null] as [string, null], setSeries: false } } : {}),
    },
    focus: { alpha: 1 },
    bands,
    scales: scales(props, hasRight, latest),
    axes: axes(props, hasRight),
    series: [{}, ...series.map((s) => plotSeries(s))],
    hooks: {
      ...zoomHooks(zoomed),
      drawClear: props.thresholdAreas ? [(u) => thresholdAreas(u, props.thresholds ?? [])] : [],
      draw: props.thresholdLines ? [(u) => thresholdLines(u, props.thresholds ?? [])] : [],
    },
    plugins: [tooltip(latest)],
  };
}

function scales({ log, ...bounds }: GraphProps, hasRight: boolean, latest: () => Latest): uPlot.Scales {
  return {
    x: { time: true, range: () => [latest().span.from / 1000, latest().span.to / 1000] },
    y: log ? { distr: 3, log: 10 } : { range: (_, low, high) => yRange(low, high, bounds) },
    ...(hasRight ? { right: { range: (_: uPlot, low: number | null, high: number | null) => yRange(low, high, {}) } } : {}),
  };
}

function axes({ series, unit, percentStack }: GraphProps, hasRight: boolean): uPlot.Axis[] {
  const grid = { stroke: cssColor('--grid'), width: 1 };
  const look = { stroke: cssColor('--muted'), font: `11px ${cssColor('--font')}`, ticks: { show: false }, gap: 6 };
  const vertical = (scale: string, side: 1 | 3, axisUnit: string): uPlot.Axis => ({
    ...look,
    scale,
    side,
    grid: { ...grid, show: side === 3 },
    size: (u, values) => widest(u, values),
    space: 34,
    ...(BINARY_UNIT.test(axisUnit) ? { incrs: BINARY_STEPS } : {}),
    values: (_, splits) => axisValues(splits, axisUnit),
  });
  return [
    { ...look, grid, size: 26, space: 72, values: (_, splits, __, ___, increment) => splits.map((s) => timeTick(s * 1000, increment)) },
    vertical('y', 3, percentStack ? 'percent' : unit),
    ...(hasRight ? [vertical('right', 1, series.find((s) => s.right)?.unit ?? unit)] : []),
  ];
}

/** The room that an axis needs for its longest text. */
function widest(u: uPlot, values: string[] | null): number {
  if (!values) return 36;
  u.ctx.font = `${11 * devicePixelRatio}px ${cssColor('--font')}`;
  const longest = Math.max(0, ...values.map((v) => u.ctx.measureText(v ?? '').width));
  return Math.ceil(longest / devicePixelRatio) + 12;
}

/** Graphs that share a cursor share selections too: only the one that was pressed zooms. */
function zoomHooks(zoomed: (from: number, to: number) => void): uPlot.Hooks.Arrays {
  let pressed = false;
  return {
    init: [(u) => u.over.addEventListener('mousedown', () => { pressed = true; })],
    setSelect: [
      (u) => {
        const own = pressed;
        pressed = false;
        if (!own || u.select.width < MIN_ZOOM_PX) return;
        zoomed(u.posToVal(u.select.left, 'x') * 1000, u.posToVal(u.select.left + u.select.width, 'x') * 1000);
        u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
      },
    ],
  };
}

/** As many decimals as it takes for every line of the scale to read differently. */
function axisValues(splits: number[], unit: string): string[] {
  const write = (decimals?: number): string[] => splits.map((v) => (v === null ? '' : format(Number(v.toPrecision(12)), unit, decimals)));
  let texts = write();
  for (let decimals = 1; decimals <= 6 && new Set(texts).size < texts.length; decimals += 1) texts = write(decimals);
  return texts;
}

interface Bounds { min?: number | undefined; max?: number | undefined; softMin?: number | undefined; softMax?: number | undefined }

function yRange(low: number | null, high: number | null, p: Bounds): uPlot.Range.MinMax {
  if (low === null || high === null) return [p.min ?? 0, p.max ?? 1];
  let from = Math.min(low, p.softMin ?? low);
  let to = Math.max(high, p.softMax ?? high);
  // Zero is kept in sight when the data come near it.
  if (from >= 0 && from < to * 0.75) from = 0;
  if (from === to) {
    const pad = Math.abs(to) * 0.1 || 1;
    if (from !== 0) from -= pad;
    to += pad;
  } else {
    const pad = (to - from) * 0.06;
    to = to > 0 || high > 0 ? to + pad : to;
    if (from < 0) from -= pad;
  }
  return [p.min ?? from, p.max ?? to];
}

function timeTick(ms: number, incrementSeconds: number): string {
  if (incrementSeconds >= 86_400) return dateTime(ms, { day: 'numeric', month: 'short' });
  const day = new Date(ms);
  if (incrementSeconds >= 3600 && day.getHours() === 0 && day.getMinutes() === 0) {
    return dateTime(ms, { day: 'numeric', month: 'short' });
  }
  return dateTime(ms, { hour: '2-digit', minute: '2-digit', ...(incrementSeconds < 60 ? { second: '2-digit' } : {}) });
}

function plotSeries(s: GraphSeries): uPlot.Series {
  const paths = (() => {
    if (s.draw === 'bars') return uPlot.paths.bars?.({ size: [0.8, 24], align: 1 });
    if (s.draw === 'points') return () => null;
    if (s.step) return uPlot.paths.stepped?.({ align: s.step === 'after' ? 1 : -1 });
    return s.smooth ? uPlot.paths.spline?.() : uPlot.paths.linear?.();
  })();
  return {
    label: s.name,
    scale: s.right ? 'right' : 'y',
    show: !s.hidden,
    stroke: s.color,
    width: s.draw === 'points' ? 0 : (s.width ?? 1.5),
    ...(s.fill ? { fill: withAlpha(s.color, s.fill / 100) } : {}),
    ...(s.dash ? { dash: s.dash } : {}),
    ...(paths ? { paths: paths as uPlot.Series.PathBuilder } : {}),
    spanGaps: s.spanGaps ?? false,
    points: {
      show: s.draw !== 'bars' && (s.draw === 'points' || s.points === true || lonely(s.values)),
      size: s.draw === 'points' ? 5 : 4,
      fill: s.color,
      width: 0,
    },
  };
}

/** A single sample has no line: it is shown as a point. */
function lonely(values: (number | null)[]): boolean {
  let known = 0;
  for (const v of values) {
    if (v !== null) known += 1;
    if (known > 1) return false;
  }
  return true;
}

function thresholdLines(u: uPlot, thresholds: Threshold[]): void {
  const { ctx } = u;
  ctx.save();
  ctx.setLineDash([6 * devicePixelRatio, 4 * devicePixelRatio]);
  ctx.lineWidth = devicePixelRatio;
  for (const { value, color } of thresholds) {
    const y = Math.round(u.valToPos(value, 'y', true));
    if (y < u.bbox.top || y > u.bbox.top + u.bbox.height) continue;
    ctx.strokeStyle = color;
    ctx.beginPath();
    ctx.moveTo(u.bbox.left, y);
    ctx.lineTo(u.bbox.left + u.bbox.width, y);
    ctx.stroke();
  }
  ctx.restore();
}

function thresholdAreas(u: uPlot, thresholds: Threshold[]): void {
  const { ctx } = u;
  ctx.save();
  const bottom = u.bbox.top + u.bbox.height;
  thresholds.forEach(({ value, color }, i) => {
    const clamp = (y: number): number => Math.min(bottom, Math.max(u.bbox.top, y));
    const from = clamp(u.valToPos(value, 'y', true));
    const next = thresholds[i + 1];
    const to = next ? clamp(u.valToPos(next.value, 'y', true)) : u.bbox.top;
    ctx.fillStyle = withAlpha(color, 0.09);
    ctx.fillRect(u.bbox.left, to, u.bbox.width, from - to);
  });
  ctx.restore();
}

/** The values under the cursor, largest first. Built by DOM calls: names of series are not trusted. */
function tooltip(latest: () => Latest): uPlot.Plugin {
  const tip = document.createElement('div');
  tip.className = 'tip';
  tip.hidden = true;
  let here = false;
  const row = (s: GraphSeries, value: number, near: boolean): HTMLElement => {
    const line = document.createElement('div');
    line.className = near ? 'tip-row near' : 'tip-row';
    const mark = document.createElement('i');
    mark.style.background = s.color;
    const name = document.createElement('span');
    name.textContent = s.name;
    const text = document.createElement('b');
    text.textContent = format(value, s.unit, s.decimals);
    line.append(mark, name, text);
    return line;
  };
  return {
    hooks: {
      init: (u) => {
        u.over.append(tip);
        u.over.addEventListener('mouseenter', () => { here = true; });
        u.over.addEventListener('mouseleave', () => { here = false; tip.hidden = true; });
      },
      setCursor: (u) => {
        const { idx, left, top } = u.cursor;
        const { times, series } = latest();
        if (!here || idx === null || idx === undefined || left === undefined || left < 0 || top === undefined) {
          tip.hidden = true;
          return;
        }
        const at = times[idx];
        const rows = series
          .filter((s) => !s.hidden && s.values[idx] !== null && s.values[idx] !== undefined)
          .sort((a, b) => (b.values[idx] ?? 0) - (a.values[idx] ?? 0));
        if (at === undefined || rows.length === 0) {
          tip.hidden = true;
          return;
        }
        const head = document.createElement('div');
        head.className = 'tip-time';
        head.textContent = dateTime(at * 1000);
        // Nearest as drawn: a stacked series stands where its running sum is.
        const away = (s: GraphSeries): number => Math.abs((u.data[series.indexOf(s) + 1]?.[idx] ?? 0) - u.posToVal(top, s.right ? 'right' : 'y'));
        const near = rows.reduce((best, s) => (away(s) < away(best) ? s : best));
        const shown = rows.slice(0, TOOLTIP_ROWS);
        tip.replaceChildren(head, ...shown.map((s) => row(s, s.values[idx] ?? 0, rows.length > 1 && s === near)));
        if (rows.length > shown.length) {
          const more = document.createElement('div');
          more.className = 'tip-more';
          more.textContent = t('and_more', { n: rows.length - shown.length });
          tip.append(more);
        }
        tip.hidden = false;
        const width = tip.offsetWidth;
        const rightOf = left + 14;
        const x = rightOf + width < u.over.clientWidth ? rightOf : Math.max(left - width - 14, -40);
        tip.style.transform = `translate(${x}px, ${Math.min(top + 10, Math.max(0, u.over.clientHeight - 30))}px)`;
      },
    },
  };
}
