// Grafana's units: a value and a unit name in, a short text out ("1.25 GiB", "37 %", "4 min").
// An unknown unit is printed after the number, as Grafana does.
import { dateTime, number, t } from './i18n';

export interface Formatted {
  text: string;
  suffix: string;
}

const BINARY = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'];
const DECIMAL = ['B', 'kB', 'MB', 'GB', 'TB', 'PB', 'EB'];
const BITS = ['b', 'kb', 'Mb', 'Gb', 'Tb', 'Pb'];
const BIBITS = ['b', 'Kib', 'Mib', 'Gib', 'Tib', 'Pib'];
const SHORT = ['', 'K', 'Mil', 'Bil', 'Tri'];
const SI = ['', 'k', 'M', 'G', 'T', 'P'];
const HERTZ = ['Hz', 'kHz', 'MHz', 'GHz', 'THz'];

/** Digits after the point, so that about three digits count. */
function decimalsFor(value: number): number {
  const size = Math.abs(value);
  if (size === 0 || Number.isInteger(value)) return 0;
  if (size >= 100) return 0;
  if (size >= 10) return 1;
  if (size >= 1) return 2;
  return Math.min(8, 2 - Math.floor(Math.log10(size)));
}

function plain(value: number, decimals?: number | null): string {
  const digits = decimals ?? decimalsFor(value);
  return number(value, {
    maximumFractionDigits: digits,
    minimumFractionDigits: decimals ?? 0,
  });
}

function scaled(value: number, base: number, names: string[], decimals?: number | null, start = 0): Formatted {
  let size = value;
  let at = start;
  while (Math.abs(size) >= base && at < names.length - 1) {
    size /= base;
    at += 1;
  }
  return { text: plain(size, decimals), suffix: names[at] ?? '' };
}

/** A span of time from seconds, in the one unit that reads best. */
function span(seconds: number, decimals?: number | null): Formatted {
  const size = Math.abs(seconds);
  if (size === 0) return { text: '0', suffix: 's' };
  const steps: [number, number, string][] = [
    [1e-6, 1e-9, 'ns'],
    [1e-3, 1e-6, 'µs'],
    [1, 1e-3, 'ms'],
    [60, 1, 's'],
    [3600, 60, 'min'],
    [86_400, 3600, 'h'],
    [604_800, 86_400, t('unit_day')],
    [31_536_000, 604_800, t('unit_week')],
    [Infinity, 31_536_000, t('unit_year')],
  ];
  const [, divisor, suffix] = steps.find(([limit]) => size < limit) ?? [0, 1, 's'];
  return { text: plain(seconds / divisor, decimals), suffix };
}

/** "1 d 4 h": Grafana's dtdurations. */
function duration(seconds: number): Formatted {
  const parts: [number, string][] = [
    [31_536_000, t('unit_year')],
    [604_800, t('unit_week')],
    [86_400, t('unit_day')],
    [3600, 'h'],
    [60, 'min'],
    [1, 's'],
  ];
  const words: string[] = [];
  let rest = Math.floor(Math.abs(seconds));
  for (const [size, name] of parts) {
    if (rest >= size) {
      words.push(`${number(Math.floor(rest / size))} ${name}`);
      rest %= size;
    }
    if (words.length === 2) break;
  }
  return { text: (seconds < 0 ? '-' : '') + (words.join(' ') || '0 s'), suffix: '' };
}

const RATES: Record<string, string> = {
  ops: 'ops/s', reqps: 'req/s', rps: 'rd/s', wps: 'wr/s', iops: 'io/s', eps: 'evt/s', cps: 'c/s', pps: 'p/s',
  rowsps: 'rows/s', recps: 'rec/s', mps: 'msg/s', opm: 'ops/min', rpm: 'req/min', wpm: 'wr/min', cpm: 'c/min',
};

const SYMBOLS: Record<string, string> = {
  celsius: '°C', fahrenheit: '°F', kelvin: 'K', volt: 'V', amp: 'A', watt: 'W', kwatt: 'kW', joule: 'J',
  rotrpm: 'rpm', degree: '°', humidity: '%H', dB: 'dB', dBm: 'dBm',
};

const CURRENCIES: Record<string, string> = {
  currencyUSD: '$', currencyEUR: '€', currencyGBP: '£', currencyCHF: 'CHF',
};

