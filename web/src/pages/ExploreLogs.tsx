// The logs side of Explore: an editor, the volume by level, and the lines, which can be followed.
import { useEffect, useMemo, useState } from 'preact/hooks';
import { Empty, Labels, Loading } from '../components/bits';
import { Editor, QueryError } from '../components/Editor';
import { Graph, type GraphSeries } from '../components/Graph';
import { Icon } from '../components/Icon';
import { LogList } from '../components/LogList';
import { loki, type QueryData } from '../lib/api';
import { cssColor } from '../lib/colors';
import { useLoad } from '../lib/hooks';
import { clock, number, t } from '../lib/i18n';
import { flatten, withFilter, type LogLine } from '../lib/logs';
import { selector } from '../lib/panelData';
import { theme } from '../lib/prefs';
import { place, setQuery } from '../lib/router';
import { resolve, roundInterval, type Range, type Span } from '../lib/time';
import { seriesColor } from '../lib/colors';

/** The runbook's queries. */
const EXAMPLES = [
  ['logs_backend_errors', '{job="koprogo-api"} |= "ERROR" | json'],
  ['logs_slow', '{job="koprogo-api"} | json | duration_ms > 1000'],
  ['logs_auth', '{job="koprogo-api"} |= "401" | json | path="/api/v1/auth/login"'],
  ['logs_db', '{job="postgresql"} |= "ERROR" | logfmt'],
  ['logs_suricata', '{job="suricata"} | json | event_type="alert"'],
] as const;

const LIMITS = [100, 500, 1000, 5000] as const;
const LIVE_MS = 2000;
const BUCKETS = 60;

export function ExploreLogs({ range, turn }: { range: Range; turn: number }) {
  const { query } = place.value;
  const expr = query.get('expr') ?? '';
  const direction = query.get('dir') === 'forward' ? 'forward' : 'backward';
  const limit = Number(query.get('limit')) || 500;
  const [text, setText] = useState(expr);
  const [live, setLive] = useState(false);
  const [wrap, setWrap] = useState(false);
  const [again, setAgain] = useState(0);
  useEffect(() => setText(expr), [expr]);

  const [now, setNow] = useState(() => Date.now());
  useEffect(() => setNow(Date.now()), [turn, again, expr, range.from, range.to]);
  useEffect(() => {
    if (!live) return undefined;
    const timer = window.setInterval(() => document.visibilityState === 'visible' && setNow(Date.now()), LIVE_MS);
    return () => window.clearInterval(timer);
  }, [live]);
  const span = useMemo(() => resolve(range, now), [range.from, range.to, now]);

  const run = (next: string): void => {
    if (next.trim() === expr) setAgain(again + 1);
    else setQuery({ expr: next.trim(), tab: 'logs' }, { push: true });
  };
  const { data, error, loading } = useLoad(expr && `${expr} ${span.from} ${span.to} ${limit} ${direction}`, (signal) =>
    loki.range(expr, span.from, span.to, { limit, direction, step: roundInterval((span.to - span.from) / 200) }, signal));
  const answer = data?.data;
  const lines = useMemo(() => (answer?.resultType === 'streams' ? flatten(answer.result, direction) : []), [answer, direction]);

  return (
    <>
      <div class="query-box">
        <div class="query-row">
          <Editor value={text} label={t('query_logs')} placeholder={'{job="koprogo-api"} |= "ERROR"'} suggest={async () => []} onChange={setText} onRun={run} />
          <button type="button" class="button primary" onClick={() => run(text)}><Icon name="play" size={12} />{t('run')}</button>
        </div>
        <div class="log-options">
          <label>{t('order')}
            <select class="field" value={direction} onChange={(e) => setQuery({ dir: e.currentTarget.value })}>
              <option value="backward">{t('newest_first')}</option>
              <option value="forward">{t('oldest_first')}</option>
            </select>
          </label>
          <label>{t('limit')}
            <select class="field" value={String(limit)} onChange={(e) => setQuery({ limit: e.currentTarget.value })}>
              {LIMITS.map((n) => <option key={n} value={n}>{number(n)}</option>)}
            </select>
          </label>
          <label class="check"><input type="checkbox" checked={wrap} onChange={(e) => setWrap(e.currentTarget.checked)} />{t('wrap')}</label>
          <button type="button" class={`button small ${live ? 'live' : ''}`} aria-pressed={live} onClick={() => setLive(!live)} disabled={range.to !== 'now'}>
            <Icon name={live ? 'pause' : 'play'} size={12} />{t('live')}
          </button>
        </div>
        {error && <QueryError query={expr} message={error.message} />}
      </div>
      {!expr && <Start span={span} run={run} />}
      {expr && !answer && !error && <Loading />}
      {answer?.resultType === 'streams' && (
        <>
          <Volume expr={expr} span={span} lines={lines} limited={lines.length >= limit} live={live} />
          {lines.length === 0 && !loading ? (
            <Empty icon="search" title={t('logs_none')}>{t('logs_none_why')}</Empty>
          ) : (
            <section class="panel log-panel" aria-busy={loading}>
              <header class="panel-head">
                <span class="note">{lines.length >= limit ? t('lines_limited', { n: lines.length }) : t('lines_count', { n: lines.length })}</span>
                <span class="spacer" />
                {lines.length > 0 && <span class="note">{clock(lines[lines.length - 1]?.ms ?? 0)} – {clock(lines[0]?.ms ?? 0)}</span>}
              </header>
              <LogList lines={lines} wrap={wrap} onPick={(name, value, parsed) => run(withFilter(expr, name, value, parsed, lines[0]?.text ?? ''))} />
            </section>
          )}
        </>
      )}
      {answer?.resultType === 'matrix' && <LogGraph answer={answer} span={span} expr={expr} />}
      {answer?.resultType === 'vector' && answer.result.length === 0 && <Empty title={t('no_data')} />}
    </>
  );
}

