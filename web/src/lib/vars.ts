// Dashboard variables: finding their values, choosing from the URL, and writing them into queries
// the way Grafana's Prometheus data source does.
import { loki, prom } from './api';
import type { Variable } from './dashboard';
import type { Span } from './time';

export const ALL = '$__all';

export interface Choice {
  variable: Variable;
  options: { value: string; text: string }[];
  /** What is chosen; [ALL] for everything. */
  values: string[];
}

export type Choices = Map<string, Choice>;

const escapeRegex = (text: string): string => text.replace(/[\\^$*+?.()|[\]{}]/g, '\\$&');
/** A regex inside a double-quoted PromQL string needs its backslashes doubled. */
const promRegex = (text: string): string => escapeRegex(text).replace(/\\/g, '\\\\');

/** What `values` stands for once "All" is spelled out. */
function listOf(choice: Choice): string[] {
  if (choice.values[0] !== ALL) return choice.values;
  return choice.options.filter((o) => o.value !== ALL).map((o) => o.value);
}

function written(choice: Choice, format: string | undefined): string {
  const { variable } = choice;
  const all = choice.values[0] === ALL;
  if (all && variable.allValue) return variable.allValue;
  const values = listOf(choice);
  const first = values[0] ?? '';
  switch (format) {
    case 'raw': case 'csv': return values.join(',');
    case 'text': return all ? 'All' : values.join(' + ');
    case 'pipe': return values.join('|');
    case 'regex': return values.length === 1 ? escapeRegex(first) : `(${values.map(escapeRegex).join('|')})`;
    case 'singlequote': return values.map((v) => `'${v.replace(/'/g, "\\'")}'`).join(',');
    case 'doublequote': return values.map((v) => `"${v.replace(/"/g, '\\"')}"`).join(',');
    case 'sqlstring': return values.map((v) => `'${v.replace(/'/g, "''")}'`).join(',');
    case 'json': return JSON.stringify(values);
    case 'glob': return values.length === 1 ? first : `{${values.join(',')}}`;
    case 'percentencode': return encodeURIComponent(values.join(','));
    case 'queryparam': return values.map((v) => `var-${variable.name}=${encodeURIComponent(v)}`).join('&');
  }
  if (!variable.multi && !variable.includeAll) return first;
  if (values.length === 1) return promRegex(first);
  return values.length === 0 ? '' : `(${values.map(promRegex).join('|')})`;
}

export interface Builtins {
  span: Span;
  intervalMs?: number;
  rateIntervalMs?: number;
}

/** Replaces $x, ${x}, ${x:format} and [[x]] in a text. Unknown names stay as they are. */
export function interpolate(
  text: string,
  choices: Choices,
  builtins: Builtins,
  scoped: Record<string, string> = {},
): string {
  const one = (name: string, format: string | undefined, whole: string): string => {
    const repeated = scoped[name];
    if (repeated !== undefined) return format === 'regex' ? escapeRegex(repeated) : repeated;
    const choice = choices.get(name);
    if (choice) return written(choice, format);
    return builtin(name, builtins) ?? whole;
  };
  return text.replace(
    /\$\{(\w+)(?:\.[^:}]+)?(?::(\w+))?\}|\$(\w+)|\[\[(\w+)(?::(\w+))?\]\]/g,
    (whole, braced: string | undefined, format: string | undefined, bare: string | undefined, old: string | undefined, oldFormat: string | undefined) =>
      one(braced ?? bare ?? old ?? '', format ?? oldFormat, whole),
  );
}

function words(ms: number): string {
  return ms % 1000 === 0 ? `${ms / 1000}s` : `${Math.round(ms)}ms`;
}

