// Vigie about itself: what it watches, what it stores, what it is.
import { useState } from 'preact/hooks';
import { Badge, Empty, Failure, Loading, Page, Tabs } from '../components/bits';
import { Icon } from '../components/Icon';
import { prom, type Target } from '../lib/api';
import { useLoad } from '../lib/hooks';
import { ago, dateTime, number, t } from '../lib/i18n';
import { status } from '../lib/live';
import { chooseLang, chooseTheme, lang, theme } from '../lib/prefs';
import { durationMs } from '../lib/time';
import { bytes, format } from '../lib/units';

export function System() {
  const targets = useLoad('targets', (signal) => prom.targets(signal), 10_000);
  const build = useLoad('build', (signal) => prom.build(signal));
  return (
    <Page title={t('nav_system')}>
      <Storage />
      <h2 class="section-title">{t('targets')}</h2>
      {targets.error && !targets.data && <Failure error={targets.error} retry={targets.reload} />}
      {!targets.data && !targets.error && <Loading />}
      {targets.data && <Targets targets={targets.data} />}
      <h2 class="section-title">{t('about')}</h2>
      <dl class="facts">
        <dt>{t('version')}</dt>
        <dd>{status.value?.version ?? build.data?.version ?? '–'}</dd>
        {build.data?.revision && (<><dt>{t('revision')}</dt><dd><code>{build.data.revision.slice(0, 12)}</code></dd></>)}
        {status.value && (<><dt>{t('started')}</dt><dd>{dateTime(status.value.started_at_ms)} ({ago(status.value.started_at_ms)})</dd></>)}
        <dt>{t('language')}</dt>
        <dd><Tabs label={t('language')} value={lang.value} options={[['fr', 'Français'], ['en', 'English']] as const} onChange={chooseLang} /></dd>
        <dt>{t('theme')}</dt>
        <dd><Tabs label={t('theme')} value={theme.value} options={[['light', t('theme_light')], ['dark', t('theme_dark')]] as const} onChange={chooseTheme} /></dd>
      </dl>
    </Page>
  );
}

const DAY_MS = 86_400_000;

/** A retention comes as Prometheus' text ("30d", "1w") or as seconds; it is said in days. */
function retention(value: string | number): string {
  const ms = typeof value === 'number' ? value * 1000 : (durationMs(value) ?? NaN);
  return ms >= DAY_MS ? `${number(Math.round(ms / DAY_MS))}\u00a0${t('unit_day')}` : String(value);
}

function Storage() {
  const storage = status.value?.storage;
  if (!storage) return null;
  const used = storage.metrics_bytes + storage.logs_bytes;
  const all = used + storage.free_bytes;
  const part = (n: number): string => `${all ? Math.max(n > 0 ? 0.5 : 0, (n / all) * 100) : 0}%`;
  return (
    <>
      <h2 class="section-title">{t('storage')}</h2>
      <div class="storage">
        <div class="storage-bar" role="img" aria-label={`${t('metrics')} ${bytes(storage.metrics_bytes)}, ${t('logs')} ${bytes(storage.logs_bytes)}, ${t('free')} ${bytes(storage.free_bytes)}`}>
          <i class="part-metrics" style={{ width: part(storage.metrics_bytes) }} />
          <i class="part-logs" style={{ width: part(storage.logs_bytes) }} />
        </div>
        <ul>
          <li><i class="key key-metrics" /><strong>{t('metrics')}</strong><b>{bytes(storage.metrics_bytes)}</b><span>{t('series_count', { n: storage.series })} · {t('kept', { time: retention(storage.retention_metrics) })}</span></li>
          <li><i class="key key-logs" /><strong>{t('logs')}</strong><b>{bytes(storage.logs_bytes)}</b><span>{t('streams_count', { n: storage.streams })} · {t('kept', { time: retention(storage.retention_logs) })}</span></li>
          <li><i class="key" /><strong>{t('free')}</strong><b>{bytes(storage.free_bytes)}</b><span>{t('disk_free_note')}</span></li>
        </ul>
      </div>
    </>
  );
}

function Targets({ targets }: { targets: Target[] }) {
  const [onlyDown, setOnlyDown] = useState(false);
  const down = targets.filter((x) => x.health === 'down').length;
  const shown = [...targets]
    .filter((x) => !onlyDown || x.health === 'down')
    .sort((a, b) => Number(a.health !== 'down') - Number(b.health !== 'down') || a.scrapePool.localeCompare(b.scrapePool));
  if (targets.length === 0) return <Empty icon="system" title={t('targets_none')} />;
  return (
    <>
      {down > 0 && (
        <Tabs label={t('state')} value={onlyDown ? 'down' : 'all'} options={[['all', `${t('all')} ${targets.length}`], ['down', `${t('down')} ${down}`]] as const} onChange={(v) => setOnlyDown(v === 'down')} />
      )}
      <div class="table-box framed">
        <table class="data stack-phone">
          <thead><tr><th>{t('state')}</th><th>{t('job')}</th><th>{t('instance')}</th><th>{t('last_scrape')}</th><th class="num">{t('took')}</th><th>{t('error')}</th></tr></thead>
          <tbody>
            {shown.map((x) => (
              <tr key={`${x.scrapePool} ${x.scrapeUrl}`}>
                <td>{x.health === 'up' ? <Badge tone="good" icon="check">{t('up')}</Badge> : x.health === 'down' ? <Badge tone="bad" icon="close">{t('down')}</Badge> : <Badge tone="plain">{t('state_unknown')}</Badge>}</td>
                <td><strong>{x.labels.job ?? x.scrapePool}</strong></td>
                <td title={x.scrapeUrl}>{x.labels.instance}</td>
                <td data-label={t('last_scrape')}>{Date.parse(x.lastScrape) > 0 ? ago(Date.parse(x.lastScrape)) : '–'}</td>
                <td class="num" data-label={t('took')}>{format(x.lastScrapeDuration, 's')}</td>
                <td class="error-text">{x.lastError && <><Icon name="warn" size={13} /> {x.lastError}</>}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <p class="note after">{t('targets_note', { n: number(targets.length) })}</p>
    </>
  );
}
