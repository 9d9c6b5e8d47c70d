// The metrics side of Explore: an editor, a graph and the values now.
import { useEffect, useMemo, useState } from 'preact/hooks';
import { Empty, Loading, Tabs } from '../components/bits';
import { Editor, QueryError } from '../components/Editor';
import { Graph, type GraphSeries } from '../components/Graph';
import { Icon } from '../components/Icon';
import { Legend } from '../components/Legend';
import { prom } from '../lib/api';
import { seriesColor } from '../lib/colors';
import type { Panel } from '../lib/dashboard';
import { useLoad } from '../lib/hooks';
import { t } from '../lib/i18n';
import { knownMetrics, loadPanel, metricNames, selector } from '../lib/panelData';
import { theme } from '../lib/prefs';
import { place, setQuery } from '../lib/router';
import { resolve, type Range } from '../lib/time';
import { format } from '../lib/units';

/** The runbook's queries, by what they answer. */
const EXAMPLES = [
  ['example_cpu', '100 - (avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[5m])) * 100)'],
  ['example_ram', '(node_memory_MemTotal_bytes - node_memory_MemAvailable_bytes) / node_memory_MemTotal_bytes * 100'],
  ['example_disk', '(node_filesystem_size_bytes - node_filesystem_avail_bytes) / node_filesystem_size_bytes * 100'],
  ['example_network', 'rate(node_network_receive_bytes_total[5m])'],
  ['example_requests', 'sum by (path) (rate(http_requests_total[5m]))'],
  ['example_p99', 'histogram_quantile(0.99, sum by (le) (rate(http_request_duration_seconds_bucket[5m])))'],
  ['example_pg', 'pg_stat_activity_count'],
  ['example_commits', 'rate(pg_stat_database_xact_commit{datname="koprogo_db"}[5m])'],
  ['example_up', 'up'],
] as const;

const MAX_TABLE_ROWS = 500;
const MAX_GRAPH_SERIES = 100;

/** Explore asks the way a panel does: the same steps, gaps and macros. */
function asPanel(exprs: string[], instant: boolean): Panel {
  return {
    id: instant ? 2 : 1, type: instant ? 'table' : 'timeseries', title: '', gridPos: { x: 0, y: 0, w: 24, h: 10 }, options: {},
    fieldConfig: { defaults: {}, overrides: [] }, transformations: [],
    targets: exprs.map((expr, i) => ({ expr, refId: String.fromCharCode(65 + i), instant, range: !instant })),
    datasource: { type: 'prometheus' },
  };
}

