// Asks what a panel asks and gives it series on one time axis, table rows, or log lines; and when
// there is nothing, finds out why.
import { loki, prom, type LabelMap, type QueryData, type Stream } from './api';
import { sourceKind, type Panel, type Target } from './dashboard';
import { said, t } from './i18n';
import { aligned, durationMs, rateIntervalMs, SCRAPE_INTERVAL_MS, stepMs, type Span } from './time';
import { interpolate, type Choices } from './vars';

export interface Series {
  refId: string;
  /** What overrides know it by. */
  name: string;
  /** The same in the reader's language. */
  title: string;
  labels: LabelMap;
  values: (number | null)[];
}

export interface TableRow { refId: string; labels: LabelMap; value: number | null; timeMs: number }

export interface PanelData {
  span: Span;
  /** Seconds, common to all series. */
  times: number[];
  series: Series[];
  rows: TableRow[];
  streams: Stream[];
  errors: string[];
  warnings: string[];
  /** The expressions as sent, for "open in Explore". */
  sent: { expr: string; kind: 'prometheus' | 'loki' }[];
  /** Why it is empty, if it is. */
  emptyBecause?: string;
}

export interface PanelContext {
  span: Span;
  choices: Choices;
  width: number;
}

const MAX_SERIES = 500;

export async function loadPanel(panel: Panel, context: PanelContext, signal: AbortSignal): Promise<PanelData> {
  const span = panel.timeFrom ? relative(context.span, panel.timeFrom) : context.span;
  const data: PanelData = { span, times: [], series: [], rows: [], streams: [], errors: [], warnings: [], sent: [] };
  const targets = panel.targets.filter((target) => !target.hide && target.expr?.trim());
  const parts = await Promise.allSettled(targets.map((target) => loadTarget(panel, target, { ...context, span }, signal)));
  const columns: Column[] = [];
  parts.forEach((part, i) => {
    if (part.status === 'rejected') {
      if (!signal.aborted) data.errors.push((part.reason as Error).message);
      return;
    }
    const { answer, warnings, expr, kind, step } = part.value;
    data.sent.push({ expr, kind });
    data.warnings.push(...warnings);
    const target = targets[i];
    if (target) collect(answer, target, context, panel, data, columns, step, span);
  });
  if (signal.aborted) throw new DOMException('aborted', 'AbortError');
  merge(columns, data);
  if (isEmpty(data) && data.errors.length === 0) data.emptyBecause = await whyEmpty(data, signal);
  return data;
}

export const isEmpty = (data: PanelData): boolean =>
  data.series.length === 0 && data.rows.length === 0 && data.streams.length === 0;

function relative(span: Span, timeFrom: string): Span {
  const length = durationMs(timeFrom);
  return length ? { from: span.to - length, to: span.to } : span;
}

interface Answer {
  answer: QueryData;
  warnings: string[];
  expr: string;
  kind: 'prometheus' | 'loki';
  step: number;
}

const INSTANT_TYPES = new Set(['table']);

async function loadTarget(panel: Panel, target: Target, { span, choices, width }: PanelContext, signal: AbortSignal): Promise<Answer> {
  const kind = sourceKind(panel, target);
  if (kind === 'other') throw new Error(t('source_unsupported'));
  const written = target.interval || panel.interval || '';
  const text = interpolate(written, choices, { span }).replace(/^>=?\s*/, '');
  const scrape = durationMs(text) ?? SCRAPE_INTERVAL_MS;
  const ownRate = /^\$\{?__rate_interval\}?$/.test(written);
  let step = stepMs({
    span,
    maxDataPoints: panel.maxDataPoints ?? Math.max(100, Math.round(width)),
    minIntervalMs: scrape,
    intervalFactor: target.intervalFactor,
  });
  const rateInterval = rateIntervalMs(step, scrape);
  if (ownRate) step = rateInterval;
  const expr = interpolate(target.expr ?? '', choices, { span, intervalMs: step, rateIntervalMs: rateInterval }, panel.scoped);
  const instant = target.instant === true && target.range !== true;
  const tableOnly = INSTANT_TYPES.has(panel.type) && target.instant === undefined && target.range !== true;
  if (kind === 'loki') {
    const onlyNow = target.queryType === 'instant' || instant;
    const { data, warnings } = onlyNow
      ? await loki.instant(expr, span.to, signal)
      : await loki.range(expr, span.from, span.to, { limit: target.maxLines ?? 500, step }, signal);
    return { answer: data, warnings, expr, kind, step };
  }
  if (instant || tableOnly) {
    const { data, warnings } = await prom.instant(expr, span.to, signal);
    return { answer: data, warnings, expr, kind, step };
  }
  const range = aligned(span, step);
  const { data, warnings } = await prom.range(expr, range.from, range.to, step, signal);
  return { answer: data, warnings, expr, kind, step };
}

