// Time ranges as Grafana writes them: "now-6h", "now", or milliseconds since 1970; and the steps
// and intervals that its Prometheus data source derives from them.
export interface Range {
  from: string;
  to: string;
}

/** A range resolved to instants, in milliseconds. */
export interface Span {
  from: number;
  to: number;
}

const UNIT_MS: Record<string, number> = {
  ms: 1, s: 1e3, m: 60e3, h: 3600e3, d: 86_400e3, w: 604_800e3, M: 30 * 86_400e3, y: 365 * 86_400e3,
};

export function durationMs(text: string): number | undefined {
  let total = 0;
  let rest = text.trim();
  if (!rest) return undefined;
  while (rest) {
    const match = /^(\d+(?:\.\d+)?)(ms|[smhdwMy])/.exec(rest);
    if (!match) return undefined;
    total += Number(match[1]) * (UNIT_MS[match[2] ?? ''] ?? NaN);
    rest = rest.slice(match[0].length);
  }
  return total;
}

/** A duration in PromQL's words. */
export function promDuration(ms: number): string {
  if (ms % 1000 !== 0) return `${Math.round(ms)}ms`;
  const s = ms / 1000;
  if (s % 86_400 === 0 && s > 0) return `${s / 86_400}d`;
  if (s % 3600 === 0 && s > 0) return `${s / 3600}h`;
  if (s % 60 === 0 && s > 0) return `${s / 60}m`;
  return `${s}s`;
}

export function instant(text: string, nowMs: number, end = false): number | undefined {
  const trimmed = text.trim();
  if (/^-?\d+$/.test(trimmed)) {
    const value = Number(trimmed);
    return value < 1e11 ? value * 1000 : value; // seconds are understood too
  }
  const match = /^now(?:([+-])([0-9.]+(?:ms|[smhdwMy])))?(?:\/([smhdwMy]))?$/.exec(trimmed);
  if (match) {
    const shift = match[2] ? (durationMs(match[2]) ?? 0) : 0;
    const at = match[1] === '+' ? nowMs + shift : nowMs - shift;
    return match[3] ? rounded(at, match[3], end) : at;
  }
  const date = Date.parse(trimmed);
  return Number.isNaN(date) ? undefined : date;
}

/** "now/d": the start of the day as a `from`, its end as a `to`, in local time. */
function rounded(at: number, unit: string, end: boolean): number {
  const d = new Date(at);
  const [y, mo, day, h, m, s] = [d.getFullYear(), d.getMonth(), d.getDate(), d.getHours(), d.getMinutes(), d.getSeconds()];
  const more = end ? 1 : 0;
  const start = (() => {
    switch (unit) {
      case 'y': return new Date(y + more, 0);
      case 'M': return new Date(y, mo + more);
      case 'w': return new Date(y, mo, day - ((d.getDay() + 6) % 7) + 7 * more);
      case 'd': return new Date(y, mo, day + more);
      case 'h': return new Date(y, mo, day, h + more);
      case 'm': return new Date(y, mo, day, h, m + more);
      default: return new Date(y, mo, day, h, m, s + more);
    }
  })();
  return start.getTime() - more;
}

export function resolve(range: Range, nowMs = Date.now()): Span {
  const to = instant(range.to, nowMs, true) ?? nowMs;
  const from = instant(range.from, nowMs) ?? to - 3600e3;
  return from < to ? { from, to } : { from: to - 60e3, to };
}

/** Grafana's table of round intervals: [below this many ms, use this one]. */
const ROUND: [number, number][] = [
  [10, 1], [15, 10], [35, 20], [75, 50], [150, 100], [350, 200], [750, 500], [1500, 1000], [3500, 2000],
  [7500, 5000], [12_500, 10_000], [17_500, 15_000], [25_000, 20_000], [45_000, 30_000], [90_000, 60_000],
  [210_000, 120_000], [450_000, 300_000], [750_000, 600_000], [1_050_000, 900_000], [1_500_000, 1_200_000],
  [2_700_000, 1_800_000], [5_400_000, 3_600_000], [9_000_000, 7_200_000], [16_200_000, 10_800_000],
  [32_400_000, 21_600_000], [86_400_000, 43_200_000], [604_800_000, 86_400_000], [1_814_400_000, 604_800_000],
  [3_628_800_000, 2_592_000_000],
];

export function roundInterval(ms: number): number {
  return ROUND.find(([below]) => ms < below)?.[1] ?? 31_536_000_000;
}

export const SCRAPE_INTERVAL_MS = 15_000;

export interface StepInput {
  span: Span;
  maxDataPoints?: number | undefined;
  /** The query's "Min step", already free of variables. */
  minIntervalMs?: number | undefined;
  intervalFactor?: number | undefined;
}

/** The step of a range query: never finer than the scrape, never more than 11,000 points. */
export function stepMs({ span, maxDataPoints, minIntervalMs, intervalFactor }: StepInput): number {
  const length = span.to - span.from;
  const safe = roundInterval(length / 11_000);
  const calculated = Math.max(minIntervalMs ?? SCRAPE_INTERVAL_MS, roundInterval(length / (maxDataPoints || 1500)));
  return Math.max(calculated, safe) * Math.max(1, intervalFactor ?? 1);
}

export function rateIntervalMs(intervalMs: number, minIntervalMs = SCRAPE_INTERVAL_MS): number {
  return Math.max(intervalMs + minIntervalMs, 4 * minIntervalMs);
}

/** The range moved down to multiples of the step, so that a refresh asks for the same instants. */
export function aligned(span: Span, step: number): Span {
  const offset = -new Date(span.from).getTimezoneOffset() * 60_000;
  const floor = (ms: number): number => Math.floor((ms + offset) / step) * step - offset;
  return { from: floor(span.from), to: floor(span.to) };
}

export const QUICK_RANGES = ['5m', '15m', '30m', '1h', '3h', '6h', '12h', '24h', '2d', '7d', '14d', '30d'] as const;
export const REFRESHES = ['', '1s', '5s', '15s', '30s', '1m', '5m'] as const;

/** Makes the range narrower or wider around its middle, or moves it, keeping "now" when it can. */
export function shift(span: Span, by: number): Range {
  const length = span.to - span.from;
  return { from: String(Math.round(span.from + by * length)), to: String(Math.round(span.to + by * length)) };
}

export function zoomOut(span: Span): Range {
  const length = span.to - span.from;
  const to = Math.min(Date.now(), span.to + length / 2);
  return { from: String(Math.round(to - 2 * length)), to: String(Math.round(to)) };
}
