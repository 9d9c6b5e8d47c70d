// Everything that is asked of the server, typed: Prometheus', Loki's, Grafana's and our own APIs.
import { href } from './router';
import { t } from './i18n';

/** An answer that is not a success, in the server's own words. */
export class ApiError extends Error {
  constructor(
    message: string,
    readonly status: number,
    readonly kind = '',
  ) {
    super(message);
  }
}

const TIMEOUT_MS = 60_000;

interface Options {
  form?: URLSearchParams;
  signal?: AbortSignal | undefined;
}

async function ask<T>(path: string, { form, signal }: Options = {}): Promise<T> {
  const limit = AbortSignal.timeout(TIMEOUT_MS);
  let answer: Response;
  try {
    answer = await fetch(href(path), {
      method: form ? 'POST' : 'GET',
      body: form ?? null,
      headers: { Accept: 'application/json' },
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(limit.aborted ? t('error_timeout') : t('error_unreachable'), 0, 'network');
  }
  const text = await answer.text();
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    body = undefined;
  }
  if (!answer.ok) {
    const said = body as { error?: string; message?: string; errorType?: string } | undefined;
    const message = said?.error ?? said?.message ?? (text.length < 500 && !text.startsWith('<') ? text.trim() : '');
    throw new ApiError(message || `HTTP ${answer.status}`, answer.status, said?.errorType);
  }
  if (body === undefined) throw new ApiError(t('error_not_json'), answer.status);
  return body as T;
}

interface Envelope<T> {
  status: string;
  data: T;
  warnings?: string[];
  infos?: string[];
}

export type LabelMap = Record<string, string>;
export type Point = [seconds: number, value: string];

export interface MatrixSeries { metric: LabelMap; values?: Point[]; histograms?: unknown[] }
export interface VectorSample { metric: LabelMap; value?: Point; histogram?: unknown }
export interface Stream { stream: LabelMap; values: [ns: string, line: string, metadata?: unknown][] }

export type QueryData =
  | { resultType: 'matrix'; result: MatrixSeries[] }
  | { resultType: 'vector'; result: VectorSample[] }
  | { resultType: 'scalar' | 'string'; result: Point }
  | { resultType: 'streams'; result: Stream[] };

export interface QueryResult { data: QueryData; warnings: string[] }

async function query(path: string, params: Record<string, string>, signal?: AbortSignal, get = false): Promise<QueryResult> {
  const form = new URLSearchParams(params);
  const body = get
    ? await ask<Envelope<QueryData>>(`${path}?${form}`, { signal })
    : await ask<Envelope<QueryData>>(path, { form, signal });
  return { data: body.data, warnings: [...(body.warnings ?? []), ...(body.infos ?? [])] };
}

const seconds = (ms: number): string => String(ms / 1000);

export const prom = {
  instant: (expr: string, atMs: number, signal?: AbortSignal) =>
    query('/api/v1/query', { query: expr, time: seconds(atMs) }, signal),
  range: (expr: string, from: number, to: number, step: number, signal?: AbortSignal) =>
    query('/api/v1/query_range', { query: expr, start: seconds(from), end: seconds(to), step: seconds(step) }, signal),
  labelValues: async (label: string, matcher?: string, from?: number, to?: number, signal?: AbortSignal) => {
    const params = new URLSearchParams();
    if (matcher) params.append('match[]', matcher);
    if (from !== undefined && to !== undefined) {
      params.set('start', seconds(from));
      params.set('end', seconds(to));
    }
    const body = await ask<Envelope<string[]>>(`/api/v1/label/${encodeURIComponent(label)}/values?${params}`, { signal });
    return body.data ?? [];
  },
  labels: async (signal?: AbortSignal) => (await ask<Envelope<string[]>>('/api/v1/labels', { signal })).data ?? [],
  metadata: async (metric: string, signal?: AbortSignal) =>
    (await ask<Envelope<Record<string, { type: string; help: string; unit: string }[]>>>(
      `/api/v1/metadata?metric=${encodeURIComponent(metric)}`, { signal })).data ?? {},
  targets: async (signal?: AbortSignal) =>
    (await ask<Envelope<{ activeTargets: Target[] }>>('/api/v1/targets?state=active', { signal })).data.activeTargets ?? [],
  /** The rules of both languages: PromQL's, then those of Loki's ruler. */
  rules: async (signal?: AbortSignal) => {
    const paths = ['/api/v1/rules', '/prometheus/api/v1/rules'];
    const answers = await Promise.all(paths.map((path) => ask<Envelope<{ groups: RuleGroup[] }>>(path, { signal })));
    return answers.flatMap((answer) => answer.data.groups ?? []);
  },
  build: async (signal?: AbortSignal) =>
    (await ask<Envelope<Record<string, string>>>('/api/v1/status/buildinfo', { signal })).data,
};

const ns = (ms: number): string => `${Math.round(ms)}000000`;

export const loki = {
  range: (expr: string, from: number, to: number, options: { limit?: number; direction?: string; step?: number } = {}, signal?: AbortSignal) =>
    query('/loki/api/v1/query_range', {
      query: expr,
      start: ns(from),
      end: ns(to),
      limit: String(options.limit ?? 1000),
      direction: options.direction ?? 'backward',
      ...(options.step ? { step: `${options.step}ms` } : {}),
    }, signal, true),
  instant: (expr: string, at: number, signal?: AbortSignal) =>
    query('/loki/api/v1/query', { query: expr, time: ns(at), limit: '1000' }, signal, true),
  labels: async (from: number, to: number, signal?: AbortSignal) =>
    (await ask<Envelope<string[]>>(`/loki/api/v1/labels?start=${ns(from)}&end=${ns(to)}`, { signal })).data ?? [],
  labelValues: async (label: string, from: number, to: number, stream?: string, signal?: AbortSignal) =>
    (await ask<Envelope<string[]>>(
      `/loki/api/v1/label/${encodeURIComponent(label)}/values?start=${ns(from)}&end=${ns(to)}${stream ? `&query=${encodeURIComponent(stream)}` : ''}`,
      { signal })).data ?? [],
};

export interface Target {
  labels: LabelMap;
  scrapePool: string;
  scrapeUrl: string;
  lastError: string;
  lastScrape: string;
  lastScrapeDuration: number;
  health: 'up' | 'down' | 'unknown';
  scrapeInterval?: string;
}

export interface RuleAlert {
  labels: LabelMap;
  annotations: LabelMap;
  state: 'firing' | 'pending' | 'inactive';
  activeAt?: string;
  value: string;
}

export interface Rule {
  type: 'alerting' | 'recording';
  name: string;
  query: string;
  duration?: number;
  labels?: LabelMap;
  annotations?: LabelMap;
  alerts?: RuleAlert[];
  state?: 'firing' | 'pending' | 'inactive' | 'unknown';
  health: string;
  lastError?: string;
  evaluationTime?: number;
  lastEvaluation?: string;
}

export interface RuleGroup { name: string; file: string; interval: number; rules: Rule[] }

export interface GettableAlert {
  labels: LabelMap;
  fingerprint: string;
  startsAt: string;
  status: { state: 'unprocessed' | 'active' | 'suppressed'; silencedBy: string[]; inhibitedBy: string[] };
}

export interface DashboardHit { uid: string; title: string; title_fr?: string; url: string; tags: string[] }
export interface RunbookHead { slug: string; title: string; alert: string; severity: string }
export interface Runbook { slug: string; title: string; alert: string; lang: string; html: string }

export interface Notification {
  id: number | string;
  created_at: string | number;
  alertname: string;
  status: 'firing' | 'resolved';
  receiver: string;
  integration: string;
  state: 'pending' | 'sending' | 'sent' | 'failed';
  attempts: number;
  next_at?: string | number | null;
  sent_at?: string | number | null;
  last_error?: string | null;
}

export interface Status {
  version: string;
  started_at_ms: number;
  ready: boolean;
  storage: {
    metrics_bytes: number;
    logs_bytes: number;
    series: number;
    streams: number;
    retention_metrics: string | number;
    retention_logs: string | number;
    free_bytes: number;
  };
  targets: { up: number; down: number };
  collectors: { job: string; instance: string; up: boolean; last_error?: string | null }[];
  demo: boolean;
}

export const vigie = {
  status: (signal?: AbortSignal) => ask<Status>('/api/vigie/v1/status', { signal }),
  runbooks: (lang: string, signal?: AbortSignal) => ask<RunbookHead[]>(`/api/vigie/v1/runbooks?lang=${lang}`, { signal }),
  runbook: (slug: string, lang: string, signal?: AbortSignal) =>
    ask<Runbook>(`/api/vigie/v1/runbooks/${encodeURIComponent(slug)}?lang=${lang}`, { signal }),
  notifications: (limit: number, signal?: AbortSignal) =>
    ask<Notification[]>(`/api/vigie/v1/notifications?limit=${limit}`, { signal }),
};

export const alertmanager = {
  alerts: (signal?: AbortSignal) => ask<GettableAlert[]>('/api/v2/alerts', { signal }),
};

export const grafana = {
  search: (signal?: AbortSignal) => ask<DashboardHit[]>('/api/search', { signal }),
  dashboard: (uid: string, signal?: AbortSignal) =>
    ask<{ dashboard: unknown; meta: { slug: string } }>(`/api/dashboards/uid/${encodeURIComponent(uid)}`, { signal }),
};

/** A time that an API gave as RFC 3339 text or as a number of (milli)seconds. */
export function timeOf(value: string | number | null | undefined): number | undefined {
  if (value === null || value === undefined || value === '') return undefined;
  if (typeof value === 'number') return value < 1e11 ? value * 1000 : value;
  const ms = Date.parse(value);
  return Number.isNaN(ms) || ms <= 0 ? undefined : ms;
}