interface Column {
  refId: string;
  name: string;
  title: string;
  labels: LabelMap;
  points: Map<number, number>;
  step: number;
}

const toNumber = (text: string): number =>
  text === '+Inf' || text === 'Inf' ? Infinity : text === '-Inf' ? -Infinity : Number(text);

function collect(
  answer: QueryData, target: Target, { choices }: PanelContext, panel: Panel, data: PanelData, columns: Column[], step: number, span: Span,
): void {
  const refId = target.refId ?? 'A';
  const fill = (text: string): string => interpolate(text, choices, { span }, panel.scoped);
  const inLanguage = { ...target, legendFormat: said(target, 'legendFormat') };
  const names = (labels: LabelMap): { name: string; title: string } => ({
    name: seriesName(target, labels, fill),
    title: seriesName(inLanguage, labels, fill),
  });
  switch (answer.resultType) {
    case 'matrix':
      for (const { metric, values } of answer.result.slice(0, MAX_SERIES)) {
        const points = new Map((values ?? []).map(([s, v]) => [s, toNumber(v)]));
        columns.push({ refId, ...names(metric), labels: metric, points, step: step / 1000 });
      }
      break;
    case 'vector':
      for (const { metric, value } of answer.result) {
        if (!value) continue;
        const number = toNumber(value[1]);
        data.rows.push({ refId, labels: metric, value: number, timeMs: value[0] * 1000 });
        columns.push({ refId, ...names(metric), labels: metric, points: new Map([[value[0], number]]), step: 0 });
      }
      break;
    case 'scalar':
      data.rows.push({ refId, labels: {}, value: toNumber(answer.result[1]), timeMs: answer.result[0] * 1000 });
      columns.push({ refId, ...names({}), labels: {}, points: new Map([[answer.result[0], toNumber(answer.result[1])]]), step: 0 });
      break;
    case 'streams':
      data.streams.push(...answer.result);
      break;
  }
}

/** Puts all series on one axis; a step without a sample becomes a gap. */
function merge(columns: Column[], data: PanelData): void {
  const instants = new Set<number>();
  let step = 0;
  for (const column of columns) {
    for (const at of column.points.keys()) instants.add(at);
    if (column.step > 0) step = step === 0 ? column.step : Math.min(step, column.step);
  }
  const times = [...instants].sort((a, b) => a - b);
  if (step > 0) fillGaps(times, step);
  data.times = times;
  data.series = columns.map(({ points, refId, name, title, labels }) => ({
    refId,
    name,
    title,
    labels,
    values: times.map((at) => {
      const value = points.get(at);
      return value === undefined || Number.isNaN(value) ? null : value;
    }),
  }));
}

/** Where all series miss samples, one instant is put in, so that the line is broken there. */
function fillGaps(times: number[], step: number): void {
  for (let i = times.length - 1; i > 0; i -= 1) {
    const before = times[i - 1] ?? 0;
    if ((times[i] ?? 0) - before > step * 1.5) times.splice(i, 0, before + step);
  }
}

