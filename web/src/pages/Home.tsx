// "Is everything well?" on one screen: the answer in words, what is firing, the tiles, the targets.
import { useMemo } from 'preact/hooks';
import { AlertBadge, Labels, SeverityTag } from '../components/bits';
import { Icon, type IconName } from '../components/Icon';
import { Sparkline } from '../components/Sparkline';
import { grafana, prom, vigie, type DashboardHit, type MatrixSeries, type RunbookHead } from '../lib/api';
import { useLoad } from '../lib/hooks';
import { ago, dateTime, lasting, number, said, t, type Key } from '../lib/i18n';
import { activeAlerts, firing, offline, ruleGroups, status, type ActiveAlert } from '../lib/live';
import { lang } from '../lib/prefs';
import { href } from '../lib/router';
import { bytes, formatParts } from '../lib/units';
import { runbookLink } from '../lib/links';

const SPARK_MS = 3600_000;
const STEP_MS = 15_000;
const REFRESH_MS = 15_000;
/** How old the last point of a line may be to stand for now: five minutes. */
const RECENT_STEPS = 20;
/** A history shorter than an hour is drawn over its own length, but never over less than this: three minutes. */
const LEAST_STEPS = 12;

/** Real disks: no memory file systems, no images, no overlays. */
const DISK = 'fstype!~"tmpfs|devtmpfs|ramfs|overlay|squashfs|iso9660|nsfs|fuse.*|autofs",mountpoint!~"/(boot|run|snap|var/lib/docker).*"';
/** Inside a container the overlay is all there is: better than nothing. */
const ANY_DISK = 'fstype!~"tmpfs|devtmpfs|ramfs|squashfs|iso9660|nsfs"';

const diskUsed = (which: string): string => `100 * (1 - node_filesystem_avail_bytes{${which}} / node_filesystem_size_bytes{${which}})`;

interface TileSpec {
  title: Key;
  expr: string;
  unit: string;
  /** A second value in small print. */
  note?: { expr: string; text: (value: number) => string };
  warn?: number;
  bad?: number;
  max?: number;
  dashboard: RegExp;
  why: Key;
  /** The job that gives it, to say so when that is down. */
  job: string;
}

const TILES: TileSpec[] = [
  {
    title: 'tile_cpu', unit: 'percent', max: 100, warn: 80, bad: 95, dashboard: /system|node|host/i, why: 'tile_no_host', job: 'node',
    expr: '100 * (1 - avg(rate(node_cpu_seconds_total{mode="idle"}[1m])))',
    note: { expr: 'max(node_load1)', text: (v) => t('tile_load', { value: number(v, { maximumFractionDigits: 2 }) }) },
  },
  {
    title: 'tile_ram', unit: 'percent', max: 100, warn: 85, bad: 95, dashboard: /system|node|host/i, why: 'tile_no_host', job: 'node',
    expr: '100 * max(1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes)',
    note: { expr: 'min(node_memory_MemAvailable_bytes)', text: (v) => t('tile_available', { value: bytes(v) }) },
  },
  {
    title: 'tile_disk', unit: 'percent', max: 100, warn: 80, bad: 90, dashboard: /system|node|host/i, why: 'tile_no_host', job: 'node',
    expr: `topk(1, ${diskUsed(DISK)} or (${diskUsed(ANY_DISK)} unless on () ${diskUsed(DISK)}))`,
    note: {
      // A trend needs an hour of history before it says anything.
      expr: `min(node_filesystem_avail_bytes{${DISK}} / (-1 * deriv(node_filesystem_avail_bytes{${DISK}}[6h]) > 0) and node_filesystem_avail_bytes{${DISK}} offset 1h) / 86400`,
      text: (v) => (v > 365 ? t('tile_days_many') : v < 2 ? t('tile_hours', { n: Math.floor(v * 24) }) : t('tile_days', { n: Math.floor(v) })),
    },
  },
  {
    title: 'tile_requests', unit: 'reqps', dashboard: /api/i, why: 'tile_no_api', job: 'koprogo-api',
    expr: 'sum(rate(http_requests_total{job="koprogo-api"}[1m]))',
  },
  {
    title: 'tile_p99', unit: 's', warn: 0.5, bad: 1, dashboard: /api/i, why: 'tile_no_api', job: 'koprogo-api',
    expr: 'histogram_quantile(0.99, sum by (le) (rate(http_request_duration_seconds_bucket{job="koprogo-api"}[5m])))',
    note: {
      expr: 'histogram_quantile(0.5, sum by (le) (rate(http_request_duration_seconds_bucket{job="koprogo-api"}[5m])))',
      text: (v) => t('tile_median', { value: withUnit(v, 's') }),
    },
  },
  {
    title: 'tile_errors', unit: 'percent', warn: 1, bad: 5, dashboard: /api/i, why: 'tile_no_api', job: 'koprogo-api',
    expr: '100 * (sum(rate(http_requests_errors_total{job="koprogo-api"}[5m])) or vector(0)) / (sum(rate(http_requests_total{job="koprogo-api"}[5m])) > 0)',
    note: { expr: 'sum(rate(http_requests_errors_total{job="koprogo-api"}[5m]))', text: (v) => t('tile_errors_rate', { value: number(v, { maximumSignificantDigits: 3 }) }) },
  },
  {
    title: 'tile_pg', unit: 'none', warn: 60, bad: 80, dashboard: /postgre|database/i, why: 'tile_no_pg', job: 'postgresql',
    expr: 'sum(pg_stat_activity_count)',
    note: { expr: 'max(pg_settings_max_connections)', text: (v) => t('tile_of', { n: v }) },
  },
];

