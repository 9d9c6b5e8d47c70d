// From field configuration to looks: overrides, thresholds, value mappings, reducers.
import { namedColor, seriesColor } from './colors';
import type { CustomConfig, FieldConfig, Mapping, Override, ThresholdStep } from './dashboard';
import { t, type Key } from './i18n';
import { formatParts, type Formatted } from './units';

export interface FieldId {
  name: string;
  refId: string;
  type?: 'number' | 'string' | 'time';
}

function regexOf(text: string): RegExp | undefined {
  const literal = /^\/(.*)\/([gimsuy]*)$/.exec(text);
  try {
    return literal ? new RegExp(literal[1] ?? '', literal[2]) : new RegExp(text);
  } catch {
    return undefined;
  }
}

function matches({ matcher }: Override, field: FieldId): boolean {
  switch (matcher.id) {
    case 'byName': return matcher.options === field.name;
    case 'byRegexp': return typeof matcher.options === 'string' && (regexOf(matcher.options)?.test(field.name) ?? false);
    case 'byFrameRefID': return matcher.options === field.refId;
    case 'byType': return matcher.options === (field.type ?? 'number');
    case 'byNames': {
      const { names = [], mode } = (matcher.options ?? {}) as { names?: string[]; mode?: string };
      return names.includes(field.name) !== (mode === 'exclude');
    }
  }
  return false;
}

/** The panel's defaults with the overrides that name this field laid on top. */
export function fieldConfig(defaults: FieldConfig, overrides: Override[], field: FieldId): FieldConfig {
  const config: FieldConfig = { ...defaults, custom: { ...defaults.custom } };
  for (const override of overrides) {
    if (!matches(override, field)) continue;
    for (const { id, value } of override.properties) {
      if (id.startsWith('custom.')) (config.custom as Record<string, unknown>)[id.slice(7)] = value;
      else (config as Record<string, unknown>)[id] = value;
    }
  }
  return config;
}

export function thresholdColor(config: FieldConfig, value: number | null): string | undefined {
  const steps = config.thresholds?.steps;
  if (!steps?.length || value === null) return undefined;
  const at = thresholdScale(config, value);
  let color = steps[0]?.color;
  for (const step of steps) {
    if (step.value === null || step.value === undefined || at >= step.value) color = step.color;
  }
  return color ? namedColor(color) : undefined;
}

function thresholdScale(config: FieldConfig, value: number): number {
  if (config.thresholds?.mode !== 'percentage') return value;
  const min = config.min ?? 0;
  const max = config.max ?? 100;
  return ((value - min) / (max - min || 1)) * 100;
}

export function realSteps(config: FieldConfig): ThresholdStep[] {
  return (config.thresholds?.steps ?? []).filter((s) => s.value !== null && s.value !== undefined);
}

/** A field's colour: fixed, by threshold, or the next of the palette. */
export function fieldColor(config: FieldConfig, index: number, value: number | null): string {
  const mode = config.color?.mode ?? '';
  if (mode === 'fixed' || mode === 'shades') return namedColor(config.color?.fixedColor, seriesColor(index));
  if (mode === 'thresholds') return thresholdColor(config, value) ?? seriesColor(index);
  return seriesColor(index);
}

/** Grafana's reducers over the values of one series, nulls left out as it does. */
export function reduce(values: (number | null)[], calc: string): number | null {
  const known = values.filter((v): v is number => v !== null && !Number.isNaN(v));
  if (calc === 'last') return values[values.length - 1] ?? null;
  if (calc === 'first') return values[0] ?? null;
  if (calc === 'count') return known.length;
  if (known.length === 0) return null;
  const first = known[0] ?? 0;
  const last = known[known.length - 1] ?? 0;
  const sum = (): number => known.reduce((a, b) => a + b, 0);
  const max = (): number => known.reduce((a, b) => (b > a ? b : a), -Infinity);
  const min = (): number => known.reduce((a, b) => (b < a ? b : a), Infinity);
  switch (calc) {
    case 'mean': return sum() / known.length;
    case 'sum': case 'total': return sum();
    case 'max': return max();
    case 'min': return min();
    case 'range': return max() - min();
    case 'delta': case 'diff': return last - first;
    case 'diffperc': return first === 0 ? null : (last - first) / first;
    case 'firstNotNull': return first;
    case 'median': return [...known].sort((a, b) => a - b)[Math.floor(known.length / 2)] ?? null;
  }
  return last;
}

const CALC_KEYS: Record<string, Key> = {
  mean: 'calc_mean', max: 'calc_max', min: 'calc_min', sum: 'calc_total', total: 'calc_total', last: 'calc_last',
  lastNotNull: 'calc_last', first: 'calc_first', firstNotNull: 'calc_first', range: 'calc_range', count: 'calc_count',
  delta: 'calc_delta', diff: 'calc_delta', median: 'calc_median',
};

export const calcName = (calc: string): string => (CALC_KEYS[calc] ? t(CALC_KEYS[calc]) : calc);

export interface Shown extends Formatted {
  color: string | undefined;
}

interface MappingResult { text?: string; color?: string }

function mapped(mappings: Mapping[] | undefined, value: number | string | null): MappingResult | undefined {
  for (const { type, options = {} } of mappings ?? []) {
    if (type === 'value') {
      const hit = (options as Record<string, MappingResult>)[String(value)];
      if (hit && typeof hit === 'object') return hit;
    } else if (type === 'range' && typeof value === 'number') {
      const { from, to, result } = options as { from?: number | null; to?: number | null; result?: MappingResult };
      if ((from ?? -Infinity) <= value && value <= (to ?? Infinity)) return result;
    } else if (type === 'special') {
      const { match, result } = options as { match?: string; result?: MappingResult };
      const nothing = value === null;
      const nan = typeof value === 'number' && Number.isNaN(value);
      if ((nothing && /null/.test(match ?? '')) || (nan && /nan/.test(match ?? '')) || (value === '' && match === 'empty')) return result;
    } else if (type === 'regex' && value !== null) {
      const { pattern, result } = options as { pattern?: string; result?: MappingResult };
      if (pattern && regexOf(pattern)?.test(String(value))) return result;
    }
  }
  return undefined;
}

/** A value as it is printed: mapped, with unit, with its threshold's colour. */
export function show(config: FieldConfig, value: number | string | null): Shown {
  const hit = mapped(config.mappings, value);
  const byThreshold = typeof value === 'number' ? thresholdColor(config, value) : undefined;
  const color = hit?.color ? namedColor(hit.color) : byThreshold;
  if (hit?.text !== undefined) return { text: hit.text, suffix: '', color };
  if (typeof value === 'string') return { text: value, suffix: '', color };
  if (value === null && config.noValue) return { text: config.noValue, suffix: '', color };
  return { ...formatParts(value, config.unit, config.decimals), color };
}

export const asText = ({ text, suffix }: Formatted): string => (suffix ? `${text}\u00a0${suffix}` : text);

export const dashOf = (style: CustomConfig['lineStyle']): number[] | undefined =>
  style?.fill === 'dash' ? (style.dash ?? [8, 6]) : style?.fill === 'dot' ? (style.dash ?? [2, 4]) : undefined;
