// Single values: the stat panel with its sparkline, the gauge and the bar gauge.
import { Sparkline } from '../components/Sparkline';
import { withAlpha } from '../lib/colors';
import type { FieldConfig, Panel } from '../lib/dashboard';
import { fieldColor, fieldConfig, realSteps, reduce, show, thresholdColor, asText, type Shown } from '../lib/fields';
import type { PanelData } from '../lib/panelData';
import { format } from '../lib/units';

interface Props { panel: Panel; data: PanelData }

interface Value {
  name: string;
  value: number | null;
  shown: Shown;
  color: string;
  config: FieldConfig;
  points: (number | null)[];
}

const MAX_VALUES = 60;

function valuesOf({ panel, data }: Props): Value[] {
  const { defaults, overrides } = panel.fieldConfig;
  const calc = panel.options.reduceOptions?.calcs?.[0] ?? 'lastNotNull';
  const values = data.series.slice(0, MAX_VALUES).map((series, index) => {
    const config = fieldConfig(defaults, overrides, { name: series.name, refId: series.refId });
    const value = reduce(series.values, calc);
    const shown = show(config, value);
    const color = shown.color ?? (config.color?.mode === 'fixed' ? fieldColor(config, index, value) : 'var(--good)');
    return { name: config.displayName ?? series.title, value, shown, color, config, points: series.values };
  });
  return ranked(panel, values);
}

/** A panel that asks for the largest shows the largest first, in whatever order they came. */
function ranked(panel: Panel, values: Value[]): Value[] {
  const asked = panel.targets[0]?.expr ?? '';
  const way = /^\s*(topk|sort_desc)\b/.test(asked) ? -1 : /^\s*(bottomk|sort)\b/.test(asked) ? 1 : 0;
  return way === 0 ? values : [...values].sort((a, b) => way * ((a.value ?? -Infinity) - (b.value ?? -Infinity)));
}

export function Stat({ panel, data }: Props) {
  const values = valuesOf({ panel, data });
  const { colorMode = 'value', graphMode = 'area', textMode = 'auto' } = panel.options;
  const withName = textMode === 'value_and_name' || textMode === 'name' || (textMode === 'auto' && values.length > 1);
  return (
    <div class={`stats ${values.length > 1 ? 'many' : ''}`} tabIndex={values.length > 1 ? 0 : undefined}>
      {values.map((v, i) => {
        const background = colorMode.startsWith('background');
        return (
          <div key={`${v.name} ${i}`} class={`stat ${background ? 'filled' : ''}`} style={background ? { background: withAlpha(v.color, 0.16), borderColor: withAlpha(v.color, 0.4) } : {}}>
            {withName && <div class="stat-name">{v.name}</div>}
            {textMode !== 'name' && (
              <div class="stat-value" style={{ color: colorMode === 'none' || background ? 'var(--text)' : v.color }}>
                {v.shown.text}
                {v.shown.suffix && <small>{v.shown.suffix}</small>}
              </div>
            )}
            {graphMode === 'area' && v.points.length > 2 && (
              <div class="stat-spark"><Sparkline points={v.points} color={v.color} /></div>
            )}
          </div>
        );
      })}
    </div>
  );
}

/** Where the scale of a gauge ends when the panel does not say. */
function scaleOf(config: FieldConfig, values: Value[]): { min: number; max: number } {
  const min = config.min ?? 0;
  if (typeof config.max === 'number') return { min, max: config.max };
  if (config.unit === 'percent') return { min, max: 100 };
  if (config.unit === 'percentunit') return { min, max: 1 };
  const top = Math.max(...values.map((v) => v.value ?? 0), ...realSteps(config).map((s) => s.value ?? 0));
  return { min, max: top > min ? top * 1.1 : min + 1 };
}

const SWEEP = 240;

/** A point on the gauge's arc; 0 is its left end, 1 its right end. */
function onArc(part: number, radius: number): string {
  const angle = ((150 + part * SWEEP) * Math.PI) / 180;
  return `${(50 + radius * Math.cos(angle)).toFixed(2)} ${(50 + radius * Math.sin(angle)).toFixed(2)}`;
}