function withUnit(value: number, unit: string): string {
  const { text, suffix } = formatParts(value, unit);
  return `${text} ${suffix}`.trim();
}

export function Home() {
  const dashboards = useLoad('dashboards', (signal) => grafana.search(signal));
  const runbooks = useLoad(`runbooks ${lang.value}`, (signal) => vigie.runbooks(lang.value, signal));
  return (
    <div class="page home">
      <Headline />
      <AlertStrip runbooks={runbooks.data ?? []} />
      <h2 class="section-title">{t('home_vitals')}</h2>
      <div class="tiles">
        {TILES.map((spec) => <Tile key={spec.title} spec={spec} dashboards={dashboards.data ?? []} />)}
        <StorageTile />
      </div>
      <Collectors />
    </div>
  );
}

function Headline() {
  const active = firing.value;
  const state = status.value;
  const targets = state?.targets;
  const high = active.filter((a) => a.severity === 'high').length;
  let tone = 'good';
  let icon: IconName = 'checkCircle';
  let text = t('home_all_well');
  if (offline.value) [tone, icon, text] = ['bad', 'warn', t('home_offline')];
  else if (!ruleGroups.value) [tone, icon, text] = ['plain', 'clock', t('home_asking')];
  else if (active.length > 0) [tone, icon, text] = [high > 0 ? 'bad' : 'warn', high > 0 ? 'fire' : 'warn', t('home_alerts', { n: active.length })];
  else if (targets && targets.down > 0) [tone, icon, text] = ['warn', 'warn', t('home_targets_down', { n: targets.down })];
  const rules = (ruleGroups.value ?? []).reduce((n, g) => n + g.rules.filter((r) => r.type === 'alerting').length, 0);
  return (
    <header class={`headline ${tone}`} aria-live="polite">
      <span class="headline-mark"><Icon name={icon} size={26} /></span>
      <div>
        <h1>{text}</h1>
        <p>
          {targets && <a href={href('/system')}>{t('home_targets', { n: targets.up + targets.down, up: targets.up })}</a>}
          {rules > 0 && <a href={href('/alerts')}>{t('home_rules', { n: rules })}</a>}
          {state && <span>{t('home_up_since', { time: ago(state.started_at_ms) })}</span>}
          {state?.demo && <span class="tag">{t('demo')}</span>}
        </p>
      </div>
    </header>
  );
}