/** A unit from the name, when the whole expression is about one quantity. */
export function guessUnit(expr: string): string {
  const rate = /\b(i?rate|deriv)\s*\(/.test(expr);
  if (/\*\s*100\b|\b100\s*[-*]/.test(expr)) return 'percent';
  const names = metricNames(expr);
  const all = (pattern: RegExp): boolean => names.length > 0 && names.every((n) => pattern.test(n));
  if (/[^=!<>]\/[^/]/.test(expr)) return '';
  if (all(/_bytes(_total)?$/)) return rate ? 'binBps' : 'bytes';
  if (/histogram_quantile/.test(expr) && all(/_seconds(_bucket)?$/)) return 's';
  if (all(/_seconds$/) && !rate) return 's';
  return '';
}

const WIDTH = 1100;

export function ExploreMetrics({ range, turn }: { range: Range; turn: number }) {
  const exprs = place.value.query.getAll('expr').filter((e) => e.trim());
  const [texts, setTexts] = useState(exprs.length ? exprs : ['']);
  const [view, setView] = useState<'graph' | 'table'>('graph');
  const [again, setAgain] = useState(0);
  const asked = exprs.join('\u0000');
  useEffect(() => setTexts(exprs.length ? exprs : ['']), [asked]);

  const span = useMemo(() => resolve(range), [range.from, range.to, turn, again, asked]);
  const run = (next: string[]): void => {
    const wanted = next.map((x) => x.trim()).filter(Boolean);
    if (wanted.join('\u0000') === asked) setAgain(again + 1);
    else setQuery({ expr: wanted, tab: 'metrics' }, { push: true });
  };
  const key = asked ? `${asked} ${span.from} ${span.to} ${view}` : '';
  const { data, error, loading } = useLoad(key, (signal) =>
    loadPanel(asPanel(exprs, view === 'table'), { span, choices: new Map(), width: WIDTH }, signal));
  const suggest = async (): Promise<string[]> => [...(await knownMetrics())];

  return (
    <>
      <div class="query-box">
        {texts.map((text, i) => (
          <div class="query-row" key={i}>
            <Editor
              value={text}
              label={t('query_metrics')}
              placeholder="rate(http_requests_total[5m])"
              suggest={suggest}
              onChange={(value) => setTexts(texts.map((x, j) => (j === i ? value : x)))}
              onRun={(value) => run(texts.map((x, j) => (j === i ? value : x)))}
            />
            {texts.length > 1 && (
              <button type="button" class="button ghost icon-only" aria-label={t('remove_query')} onClick={() => run(texts.filter((_, j) => j !== i))}><Icon name="close" size={14} /></button>
            )}
            {i === texts.length - 1 && (
              <>
                <button type="button" class="button ghost icon-only" aria-label={t('add_query')} title={t('add_query')} onClick={() => setTexts([...texts, ''])}><Icon name="plus" size={14} /></button>
                <button type="button" class="button primary" onClick={() => run(texts)}><Icon name="play" size={12} />{t('run')}</button>
              </>
            )}
          </div>
        ))}
        {exprs[0] && <Help expr={exprs[0]} />}
        {(error || data?.errors.length) ? (data?.errors ?? [error?.message ?? '']).map((m) => <QueryError key={m} query={exprs[0] ?? ''} message={m} />) : null}
      </div>
      {!asked && (
        <div class="examples">
          <h2 class="section-title">{t('examples')}</h2>
          {EXAMPLES.map(([title, expr]) => (
            <button type="button" key={title} class="example" onClick={() => run([expr])}>
              <strong>{t(title)}</strong>
              <code>{expr}</code>
            </button>
          ))}
        </div>
      )}
      {asked && !(data && data.errors.length > 0 && data.series.length === 0) && (
        <section class="panel explore-panel" aria-busy={loading}>
          <header class="panel-head">
            <Tabs label={t('view')} value={view} options={[['graph', t('graph')], ['table', t('table')]] as const} onChange={setView} />
            <span class="spacer" />
            {data && <span class="note">{t('series_count', { n: data.series.length })}</span>}
          </header>
          {!data && !error && <Loading />}
          {data?.emptyBecause && <Empty icon="search" title={t('no_data')}>{data.emptyBecause}</Empty>}
          {data && data.warnings.length > 0 && <p class="note">{data.warnings[0]}</p>}
          {data && view === 'graph' && data.series.length > 0 && data.sent.length > 0 && (
            <Chart data={data} exprs={exprs} onZoom={(s) => setQuery({ from: String(Math.round(s.from)), to: String(Math.round(s.to)) }, { push: true })} />
          )}
          {data && view === 'table' && data.rows.length > 0 && (
            <div class="table-box">
              <table class="data">
                <thead><tr><th>{t('series')}</th><th class="num">{t('value')}</th></tr></thead>
                <tbody>
                  {data.rows.slice(0, MAX_TABLE_ROWS).map((row, i) => (
                    <tr key={i}><td><code class="wrap">{selector(row.labels) || '{}'}</code></td><td class="num" title={String(row.value)}>{format(row.value, '', null)}</td></tr>
                  ))}
                </tbody>
              </table>
              {data.rows.length > MAX_TABLE_ROWS && <p class="note">{t('and_more', { n: data.rows.length - MAX_TABLE_ROWS })}</p>}
            </div>
          )}
        </section>
      )}
    </>
  );
}

function Chart({ data, exprs, onZoom }: {
  data: Awaited<ReturnType<typeof loadPanel>>; exprs: string[]; onZoom: (span: { from: number; to: number }) => void;
}) {
  const [hidden, setHidden] = useState<Set<string>>(new Set());
  const made = useMemo<GraphSeries[]>(() => data.series.slice(0, MAX_GRAPH_SERIES).map((s, i) => ({
    name: s.name, color: seriesColor(i), values: s.values, unit: guessUnit(exprs[s.refId.charCodeAt(0) - 65] ?? ''), fill: data.series.length === 1 ? 12 : 0,
  })), [data, theme.value]);
  const series = useMemo(() => made.map((s) => (hidden.has(s.name) ? { ...s, hidden: true } : s)), [made, hidden]);
  return (
    <>
      {data.series.length > MAX_GRAPH_SERIES && <p class="note">{t('too_many_series', { n: MAX_GRAPH_SERIES })}</p>}
      <div class="explore-graph"><Graph times={data.times} series={series} span={data.span} unit={made[0]?.unit ?? ''} onZoom={onZoom} label={exprs.join(', ')} /></div>
      <Legend series={made} table calcs={['lastNotNull', 'min', 'mean', 'max']} hidden={hidden} onChange={setHidden} />
    </>
  );
}

/** What the metric says of itself. */
function Help({ expr }: { expr: string }) {
  const name = metricNames(expr)[0] ?? '';
  const { data } = useLoad(name && `help ${name}`, (signal) => prom.metadata(name, signal));
  const info = data?.[name]?.[0];
  if (!info?.help) return null;
  return <p class="query-help"><code>{name}</code> <span class="tag">{info.type}</span> {info.help}</p>;
}