export function seriesName(target: Pick<Target, 'legendFormat' | 'expr'>, labels: LabelMap, fill: (text: string) => string = (x) => x): string {
  const format = target.legendFormat;
  if (format && format !== '__auto') {
    return fill(format).replace(/\{\{\s*(.+?)\s*\}\}/g, (_, label: string) => labels[label] ?? '') || selector(labels);
  }
  const { __name__: name, ...rest } = labels;
  const pairs = Object.entries(rest);
  if (!name && pairs.length === 1 && pairs[0]) return pairs[0][1];
  return selector(labels) || fill(target.expr ?? '');
}

export function selector(labels: LabelMap): string {
  const { __name__: name = '', ...rest } = labels;
  const pairs = Object.entries(rest).map(([k, v]) => `${k}="${v}"`);
  if (pairs.length === 0) return name;
  return `${name}{${pairs.join(', ')}}`;
}

const NOT_METRICS = new Set(
  ('by without on ignoring group_left group_right bool offset and or unless sum min max avg count stddev stdvar topk bottomk ' +
    'quantile count_values group limitk limit_ratio start end inf nan').split(' '),
);

/** The metric names an expression asks for, near enough for an explanation. */
export function metricNames(expr: string): string[] {
  const bare = expr
    .replace(/"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`/g, '""')
    .replace(/\{[^}]*\}|\[[^\]]*\]/g, ' ')
    .replace(/\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)/g, ' ');
  const names = new Set<string>();
  for (const match of bare.matchAll(/[a-zA-Z_:][\w:]*(?!\s*\()(?![\w:])/g)) {
    if (!NOT_METRICS.has(match[0].toLowerCase())) names.add(match[0]);
  }
  return [...names];
}

/** Says whether the metric is unknown, or known but silent here. */
async function whyEmpty(data: PanelData, signal: AbortSignal): Promise<string> {
  const metrics = [...new Set(data.sent.filter((s) => s.kind === 'prometheus').flatMap((s) => metricNames(s.expr)))];
  if (data.sent.length === 0) return t('empty_no_query');
  if (metrics.length === 0) return data.sent[0]?.kind === 'loki' ? t('empty_logs') : t('empty_range');
  try {
    const known = await knownMetrics(signal);
    const missing = metrics.filter((name) => !known.has(name));
    if (missing.length > 0) {
      const near = nearest(missing[0] ?? '', known);
      return t('empty_unknown_metric', { name: missing.slice(0, 2).join(', ') }) + (near ? ` ${t('empty_did_you_mean', { name: near })}` : '');
    }
  } catch (error) {
    if (signal.aborted) throw error;
  }
  return t('empty_no_match');
}

const KNOWN_FOR_MS = 30_000;
let known: { at: number; names: Promise<Set<string>> } | undefined;

/** Metric names, asked at most every half minute for the whole page. */
export function knownMetrics(_signal?: AbortSignal): Promise<Set<string>> {
  if (!known || Date.now() - known.at > KNOWN_FOR_MS) {
    const names = prom.labelValues('__name__').then((list) => new Set(list));
    names.catch(() => { known = undefined; });
    known = { at: Date.now(), names };
  }
  return known.names;
}

/** A known name at a small edit distance. */
function nearest(name: string, names: Set<string>): string | undefined {
  let best: string | undefined;
  let least = Math.max(1, Math.floor(name.length / 10)) + 1;
  for (const candidate of names) {
    if (Math.abs(candidate.length - name.length) >= least) continue;
    const distance = editDistance(name, candidate, least);
    if (distance < least) {
      least = distance;
      best = candidate;
    }
  }
  return best;
}

function editDistance(a: string, b: string, limit: number): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    let low = i;
    for (let j = 1; j <= b.length; j += 1) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1;
      next[j] = Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, (row[j - 1] ?? 0) + cost);
      low = Math.min(low, next[j] ?? 0);
    }
    if (low >= limit) return limit;
    row = next;
  }
  return row[b.length] ?? limit;
}
