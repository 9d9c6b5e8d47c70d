// A graph over time. It draws what it is given: legends and queries are elsewhere, and how uPlot is
// set up stands in plot.ts.
import { useEffect, useMemo, useRef } from 'preact/hooks';
import uPlot from 'uplot';
import { withAlpha } from '../lib/colors';
import { useSize } from '../lib/hooks';
import { t } from '../lib/i18n';
import { lang, theme } from '../lib/prefs';
import { format } from '../lib/units';
import { plotOptions, type GraphProps, type GraphSeries, type Latest } from './plot';

export type { GraphSeries, Threshold } from './plot';

export function Graph(props: GraphProps) {
  const [box, size] = useSize<HTMLDivElement>();
  const plot = useRef<uPlot | null>(null);
  const zoom = useRef(props.onZoom);
  zoom.current = props.onZoom;
  const { times, series, span } = props;
  const drawn = useMemo(() => stack(times, series, props.percentStack ?? false), [times, series, props.percentStack]);
  const shape = JSON.stringify([
    series.map(({ values: _, ...rest }) => rest),
    props.unit, props.log, props.min, props.max, props.softMin, props.softMax, props.thresholds, props.sync, theme.value, lang.value,
  ]);
  const ready = size.width > 0 && size.height > 0;
  const latest = useRef<Latest>({ times, series, span });
  latest.current = { times, series, span };

  useEffect(() => {
    if (!ready || !box.current) return undefined;
    const options = plotOptions(props, drawn.bands, size, (from, to) => zoom.current?.({ from, to }), () => latest.current);
    const made = new uPlot(options, drawn.data, box.current);
    plot.current = made;
    return () => {
      made.destroy();
      plot.current = null;
    };
    // The plot is made anew when its shape changes; new data and sizes are set below.
  }, [shape, ready]);

  useEffect(() => {
    const made = plot.current;
    if (!made) return;
    // Resets the scales too: the x scale to the span asked for, whatever the data cover.
    made.setData(drawn.data);
  }, [drawn, span.from, span.to, shape, ready]);

  useEffect(() => {
    if (ready) plot.current?.setSize(size);
  }, [size.width, size.height]);

  return <div class="graph" ref={box} role="img" aria-label={`${props.label}. ${describe(series)}`} />;
}

/** For those who do not see the canvas: last, minimum and maximum of each series. */
export function describe(series: GraphSeries[]): string {
  return series
    .slice(0, 6)
    .map((s) => {
      const known = s.values.filter((v): v is number => v !== null && Number.isFinite(v));
      if (known.length === 0) return `${s.name}: ${t('no_data')}`;
      const say = (v: number | undefined): string => format(v, s.unit, s.decimals);
      let low = Infinity;
      let high = -Infinity;
      for (const v of known) {
        if (v < low) low = v;
        if (v > high) high = v;
      }
      return `${s.name}: ${t('calc_last')} ${say(known[known.length - 1])}, ${t('calc_min')} ${say(low)}, ${t('calc_max')} ${say(high)}`;
    })
    .join('; ');
}

interface Drawn {
  data: uPlot.AlignedData;
  bands: uPlot.Band[];
}

/** Turns stacked series into running sums, and says which pairs of lines enclose a filled band. */
function stack(times: number[], series: GraphSeries[], percent: boolean): Drawn {
  const data: (number | null)[][] = [];
  const bands: uPlot.Band[] = [];
  const groups = new Map<string, { sum: Float64Array; total: Float64Array; below: number }>();
  for (const s of series) {
    if (!s.stack || s.hidden) continue;
    const group = groups.get(s.stack) ?? { sum: new Float64Array(times.length), total: new Float64Array(times.length), below: -1 };
    s.values.forEach((v, i) => { group.total[i] = (group.total[i] ?? 0) + Math.abs(v ?? 0); });
    groups.set(s.stack, group);
  }
  series.forEach((s, index) => {
    const group = s.stack ? groups.get(s.stack) : undefined;
    if (!group || s.hidden) {
      data.push(s.values);
      return;
    }
    const out = s.values.map((v, i) => {
      const part = percent ? ((v ?? 0) / (group.total[i] || 1)) * 100 : (v ?? 0);
      group.sum[i] = (group.sum[i] ?? 0) + part;
      return v === null ? null : (group.sum[i] ?? 0);
    });
    data.push(out);
    if (group.below >= 0) bands.push({ series: [index + 1, group.below + 1], fill: withAlpha(s.color, (s.fill ?? 30) / 100) });
    group.below = index;
  });
  return { data: [times, ...data] as uPlot.AlignedData, bands };
}
