// Log lines as the pages use them: flattened from Loki's streams, with a level and parsed fields.
import type { LabelMap, Stream } from './api';

export interface LogLine {
  id: string;
  ms: number;
  ns: string;
  text: string;
  labels: LabelMap;
  level: string;
}

const LEVELS: [RegExp, string][] = [
  [/\b(fatal|panic|emerg|crit(ical)?)\b/i, 'critical'],
  [/\b(error|err|eror)\b/i, 'error'],
  [/\b(warn(ing)?)\b/i, 'warn'],
  [/\b(info|notice)\b/i, 'info'],
  [/\b(debug)\b/i, 'debug'],
  [/\b(trace)\b/i, 'trace'],
];

const WORDS: Record<string, string> = {
  err: 'error', error: 'error', warning: 'warn', warn: 'warn', information: 'info', info: 'info', notice: 'info',
  fatal: 'critical', critical: 'critical', crit: 'critical', emerg: 'critical', alert: 'critical', debug: 'debug', trace: 'trace',
};

export function levelOf(labels: LabelMap, text: string): string {
  const word = labels.detected_level ?? labels.level ?? labels.severity ?? labels.lvl;
  if (word) return WORDS[word.toLowerCase()] ?? 'unknown';
  const field = /"(?:level|lvl|severity)"\s*:\s*"(\w+)"|\b(?:level|lvl)=(\w+)/i.exec(text);
  const found = (field?.[1] ?? field?.[2])?.toLowerCase();
  if (found && WORDS[found]) return WORDS[found];
  // Only the head of a line is looked at: a message may well speak of an error.
  const head = text.slice(0, 80);
  return LEVELS.find(([pattern]) => pattern.test(head))?.[1] ?? 'unknown';
}

/** Newest first, or oldest first. */
export function flatten(streams: Stream[], direction: 'backward' | 'forward' = 'backward'): LogLine[] {
  const lines: LogLine[] = [];
  streams.forEach(({ stream, values }, s) => {
    values.forEach(([ns, text], i) => {
      const line = plainText(text);
      lines.push({ id: `${ns}-${s}-${i}`, ms: Number(ns.slice(0, -6)), ns, text: line, labels: stream, level: levelOf(stream, line) });
    });
  });
  const way = direction === 'backward' ? -1 : 1;
  return lines.sort((a, b) => way * (a.ns < b.ns ? -1 : a.ns > b.ns ? 1 : 0));
}

/** Terminal colours are of no use here. */
const plainText = (text: string): string => text.replace(/\u001b\[[0-9;]*m/g, '');

/** The fields of a JSON object or of logfmt, in their own order, one level deep with dots. */
export function fieldsOf(text: string): [string, string][] {
  const trimmed = text.trim();
  if (trimmed.startsWith('{')) {
    try {
      const fields: [string, string][] = [];
      walk(JSON.parse(trimmed) as Record<string, unknown>, '', fields);
      return fields;
    } catch {
      return [];
    }
  }
  const pairs = [...trimmed.matchAll(/([A-Za-z_][\w.]*)=("(?:[^"\\]|\\.)*"|\S*)/g)];
  if (pairs.length < 2) return [];
  return pairs.map(([, name = '', value = '']) => [name, value.startsWith('"') ? value.slice(1, -1) : value]);
}

function walk(object: Record<string, unknown>, prefix: string, fields: [string, string][]): void {
  for (const [key, value] of Object.entries(object)) {
    const name = prefix ? `${prefix}_${key}` : key;
    if (value && typeof value === 'object' && !Array.isArray(value)) walk(value as Record<string, unknown>, name, fields);
    else fields.push([name, typeof value === 'string' ? value : JSON.stringify(value)]);
  }
}

const quoted = (text: string): string => JSON.stringify(text);

/** Adds a condition to a LogQL query: a label into the selector, a parsed field behind a parser. */
export function withFilter(query: string, name: string, value: string, parsed: boolean, line: string): string {
  if (!parsed) {
    return query.replace(/\{([^}]*)\}/, (whole, inside: string) => {
      if (new RegExp(`(^|,)\\s*${name}\\s*=`).test(inside)) {
        return whole.replace(new RegExp(`${name}\\s*(=~|!=|!~|=)\\s*("(?:[^"\\\\]|\\\\.)*"|\`[^\`]*\`)`), () => `${name}=${quoted(value)}`);
      }
      return `{${inside.trim() ? `${inside}, ` : ''}${name}=${quoted(value)}}`;
    });
  }
  const parser = line.trim().startsWith('{') ? 'json' : 'logfmt';
  const base = new RegExp(`\\|\\s*${parser}\\b`).test(query) ? query : `${query} | ${parser}`;
  const field = name.replace(/[^\w]/g, '_');
  return /^-?\d+(\.\d+)?$/.test(value) ? `${base} | ${field} = ${value}` : `${base} | ${field} = ${quoted(value)}`;
}
