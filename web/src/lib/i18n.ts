// Texts in two languages. `en` is the catalogue of keys; `fr` must have every one of them or the
// type check fails. A text may hold {name} places and, separated by " | ", a singular and a plural
// chosen by {n}.
import { en } from '../locales/en';
import { fr } from '../locales/fr';
import { lang } from './prefs';

export type Key = keyof typeof en;
export type Catalogue = Record<Key, string>;

const catalogues = { en: en as Catalogue, fr } as const;
const plurals = { en: new Intl.PluralRules('en'), fr: new Intl.PluralRules('fr') };

export function t(key: Key, values: Record<string, string | number> = {}): string {
  const now = lang.value;
  let text = catalogues[now][key];
  if (text.includes(' | ')) {
    const [one, other] = text.split(' | ') as [string, string];
    text = plurals[now].select(Number(values.n ?? 0)) === 'one' ? one : other;
  }
  return text.replace(/\{(\w+)\}/g, (_, name: string) => {
    const value = values[name];
    return typeof value === 'number' ? number(value) : (value ?? '');
  });
}

/**
 * A text of the content in the reader's language: `title_fr` before `title`. English is under the
 * bare name, which Prometheus and Grafana read.
 */
export function said(texts: object | undefined, name: string): string | undefined {
  const all = texts as Record<string, unknown> | undefined;
  for (const text of [all?.[`${name}_${lang.value}`], all?.[name]]) {
    if (typeof text === 'string' && text) return text;
  }
  return undefined;
}

const locale = (): string => (lang.value === 'fr' ? 'fr-FR' : 'en-GB');

export function number(value: number, options: Intl.NumberFormatOptions = {}): string {
  return new Intl.NumberFormat(locale(), options).format(value);
}

export function dateTime(ms: number, options?: Intl.DateTimeFormatOptions): string {
  const shape = options ?? { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit', second: '2-digit' };
  return new Intl.DateTimeFormat(locale(), shape).format(ms);
}

export function clock(ms: number, withMillis = false): string {
  return dateTime(ms, {
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
    ...(withMillis ? { fractionalSecondDigits: 3 as const } : {}),
  });
}

/** "3 minutes ago", "dans 2 h". */
export function ago(ms: number, nowMs = Date.now()): string {
  const seconds = (ms - nowMs) / 1000;
  const size = Math.abs(seconds);
  const format = new Intl.RelativeTimeFormat(locale(), { numeric: 'auto', style: 'short' });
  if (size < 60) return format.format(Math.round(seconds), 'second');
  if (size < 3600) return format.format(Math.round(seconds / 60), 'minute');
  if (size < 86_400) return format.format(Math.round(seconds / 3600), 'hour');
  return format.format(Math.round(seconds / 86_400), 'day');
}

/** "2 h 5 min": how long something has lasted. */
export function lasting(seconds: number): string {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86_400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86_400)} ${lang.value === 'fr' ? 'j' : 'd'} ${Math.floor((s % 86_400) / 3600)} h`;
}
