// The rules and their state, each opening to its expression, values and links; and what was sent.
import { useState } from 'preact/hooks';
import { AlertBadge, Badge, CopyButton, Empty, Failure, Labels, Loading, Page, SeverityTag, Tabs } from '../components/bits';
import { Icon } from '../components/Icon';
import { alertmanager, timeOf, vigie, type GettableAlert, type LabelMap, type Notification, type Rule, type RunbookHead } from '../lib/api';
import { useLoad } from '../lib/hooks';
import { ago, dateTime, lasting, said, t } from '../lib/i18n';
import { dashboardLink, exploreMetrics, runbookLink } from '../lib/links';
import { offline, ruleGroups, severityOf } from '../lib/live';
import { lang } from '../lib/prefs';
import { place, setQuery } from '../lib/router';
import { format } from '../lib/units';

type Filter = 'all' | 'firing' | 'pending' | 'inactive';

export function Alerts() {
  const { query } = place.value;
  const tab = query.get('tab') === 'notifications' ? 'notifications' : 'rules';
  const runbooks = useLoad(`runbooks ${lang.value}`, (signal) => vigie.runbooks(lang.value, signal));
  return (
    <Page
      title={t('nav_alerts')}
      actions={
        <Tabs
          label={t('nav_alerts')}
          value={tab}
          options={[['rules', t('rules')], ['notifications', t('notifications')]] as const}
          onChange={(next) => setQuery({ tab: next === 'rules' ? undefined : next }, { push: true })}
        />
      }
    >
      {tab === 'rules' ? <Rules runbooks={runbooks.data ?? []} /> : <Notifications />}
    </Page>
  );
}

const RANK = { firing: 0, pending: 1, inactive: 2, unknown: 3 };
const SEVERITY_RANK = { high: 0, medium: 1, low: 2 };

function Rules({ runbooks }: { runbooks: RunbookHead[] }) {
  const { query } = place.value;
  const received = useLoad('received', (signal) => alertmanager.alerts(signal), 15_000);
  const muted = mutedBy(received.data ?? []);
  const filter = (query.get('state') ?? 'all') as Filter;
  const groups = ruleGroups.value;
  if (!groups) return offline.value ? <Failure error={new Error(t('error_unreachable'))} /> : <Loading />;
  const rules = groups.flatMap((group) => group.rules.filter((r) => r.type === 'alerting').map((rule) => ({ rule, group })));
  const count = (state: string): number => rules.filter((r) => r.rule.state === state).length;
  const shown = rules
    .filter(({ rule }) => filter === 'all' || rule.state === filter)
    .sort((a, b) =>
      RANK[a.rule.state ?? 'unknown'] - RANK[b.rule.state ?? 'unknown'] ||
      SEVERITY_RANK[severityOf(a.rule.labels)] - SEVERITY_RANK[severityOf(b.rule.labels)] ||
      a.rule.name.localeCompare(b.rule.name));
  if (rules.length === 0) return <Empty icon="alerts" title={t('rules_none')}>{t('rules_none_why')}</Empty>;
  const options: [Filter, string][] = [
    ['all', `${t('all')} ${rules.length}`],
    ['firing', `${t('state_firing')} ${count('firing')}`],
    ['pending', `${t('state_pending')} ${count('pending')}`],
    ['inactive', `${t('state_inactive')} ${count('inactive')}`],
  ];
  return (
    <>
      <Tabs label={t('state')} value={filter} options={options} onChange={(next) => setQuery({ state: next === 'all' ? undefined : next })} />
      {shown.length === 0 && <Empty icon="checkCircle" title={t('rules_none_here')} />}
      <ul class="rules">
        {shown.map(({ rule, group }) => <RuleRow key={`${group.file} ${group.name} ${rule.name} ${rule.query}`} rule={rule} group={group.name} file={group.file} runbooks={runbooks} muted={muted} opened={query.get('open') === rule.name} />)}
      </ul>
    </>
  );
}