function arc(from: number, to: number, radius: number): string {
  const large = (to - from) * SWEEP > 180 ? 1 : 0;
  return `M${onArc(from, radius)}A${radius} ${radius} 0 ${large} 1 ${onArc(to, radius)}`;
}

export function Gauge({ panel, data }: Props) {
  const values = valuesOf({ panel, data });
  return (
    <div class="gauges">
      {values.map((v, i) => {
        const { min, max } = scaleOf(v.config, values);
        const part = Math.min(1, Math.max(0, ((v.value ?? min) - min) / (max - min || 1)));
        const steps = realSteps(v.config);
        return (
          <figure key={`${v.name} ${i}`} class="gauge">
            <svg viewBox="4 4 92 76" role="img" aria-label={`${v.name}: ${asText(v.shown)}, ${format(min, v.config.unit)} – ${format(max, v.config.unit)}`}>
              <path d={arc(0, 1, 38)} class="gauge-track" />
              {part > 0.001 && <path d={arc(0, part, 38)} class="gauge-value" style={{ stroke: v.color }} />}
              {steps.map((s) => {
                const at = ((s.value ?? 0) - min) / (max - min || 1);
                return at > 0 && at < 1 ? <path key={s.value} d={arc(at, Math.min(1, at + 0.008), 45)} class="gauge-mark" style={{ stroke: thresholdColor(v.config, s.value) ?? 'currentColor' }} /> : null;
              })}
              <text x="50" y="56" text-anchor="middle" class="gauge-text">{v.shown.text}<tspan class="gauge-unit" dx="2">{v.shown.suffix}</tspan></text>
            </svg>
            {values.length > 1 && <figcaption>{v.name}</figcaption>}
          </figure>
        );
      })}
    </div>
  );
}

export function BarGauge({ panel, data }: Props) {
  const values = valuesOf({ panel, data });
  return (
    <div class="bars">
      {values.map((v, i) => {
        const { min, max } = scaleOf(v.config, values);
        const part = Math.min(1, Math.max(0, ((v.value ?? min) - min) / (max - min || 1)));
        return (
          <div key={`${v.name} ${i}`} class="bar">
            <span class="bar-name" title={v.name}>{v.name}</span>
            <span class="bar-track"><i style={{ width: `${part * 100}%`, background: v.color }} /></span>
            <b style={{ color: v.color }}>{asText(v.shown)}</b>
          </div>
        );
      })}
    </div>
  );
}

/** Slices as a ring with their legend. */
export function Pie({ panel, data }: Props) {
  const { defaults, overrides } = panel.fieldConfig;
  const values = valuesOf({ panel, data })
    .map((v, i) => ({ ...v, color: v.config.color?.mode === 'thresholds' ? v.color : fieldColor(fieldConfig(defaults, overrides, { name: v.name, refId: '' }), i, v.value) }))
    .filter((v) => (v.value ?? 0) > 0);
  const total = values.reduce((sum, v) => sum + (v.value ?? 0), 0);
  const around = 2 * Math.PI * 32;
  let at = 0;
  return (
    <div class="pie">
      <svg viewBox="0 0 100 100" role="img" aria-label={values.map((v) => `${v.name}: ${asText(v.shown)}`).join('; ')}>
        {values.map((v, i) => {
          const length = ((v.value ?? 0) / (total || 1)) * around;
          const turn = (at / around) * 360 - 90;
          at += length;
          return <circle key={i} cx="50" cy="50" r="32" fill="none" stroke={v.color} stroke-width="16" stroke-dasharray={`${Math.max(0, length - 0.8)} ${around}`} transform={`rotate(${turn} 50 50)`} />;
        })}
      </svg>
      <div class="legend list">
        {values.map((v, i) => (
          <span key={i} class="pie-item">
            <i style={{ background: v.color }} />
            {v.name} <b>{format(((v.value ?? 0) / (total || 1)) * 100, 'percent')}</b>
          </span>
        ))}
      </div>
    </div>
  );
}