function AlertStrip({ runbooks }: { runbooks: RunbookHead[] }) {
  const shown = activeAlerts.value;
  if (shown.length === 0) return null;
  return (
    <ul class="alert-strip">
      {shown.slice(0, 12).map((a) => <AlertItem key={JSON.stringify(a.alert.labels)} item={a} runbooks={runbooks} />)}
      {shown.length > 12 && <li><a href={href('/alerts')}>{t('and_more', { n: shown.length - 12 })}</a></li>}
    </ul>
  );
}

function AlertItem({ item, runbooks }: { item: ActiveAlert; runbooks: RunbookHead[] }) {
  const { alert, rule, severity, sinceMs } = item;
  const link = runbookLink(rule, alert, runbooks);
  return (
    <li class={`alert-item ${alert.state} ${severity}`}>
      <div class="alert-main">
        <div class="alert-title">
          <AlertBadge state={alert.state} />
          <a class="alert-name" href={href(`/alerts?open=${encodeURIComponent(rule.name)}`)}>{said(alert.annotations, 'summary') ?? rule.name}</a>
        </div>
        <div class="alert-meta">
          <SeverityTag severity={severity} />
          <span title={dateTime(sinceMs)}>{t('since', { time: lasting((Date.now() - sinceMs) / 1000) })}</span>
          <Labels labels={alert.labels} omit={['alertname', 'severity', 'priority', '__name__']} />
        </div>
      </div>
      {link && <a class="button small" href={link}><Icon name="runbooks" size={13} />{t('runbook')}</a>}
    </li>
  );
}

interface TileData { points: (number | null)[]; value: number | null; note: number | null; label: string }

async function loadTile(spec: TileSpec, signal: AbortSignal): Promise<TileData> {
  const to = Math.floor(Date.now() / 5000) * 5000;
  const from = to - SPARK_MS;
  const [range, now, note] = await Promise.all([
    prom.range(spec.expr, from, to, STEP_MS, signal),
    prom.instant(spec.expr, to, signal),
    spec.note ? prom.instant(spec.note.expr, to, signal).catch(() => undefined) : undefined,
  ]);
  const matrix = range.data.resultType === 'matrix' ? range.data.result : [];
  const first = now.data.resultType === 'vector' ? now.data.result[0] : undefined;
  const small = note?.data.resultType === 'vector' ? note.data.result[0]?.value?.[1] : undefined;
  const points = onGrid(matrix, from, to);
  return {
    points,
    // Between two scrapes a short rate may have no value just now: the last one known is said then.
    value: first?.value ? finite(first.value[1]) : (points.slice(-RECENT_STEPS).findLast((p) => p !== null) ?? null),
    note: small === undefined ? null : finite(small),
    label: first?.metric.mountpoint ?? '',
  };
}

const finite = (text: string): number | null => (Number.isFinite(Number(text)) ? Number(text) : null);

/** topk may answer with one series after another: they are one line here. */
function onGrid(matrix: MatrixSeries[], from: number, to: number): (number | null)[] {
  const points: (number | null)[] = Array.from({ length: Math.floor((to - from) / STEP_MS) + 1 }, () => null);
  for (const { values } of matrix) {
    for (const [s, v] of values ?? []) {
      const at = Math.round((s * 1000 - from) / STEP_MS);
      if (at >= 0 && at < points.length) points[at] = Math.max(points[at] ?? -Infinity, Number(v));
    }
  }
  const known = points.findIndex((p) => p !== null);
  const first = Math.min(Math.max(known, 0), points.length - LEAST_STEPS);
  return points.slice(first).map((p) => (p !== null && Number.isFinite(p) ? p : null));
}