/** Before the first query: the runbook's questions, and the labels there are. */
function Start({ span, run }: { span: Span; run: (expr: string) => void }) {
  const { data, error } = useLoad('log labels', async (signal) => {
    const labels = await loki.labels(span.from - 86_400_000, span.to, signal);
    const wanted = labels.filter((l) => l !== '__stream_shard__').slice(0, 8);
    const values = await Promise.all(wanted.map((l) => loki.labelValues(l, span.from - 86_400_000, span.to, undefined, signal)));
    return wanted.map((name, i) => ({ name, values: values[i] ?? [] }));
  });
  return (
    <div class="examples">
      <h2 class="section-title">{t('examples')}</h2>
      {EXAMPLES.map(([title, expr]) => (
        <button type="button" key={title} class="example" onClick={() => run(expr)}>
          <strong>{t(title)}</strong>
          <code>{expr}</code>
        </button>
      ))}
      {data && data.length > 0 && <h2 class="section-title">{t('log_streams')}</h2>}
      {data?.map(({ name, values }) => (
        <div class="label-row" key={name}>
          <b>{name}</b>
          {values.slice(0, 20).map((value) => (
            <button type="button" class="label" key={value} onClick={() => run(`{${name}=${JSON.stringify(value)}}`)}>{value}</button>
          ))}
        </div>
      ))}
      {data && data.length === 0 && <Empty icon="info" title={t('logs_no_streams')}>{t('logs_no_streams_why')}</Empty>}
      {error && <p class="note">{error.message}</p>}
    </div>
  );
}

const LEVEL_VARS: Record<string, string> = { critical: '--bad', error: '--bad', warn: '--warn', info: '--good', debug: '--accent', trace: '--faint', unknown: '--faint' };
const ORDER = ['unknown', 'trace', 'debug', 'info', 'warn', 'error', 'critical'];

