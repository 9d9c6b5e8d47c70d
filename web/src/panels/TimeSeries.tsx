// The timeseries panel (and the older "graph", which the server has migrated).
import { useMemo, useState } from 'preact/hooks';
import { Graph, type GraphSeries, type Threshold } from '../components/Graph';
import { Legend } from '../components/Legend';
import { namedColor } from '../lib/colors';
import { dashOf, fieldColor, fieldConfig, realSteps, reduce } from '../lib/fields';
import type { CustomConfig, FieldConfig, Panel } from '../lib/dashboard';
import type { PanelData } from '../lib/panelData';
import { theme } from '../lib/prefs';
import type { Span } from '../lib/time';

interface Props {
  panel: Panel;
  data: PanelData;
  onZoom: (span: Span) => void;
  sync: string | undefined;
}

export interface Drawable { graph: GraphSeries; config: FieldConfig; inLegend: boolean }

/** Grafana's field settings, as our graph understands them. */
export function drawables(panel: Panel, data: PanelData): Drawable[] {
  const { defaults, overrides } = panel.fieldConfig;
  return data.series.map((series, index) => {
    const config = fieldConfig(defaults, overrides, { name: series.name, refId: series.refId });
    const custom = config.custom ?? {};
    const negative = custom.transform === 'negative-Y';
    const lineStep = { stepBefore: 'before', stepAfter: 'after' }[custom.lineInterpolation ?? ''] as 'before' | 'after' | undefined;
    return {
      config,
      inLegend: !custom.hideFrom?.legend,
      graph: {
        name: config.displayName ? fillName(config.displayName, series.labels, series.title) : series.title,
        color: fieldColor(config, index, reduce(series.values, 'lastNotNull')),
        values: negative ? series.values.map((v) => (v === null ? null : -v)) : series.values,
        unit: config.unit ?? '',
        decimals: config.decimals,
        width: custom.lineWidth ?? 1.5,
        fill: custom.fillOpacity ?? 0,
        draw: custom.drawStyle ?? 'line',
        step: lineStep,
        smooth: custom.lineInterpolation === 'smooth',
        dash: dashOf(custom.lineStyle),
        stack: stackGroup(custom, negative),
        right: custom.axisPlacement === 'right',
        hidden: custom.hideFrom?.viz === true,
        spanGaps: custom.spanNulls === true || typeof custom.spanNulls === 'number',
        points: custom.showPoints === 'always',
      },
    };
  });
}

/** What is drawn below zero stacks downwards, by itself. */
function stackGroup(custom: CustomConfig, negative: boolean): string | undefined {
  const { mode, group } = custom.stacking ?? {};
  return mode === 'normal' || mode === 'percent' ? `${String(group ?? 'A')}${negative ? ' below' : ''}` : undefined;
}

function fillName(format: string, labels: Record<string, string>, name: string): string {
  return format
    .replace(/\$\{__field\.labels\.(\w+)\}/g, (_, label: string) => labels[label] ?? '')
    .replace(/\$\{__(?:field|series)\.(?:display)?[nN]ame\}/g, name);
}

function bound(value: number | null | undefined): number | undefined {
  return typeof value === 'number' ? value : undefined;
}

export function TimeSeries({ panel, data, onZoom, sync }: Props) {
  const [hidden, setHidden] = useState<Set<string>>(new Set());
  const made = useMemo(() => drawables(panel, data), [panel, data, theme.value]);
  const series = useMemo(
    () => made.map(({ graph }) => (hidden.has(graph.name) ? { ...graph, hidden: true } : graph)),
    [made, hidden],
  );
  const { defaults } = panel.fieldConfig;
  const custom = defaults.custom ?? {};
  const mode = custom.thresholdsStyle?.mode ?? 'off';
  const thresholds: Threshold[] = mode === 'off' ? [] : realSteps(defaults).map((s) => ({ value: s.value ?? 0, color: namedColor(s.color) }));
  const legend = panel.options.legend ?? {};
  const withLegend = legend.showLegend !== false && legend.displayMode !== 'hidden';
  return (
    <div class={`ts ${legend.placement === 'right' ? 'right' : ''}`}>
      <Graph
        times={data.times}
        series={series}
        span={data.span}
        unit={made[0]?.config.unit ?? defaults.unit ?? ''}
        log={custom.scaleDistribution?.type === 'log'}
        percentStack={custom.stacking?.mode === 'percent'}
        min={bound(defaults.min)}
        max={bound(defaults.max)}
        softMin={bound(custom.axisSoftMin)}
        softMax={bound(custom.axisSoftMax)}
        thresholds={thresholds}
        thresholdLines={/line|dashed/.test(mode)}
        thresholdAreas={mode.includes('area')}
        onZoom={onZoom}
        sync={sync}
        label={panel.title}
      />
      {withLegend && (
        <Legend
          series={made.filter((m) => m.inLegend).map((m) => m.graph)}
          table={legend.displayMode === 'table'}
          calcs={legend.calcs ?? []}
          hidden={hidden}
          onChange={setHidden}
          sortBy={legend.sortBy}
          sortDesc={legend.sortDesc}
        />
      )}
    </div>
  );
}