type Muted = Map<string, 'silenced' | 'inhibited'>;

/** Labels in one order, to find the same alert in two APIs. */
const idOf = (labels: LabelMap): string =>
  JSON.stringify(Object.entries(labels).filter(([, v]) => v !== '').sort(([a], [b]) => (a < b ? -1 : 1)));

/** The alerts that fire but notify nobody, and why. */
function mutedBy(alerts: GettableAlert[]): Muted {
  const found: Muted = new Map();
  for (const { labels, status } of alerts) {
    if (status.state === 'suppressed') found.set(idOf(labels), status.silencedBy.length > 0 ? 'silenced' : 'inhibited');
  }
  return found;
}

interface RowProps { rule: Rule; group: string; file: string; runbooks: RunbookHead[]; muted: Muted; opened: boolean }

function RuleRow({ rule, group, file, runbooks, muted, opened }: RowProps) {
  const [open, setOpen] = useState(opened);
  const alerts = rule.alerts ?? [];
  const first = [...alerts].sort((a, b) => Date.parse(a.activeAt ?? '') - Date.parse(b.activeAt ?? ''))[0];
  const since = first ? Date.parse(first.activeAt ?? '') : NaN;
  const link = runbookLink(rule, first, runbooks);
  const dashboard = dashboardLink(rule, first);
  const summary = said(first?.annotations, 'summary') ?? said(first?.annotations, 'description') ?? plainAnnotation(said(rule.annotations, 'summary') ?? said(rule.annotations, 'description'));
  return (
    <li class={`rule ${rule.state ?? 'unknown'}`}>
      <button type="button" class="rule-head" aria-expanded={open} onClick={() => setOpen(!open)}>
        <Icon name={open ? 'chevronDown' : 'chevronRight'} size={14} />
        <AlertBadge state={rule.state ?? 'unknown'} />
        <span class="rule-name">
          <strong>{rule.name}</strong>
          {summary && <span>{summary}</span>}
        </span>
        <span class="rule-side">
          {rule.health === 'err' && <Badge tone="warn" icon="warn">{t('rule_error')}</Badge>}
          {!Number.isNaN(since) && <span class="note">{t('since', { time: lasting((Date.now() - since) / 1000) })}</span>}
          {alerts.length > 1 && <span class="count">{alerts.length}</span>}
          <SeverityTag severity={severityOf(rule.labels)} />
        </span>
      </button>
      {open && (
        <div class="rule-body">
          <div class="expr"><code class="wrap">{rule.query}</code><CopyButton text={rule.query} /></div>
          <div class="rule-links">
            {link && <a class="button small" href={link}><Icon name="runbooks" size={13} />{t('runbook')}</a>}
            {dashboard && <a class="button small" href={dashboard}><Icon name="dashboards" size={13} />{t('dashboard')}</a>}
            <a class="button small" href={exploreMetrics(withoutThreshold(rule.query))}><Icon name="explore" size={13} />{t('open_in_explore')}</a>
            <span class="note">{rule.duration ? t('rule_for', { time: lasting(rule.duration) }) : t('rule_at_once')} · {group} · {file}</span>
          </div>
          {rule.lastError && <p class="query-error">{rule.lastError}</p>}
          {alerts.length > 0 && (
            <div class="table-box">
              <table class="data stack-phone">
                <thead><tr><th>{t('state')}</th><th>{t('labels')}</th><th class="num">{t('value')}</th><th>{t('active_since')}</th></tr></thead>
                <tbody>
                  {alerts.map((a) => (
                    <tr key={JSON.stringify(a.labels)}>
                      <td>
                        <AlertBadge state={a.state} />
                        {muted.has(idOf(a.labels)) && <Badge tone="plain">{t(muted.get(idOf(a.labels)) ?? 'silenced')}</Badge>}
                      </td>
                      <td><Labels labels={a.labels} omit={['alertname', '__name__']} />{said(a.annotations, 'description') && <div class="note">{said(a.annotations, 'description')}</div>}</td>
                      <td class="num" data-label={t('value')}>{format(Number(a.value))}</td>
                      <td data-label={t('active_since')}>{a.activeAt ? dateTime(Date.parse(a.activeAt)) : '–'}</td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          )}
          {alerts.length === 0 && <p class="note">{t('rule_quiet')} {rule.lastEvaluation && Date.parse(rule.lastEvaluation) > 0 ? t('rule_checked', { time: ago(Date.parse(rule.lastEvaluation)) }) : ''}</p>}
        </div>
      )}
    </li>
  );
}

/** A rule's own annotation is a template: its placeholders say nothing before it fires. */
const plainAnnotation = (text: string | undefined): string =>
  (text ?? '').replace(/\{\{\s*\$value.*?\}\}/g, '…').replace(/\{\{\s*\$labels\.(\w+).*?\}\}/g, '‹$1›').replace(/\{\{.*?\}\}/g, '…');

/** "expr < 0.1" without its comparison: Explore then shows how near the threshold it came. */
function withoutThreshold(expr: string): string {
  const cut = /^([\s\S]+?)\s*(==|!=|>=|<=|>|<)\s*-?[\d.e+]+\s*$/.exec(expr);
  const left = cut?.[1] ?? '';
  const balanced = left && [...left].reduce((n, c) => n + (c === '(' ? 1 : c === ')' ? -1 : 0), 0) === 0;
  return balanced && !/\b(and|or|unless)\b/.test(left) ? left : expr;
}

const LIMIT = 200;

function Notifications() {
  const { data, error, reload } = useLoad('notifications', (signal) => vigie.notifications(LIMIT, signal), 5000);
  if (error && !data) return <Failure error={error} retry={reload} />;
  if (!data) return <Loading />;
  if (data.length === 0) return <Empty icon="send" title={t('notifications_none')}>{t('notifications_none_why')}</Empty>;
  return (
    <div class="table-box framed">
      <table class="data stack-phone">
        <thead>
          <tr><th>{t('created')}</th><th>{t('alert')}</th><th>{t('receiver')}</th><th>{t('delivery')}</th><th class="num">{t('attempts')}</th><th>{t('details')}</th></tr>
        </thead>
        <tbody>
          {data.map((n) => (
            <tr key={n.id}>
              <td>{dateTime(timeOf(n.created_at) ?? 0)}</td>
              <td><strong>{n.alertname}</strong> <span class="note">{n.status === 'firing' ? t('state_firing') : t('resolved')}</span></td>
              <td>{n.receiver} <span class="tag">{n.integration}</span></td>
              <td><Delivery state={n.state} /></td>
              <td class="num" data-label={t('attempts')}>{n.attempts}</td>
              <td>{details(n)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Delivery({ state }: { state: Notification['state'] }) {
  switch (state) {
    case 'sent': return <Badge tone="good" icon="check">{t('delivery_sent')}</Badge>;
    case 'failed': return <Badge tone="bad" icon="close">{t('delivery_failed')}</Badge>;
    case 'sending': return <Badge tone="info" icon="send">{t('delivery_sending')}</Badge>;
    default: return <Badge tone="warn" icon="clock">{t('delivery_pending')}</Badge>;
  }
}

function details(n: Notification): string {
  const sent = timeOf(n.sent_at);
  const next = timeOf(n.next_at);
  if (n.state === 'sent' && sent) return t('delivery_after', { time: lasting((sent - (timeOf(n.created_at) ?? sent)) / 1000) });
  const parts = [n.last_error ?? ''];
  if (n.state === 'pending' && n.attempts > 0 && next) parts.push(t('delivery_next', { time: ago(next) }));
  return parts.filter(Boolean).join(' · ');
}