/**
 * How many lines when. Counted here while the answer holds all lines; when it was cut at the limit,
 * the server counts (without levels), so that the bars do not lie.
 */
function Volume({ expr, span, lines, limited, live }: { expr: string; span: Span; lines: LogLine[]; limited: boolean; live: boolean }) {
  const step = roundInterval((span.to - span.from) / BUCKETS);
  const from = Math.floor(span.from / step) * step;
  const count = Math.ceil((span.to - from) / step) + 1;
  const counted = useLoad(limited && !live ? `volume ${expr} ${span.from} ${span.to}` : '', async (signal) =>
    (await loki.range(`sum(count_over_time(${expr} [${step}ms]))`, from, from + count * step, { step }, signal)).data);
  const times = Array.from({ length: count }, (_, i) => (from + i * step) / 1000);
  const series = useMemo<GraphSeries[]>(() => {
    if (limited && counted.data?.resultType === 'matrix') {
      const values: (number | null)[] = times.map(() => null);
      for (const [s, v] of counted.data.result[0]?.values ?? []) {
        // A count_over_time at an instant speaks of the step before it.
        const at = Math.round((s * 1000 - from) / step) - 1;
        if (at >= 0 && at < count) values[at] = Number(v);
      }
      return [{ name: t('lines'), color: cssColor('--accent'), values, unit: 'none', draw: 'bars', fill: 70, width: 0 }];
    }
    const by = new Map<string, (number | null)[]>();
    for (const line of lines) {
      const values = by.get(line.level) ?? times.map(() => null);
      const at = Math.floor((line.ms - from) / step);
      if (at >= 0 && at < count) values[at] = (values[at] ?? 0) + 1;
      by.set(line.level, values);
    }
    // Running sums, drawn from the tallest down: bars that stand on each other.
    const below = times.map(() => 0);
    return ORDER.filter((level) => by.has(level)).map((level) => ({
      level,
      values: (by.get(level) ?? []).map((v, i) => (v === null ? null : (below[i] = (below[i] ?? 0) + v))),
    })).reverse().map(({ level, values }) => ({
      name: level, color: cssColor(LEVEL_VARS[level] ?? '--faint'), values, unit: 'none', draw: 'bars' as const, fill: 100, width: 0,
    }));
  }, [lines, counted.data, limited, step, from, theme.value]);
  if (lines.length === 0) return null;
  return (
    <section class="panel volume">
      <Graph times={times} series={series} span={span} unit="short" min={0} label={t('log_volume')}
        onZoom={(s) => setQuery({ from: String(Math.round(s.from)), to: String(Math.round(s.to)) }, { push: true })} />
      {series.length > 1 && (
        <div class="legend list">
          {series.map((s) => <span class="pie-item" key={s.name}><i style={{ background: s.color }} />{s.name}</span>)}
        </div>
      )}
    </section>
  );
}

/** A metric query over logs answers with series. */
function LogGraph({ answer, span, expr }: { answer: Extract<QueryData, { resultType: 'matrix' }>; span: Span; expr: string }) {
  const times = [...new Set(answer.result.flatMap((s) => (s.values ?? []).map(([at]) => at)))].sort((a, b) => a - b);
  const series = answer.result.slice(0, 100).map((s, i): GraphSeries => {
    const points = new Map(s.values?.map(([at, v]) => [at, Number(v)]));
    return { name: selector(s.metric) || expr, color: seriesColor(i), unit: '', values: times.map((at) => points.get(at) ?? null), fill: 10 };
  });
  if (series.length === 0) return <Empty title={t('no_data')}>{t('empty_logs')}</Empty>;
  return (
    <section class="panel explore-panel">
      <div class="explore-graph"><Graph times={times} series={series} span={span} unit="" label={expr} /></div>
      {answer.result.slice(0, 20).map((s, i) => <Labels key={i} labels={s.metric} />)}
    </section>
  );
}