function Tile({ spec, dashboards }: { spec: TileSpec; dashboards: DashboardHit[] }) {
  const { data, error } = useLoad(spec.title, (signal) => loadTile(spec, signal), REFRESH_MS);
  const target = useMemo(() => dashboards.find((d) => spec.dashboard.test(`${d.title} ${d.uid}`)), [dashboards, spec]);
  const to = href(target ? target.url || `/d/${target.uid}` : `/explore?tab=metrics&expr=${encodeURIComponent(spec.expr)}`);
  const down = downText(spec.job);
  const value = down ? null : (data?.value ?? null);
  const tone = down ? 'bad' : value === null ? 'plain' : spec.bad !== undefined && value >= spec.bad ? 'bad' : spec.warn !== undefined && value >= spec.warn ? 'warn' : 'good';
  const { text, suffix } = formatParts(value, spec.unit, spec.unit === 'percent' ? (value !== null && value < 10 ? 1 : 0) : undefined);
  const empty = down !== undefined || (data !== undefined && value === null);
  const color = { bad: 'var(--bad)', warn: 'var(--warn)', good: 'var(--accent)', plain: 'var(--faint)' }[tone];
  return (
    <a class={`tile ${tone} ${empty ? 'empty-tile' : ''}`} href={to}>
      <span class="tile-title">
        {t(spec.title)}
        {data?.label && <em>{data.label}</em>}
        {(tone === 'bad' || tone === 'warn') && <Icon name="warn" size={14} />}
      </span>
      {empty || error ? (
        <span class="tile-why">{down ?? error?.message ?? t(spec.why)}</span>
      ) : (
        <>
          <span class="tile-value">{data ? text : '\u00a0'}{suffix && <small>{suffix}</small>}</span>
          <span class="tile-note">{spec.note && data && data.note !== null ? spec.note.text(data.note) : '\u00a0'}</span>
          <span class="tile-spark">{data && <Sparkline points={data.points} color={color} min={0} max={spec.max} />}</span>
        </>
      )}
    </a>
  );
}

/** Said when the job behind a tile was found but does not answer: what is known of it is old. */
function downText(job: string): string | undefined {
  const known = status.value?.collectors.filter((c) => c.job === job) ?? [];
  if (known.length === 0 || known.some((c) => c.up)) return undefined;
  return t('tile_down', { job, error: shortError(known[0]?.last_error || '–') });
}

/** An error without the request it came from, which the reader knows. */
const shortError = (text: string): string => text.replace(/^(Get|Post) "[^"]*": /, '').replace(/^dial \w+ \S+: /, '').replace(/^connect: /, '');

function StorageTile() {
  const storage = status.value?.storage;
  const used = storage ? storage.metrics_bytes + storage.logs_bytes : null;
  const { text, suffix } = formatParts(used, 'bytes');
  const share = storage && used ? (storage.metrics_bytes / used) * 100 : 0;
  return (
    <a class="tile good" href={href('/system')}>
      <span class="tile-title">{t('tile_storage')}</span>
      <span class="tile-value">{text}{suffix && <small>{suffix}</small>}</span>
      <span class="tile-note">{storage ? t('tile_free', { value: bytes(storage.free_bytes) }) : '\u00a0'}</span>
      {storage && (
        <span class="tile-split">
          <i class="split-bar"><b style={{ width: `${share}%` }} /></i>
          <span><i class="key key-metrics" />{t('metrics')} {bytes(storage.metrics_bytes)}</span>
          <span><i class="key key-logs" />{t('logs')} {bytes(storage.logs_bytes)}</span>
        </span>
      )}
    </a>
  );
}

function Collectors() {
  const collectors = status.value?.collectors ?? [];
  if (collectors.length === 0) return null;
  return (
    <>
      <h2 class="section-title">{t('home_collectors')}</h2>
      <ul class="collectors">
        {collectors.map((c) => (
          <li key={`${c.job} ${c.instance}`} class={c.up ? 'up' : 'down'} title={c.last_error ?? ''}>
            <Icon name={c.up ? 'check' : 'close'} size={13} />
            <strong>{c.job}</strong>
            <span>{c.instance}</span>
            {!c.up && <em>{shortError(c.last_error || t('down'))}</em>}
          </li>
        ))}
      </ul>
    </>
  );
}