export function formatParts(value: number | null | undefined, unit = '', decimals?: number | null): Formatted {
  if (value === null || value === undefined || Number.isNaN(value)) return { text: '–', suffix: '' };
  if (!Number.isFinite(value)) return { text: value > 0 ? '+∞' : '-∞', suffix: '' };
  switch (unit) {
    case '': case 'none': case 'string': case 'locale': return { text: plain(value, decimals), suffix: '' };
    case 'short': case 'sishort': return scaled(value, 1000, unit === 'short' ? SHORT : SI, decimals);
    case 'percent': return { text: plain(value, decimals), suffix: '%' };
    case 'percentunit': return { text: plain(value * 100, decimals), suffix: '%' };
    case 'bytes': return scaled(value, 1024, BINARY, decimals);
    case 'kbytes': return scaled(value, 1024, BINARY, decimals, 1);
    case 'mbytes': return scaled(value, 1024, BINARY, decimals, 2);
    case 'gbytes': return scaled(value, 1024, BINARY, decimals, 3);
    case 'decbytes': return scaled(value, 1000, DECIMAL, decimals);
    case 'deckbytes': return scaled(value, 1000, DECIMAL, decimals, 1);
    case 'decmbytes': return scaled(value, 1000, DECIMAL, decimals, 2);
    case 'decgbytes': return scaled(value, 1000, DECIMAL, decimals, 3);
    case 'bits': return scaled(value, 1024, BIBITS, decimals);
    case 'decbits': return scaled(value, 1000, BITS, decimals);
    case 'Bps': return perSecond(scaled(value, 1000, DECIMAL, decimals));
    case 'binBps': return perSecond(scaled(value, 1024, BINARY, decimals));
    case 'KBs': return perSecond(scaled(value, 1000, DECIMAL, decimals, 1));
    case 'MBs': return perSecond(scaled(value, 1000, DECIMAL, decimals, 2));
    case 'bps': return perSecond(scaled(value, 1000, BITS, decimals));
    case 'binbps': return perSecond(scaled(value, 1024, BIBITS, decimals));
    case 'hertz': return scaled(value, 1000, HERTZ, decimals);
    case 'ns': return span(value / 1e9, decimals);
    case 'µs': return span(value / 1e6, decimals);
    case 'ms': return span(value / 1e3, decimals);
    case 's': case 'clocks': return span(value, decimals);
    case 'm': return span(value * 60, decimals);
    case 'h': return span(value * 3600, decimals);
    case 'd': return span(value * 86_400, decimals);
    case 'dtdurations': case 'dtdurationms': return duration(unit === 'dtdurations' ? value : value / 1000);
    case 'dateTimeAsIso': case 'dateTimeAsSystem': case 'dateTimeAsLocal': return { text: dateTime(value), suffix: '' };
    case 'dateTimeFromNow': return { text: duration((Date.now() - value) / 1000).text, suffix: '' };
    case 'bool': return { text: value ? t('yes') : t('no'), suffix: '' };
    case 'bool_yes_no': return { text: value ? t('yes') : t('no'), suffix: '' };
    case 'bool_on_off': return { text: value ? 'on' : 'off', suffix: '' };
    case 'sci': return { text: value.toExponential(decimals ?? 2), suffix: '' };
  }
  const rate = RATES[unit];
  if (rate) {
    const { text, suffix } = scaled(value, 1000, SI, decimals);
    return { text: text + suffix, suffix: rate };
  }
  const currency = CURRENCIES[unit];
  if (currency) return { text: `${currency} ${plain(value, decimals ?? 2)}`, suffix: '' };
  const symbol = SYMBOLS[unit];
  if (symbol) return { text: plain(value, decimals), suffix: symbol };
  if (unit.startsWith('suffix:')) return { text: plain(value, decimals), suffix: unit.slice(7).trim() };
  if (unit.startsWith('prefix:')) return { text: unit.slice(7) + plain(value, decimals), suffix: '' };
  return { text: plain(value, decimals), suffix: unit };
}

function perSecond({ text, suffix }: Formatted): Formatted {
  return { text, suffix: `${suffix}/s` };
}

export function format(value: number | null | undefined, unit = '', decimals?: number | null): string {
  const { text, suffix } = formatParts(value, unit, decimals);
  if (!suffix) return text;
  // A space that does not break, except before the suffixes that Grafana glues on.
  const glued = /^(K|Mil|Bil|Tri|k|M|G|T|P|°.?)$/.test(suffix);
  return glued ? text + suffix : `${text}\u00a0${suffix}`;
}

export const bytes = (value: number): string => format(value, 'bytes');