function builtin(name: string, { span, intervalMs = 15_000, rateIntervalMs = 60_000 }: Builtins): string | undefined {
  const length = span.to - span.from;
  switch (name) {
    case '__interval': return words(intervalMs);
    case '__interval_ms': return String(intervalMs);
    case '__rate_interval': return words(rateIntervalMs);
    case '__rate_interval_ms': return String(rateIntervalMs);
    case '__auto': return words(Math.max(intervalMs, 1000));
    case '__range': return `${Math.round(length / 1000)}s`;
    case '__range_s': return String(Math.round(length / 1000));
    case '__range_ms': return String(Math.round(length));
    case '__from': return String(span.from);
    case '__to': return String(span.to);
  }
  return undefined;
}

/** A variable's query as text, whichever form the dashboard stored it in. */
export function queryText(variable: Variable): string {
  const { query } = variable;
  if (typeof query === 'string') return query;
  if (query && typeof query === 'object') {
    const q = query as { query?: string; label?: string; stream?: string; type?: number };
    if (q.query) return q.query;
    if (q.label) return q.stream ? `label_values(${q.stream}, ${q.label})` : `label_values(${q.label})`;
  }
  return variable.definition ?? '';
}

async function queryValues(text: string, kind: 'prometheus' | 'loki', span: Span, signal?: AbortSignal): Promise<string[]> {
  const byLabel = /^\s*label_values\(\s*(?:([\s\S]+?)\s*,\s*)?([\w:]+)\s*\)\s*$/.exec(text);
  if (byLabel) {
    const [, selector, label = ''] = byLabel;
    if (kind === 'loki') return loki.labelValues(label, span.from, span.to, selector, signal);
    return prom.labelValues(label, selector, span.from, span.to, signal);
  }
  if (/^\s*label_names\(\s*\)\s*$/.test(text)) return prom.labels(signal);
  const metrics = /^\s*metrics\((.*)\)\s*$/.exec(text);
  if (metrics) {
    const pattern = new RegExp(metrics[1] || '.*');
    return (await prom.labelValues('__name__', undefined, span.from, span.to, signal)).filter((n) => pattern.test(n));
  }
  const inner = /^\s*query_result\(([\s\S]*)\)\s*$/.exec(text)?.[1] ?? text;
  if (!inner.trim()) return [];
  const { data } = await prom.instant(inner, span.to, signal);
  if (data.resultType === 'scalar') return [data.result[1]];
  if (data.resultType !== 'vector') return [];
  return data.result.map(({ metric, value }) => {
    const { __name__: name = '', ...labels } = metric;
    const pairs = Object.entries(labels).map(([k, v]) => `${k}="${v}"`);
    return `${name}{${pairs.join(',')}} ${value?.[1] ?? ''} ${Math.round((value?.[0] ?? 0) * 1000)}`;
  });
}

/** The variable's own regex: filters, and takes what its group (or its "value" group) caught. */
function filtered(values: string[], regex: string | undefined): { value: string; text: string }[] {
  if (!regex) return values.map((value) => ({ value, text: value }));
  const literal = /^\/(.*)\/([gimsuy]*)$/.exec(regex);
  let pattern: RegExp;
  try {
    pattern = literal ? new RegExp(literal[1] ?? '', (literal[2] ?? '').replace('g', '')) : new RegExp(`^(?:${regex})$`);
  } catch {
    return values.map((value) => ({ value, text: value }));
  }
  const found: { value: string; text: string }[] = [];
  for (const value of values) {
    const match = pattern.exec(value);
    if (!match) continue;
    const taken = match.groups?.value ?? match[1] ?? match[0];
    found.push({ value: taken, text: match.groups?.text ?? taken });
  }
  return found;
}

function sorted(options: { value: string; text: string }[], sort: number): { value: string; text: string }[] {
  if (!sort) return options;
  const kind = Math.ceil(sort / 2);
  const compare = {
    1: (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0),
    2: (a: string, b: string) => Number(/\d+/.exec(a)?.[0] ?? -1) - Number(/\d+/.exec(b)?.[0] ?? -1),
    3: (a: string, b: string) => a.toLowerCase().localeCompare(b.toLowerCase()),
    4: (a: string, b: string) => a.localeCompare(b, undefined, { numeric: true }),
  }[kind as 1 | 2 | 3 | 4];
  if (!compare) return options;
  const way = sort % 2 === 0 ? -1 : 1;
  return [...options].sort((a, b) => way * compare(a.text, b.text));
}

const unique = (options: { value: string; text: string }[]): { value: string; text: string }[] => {
  const seen = new Set<string>();
  return options.filter(({ value }) => !seen.has(value) && seen.add(value));
};

/** "a : 1, b, c\,d" → options of a custom or interval variable. */
function customOptions(text: string): { value: string; text: string }[] {
  return (text.match(/(?:\\,|[^,])+/g) ?? []).map((part) => {
    const plain = part.replace(/\\,/g, ',').trim();
    const pair = /^(.+?)\s:\s(.+)$/.exec(plain);
    return pair ? { text: pair[1] ?? '', value: pair[2] ?? '' } : { text: plain, value: plain };
  });
}

async function optionsOf(variable: Variable, choices: Choices, span: Span, signal?: AbortSignal): Promise<Choice['options']> {
  const text = queryText(variable);
  switch (variable.type) {
    case 'query': {
      const source = variable.datasource;
      const type = typeof source === 'object' && source ? source.type : source;
      const kind = /loki/i.test(type ?? '') ? 'loki' : 'prometheus';
      const values = await queryValues(interpolate(text, choices, { span }), kind, span, signal);
      return sorted(unique(filtered(values, variable.regex)), variable.sort ?? 0);
    }
    case 'custom': return customOptions(text);
    case 'interval': {
      const list = customOptions(text);
      return variable.auto ? [{ value: '$__auto', text: 'auto' }, ...list] : list;
    }
    case 'constant': return [{ value: text, text }];
    default: return variable.options ?? [];
  }
}

function chosen(variable: Variable, options: Choice['options'], fromUrl: string[]): string[] {
  const known = new Set(options.map((o) => o.value));
  if (variable.type === 'constant') return [options[0]?.value ?? ''];
  if (variable.type === 'textbox') {
    const stored = variable.current?.value;
    return [fromUrl[0] ?? (typeof stored === 'string' ? stored : '') ?? ''];
  }
  const usable = (values: string[]): string[] => values.filter((v) => v === ALL || known.has(v));
  if (fromUrl.length > 0) {
    const wanted = fromUrl.map((v) => (v === 'All' && variable.includeAll ? ALL : v));
    // A value in the URL is kept even if it is not listed: its series may be out of this range.
    return wanted.includes(ALL) ? [ALL] : wanted;
  }
  const current = variable.current?.value;
  const stored = usable(Array.isArray(current) ? current : current !== undefined && current !== '' ? [String(current)] : []);
  if (stored.includes(ALL) && variable.includeAll) return [ALL];
  if (stored.length > 0 && stored[0] !== ALL) return stored;
  const first = options.find((o) => o.value !== ALL);
  // No value at all: "", so that {x="$x"} selects the series without the label.
  return [first?.value ?? ''];
}

/** Finds all variables in order: each may use those above it. */
export async function resolveVariables(
  variables: Variable[],
  query: URLSearchParams,
  span: Span,
  signal?: AbortSignal,
): Promise<Choices> {
  const choices: Choices = new Map();
  for (const variable of variables) {
    if (variable.type === 'datasource' || variable.type === 'adhoc') continue;
    let options: Choice['options'] = [];
    try {
      options = await optionsOf(variable, choices, span, signal);
    } catch (error) {
      if (signal?.aborted) throw error;
    }
    if (variable.includeAll) options = [{ value: ALL, text: 'All' }, ...options.filter((o) => o.value !== ALL)];
    const values = chosen(variable, options, query.getAll(`var-${variable.name}`));
    choices.set(variable.name, { variable, options, values });
  }
  return choices;
}
