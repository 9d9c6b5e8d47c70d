// One panel of a dashboard: asks its queries when it comes into sight, and shows its kind, an
// error, or the reason why it is empty.
import { useState } from 'preact/hooks';
import { Failure, Loading } from '../components/bits';
import { Icon } from '../components/Icon';
import { LogList } from '../components/LogList';
import { Markdown, safeHref, textOfHtml } from '../components/Markdown';
import type { Panel } from '../lib/dashboard';
import { useLoad, useSeen, useSize } from '../lib/hooks';
import { t } from '../lib/i18n';
import { flatten } from '../lib/logs';
import { isEmpty, loadPanel, type PanelData } from '../lib/panelData';
import { lang } from '../lib/prefs';
import { href } from '../lib/router';
import type { Span } from '../lib/time';
import { interpolate, interpolateTitle, type Choices } from '../lib/vars';
import { BarGauge, Gauge, Pie, Stat } from './Stat';
import { Table } from './Table';
import { TimeSeries } from './TimeSeries';

interface Props {
  panel: Panel;
  span: Span;
  choices: Choices;
  /** Changes when the variables or the range do, or on refresh. */
  turn: string;
  sync: string | undefined;
  onZoom: (span: Span) => void;
}

const DATA_TYPES = new Set(['timeseries', 'graph', 'stat', 'singlestat', 'gauge', 'bargauge', 'table', 'table-old', 'logs', 'piechart']);

export function PanelFrame(props: Props) {
  const { panel, span, choices, turn } = props;
  const [ref, seen] = useSeen<HTMLElement>();
  const [body, size] = useSize<HTMLDivElement>();
  const asks = DATA_TYPES.has(panel.type) && seen && size.width > 0;
  const loaded = useLoad(asks ? `${panel.id} ${turn} ${lang.value}` : '', (signal) => loadPanel(panel, { span, choices, width: size.width }, signal));
  // A finger cannot hover: the description also opens with a tap, and closes with the next one anywhere.
  const [told, tell] = useState(false);
  const title = interpolateTitle(panel.title, choices, { span }, panel.scoped);
  const { data } = loaded;
  return (
    <section class={`panel type-${panel.type} ${panel.transparent ? 'transparent' : ''}`} ref={ref} aria-label={title} aria-busy={loaded.loading}>
      {(title || panel.description) && (
        <header class="panel-head">
          <h3 title={title}>{title}</h3>
          {panel.description && (
            <button type="button" class="panel-info" title={panel.description} aria-label={panel.description} aria-expanded={told} onClick={() => tell(!told)} onBlur={() => tell(false)}>
              <Icon name="info" size={13} />
            </button>
          )}
          <span class="spacer" />
          {data && data.errors.length > 0 && !isEmpty(data) && (
            <span class="panel-warn" title={data.errors.join('\n')} role="note" aria-label={data.errors.join('. ')}>
              <Icon name="warn" size={14} />
            </span>
          )}
          <span class="panel-tools">
            {panel.links?.map((link, i) => <PanelLink key={i} link={link} choices={choices} span={span} />)}
            {data?.sent[0] && (
              <a class="panel-open" href={exploreLink(data, span)} title={t('open_in_explore')} aria-label={`${t('open_in_explore')}: ${title}`}>
                <Icon name="explore" size={14} />
              </a>
            )}
          </span>
        </header>
      )}
      {told && <p class="panel-told" role="note">{panel.description}</p>}
      <div class="panel-body" ref={body}>
        <Body {...props} data={data} error={loaded.error} />
      </div>
    </section>
  );
}

function PanelLink({ link, choices, span }: { link: { title?: string; url?: string }; choices: Choices; span: Span }) {
  const to = safeHref(interpolate(link.url ?? '', choices, { span }));
  if (!to) return null;
  return (
    <a class="panel-open" href={to.startsWith('/') ? href(to) : to} title={link.title ?? to} aria-label={link.title ?? to}>
      <Icon name="link" size={13} />
    </a>
  );
}

function exploreLink(data: PanelData, span: Span): string {
  const first = data.sent[0];
  const query = new URLSearchParams({
    tab: first?.kind === 'loki' ? 'logs' : 'metrics',
    from: String(Math.round(span.from)),
    to: String(Math.round(span.to)),
  });
  for (const { expr, kind } of data.sent) if (kind === first?.kind) query.append('expr', expr);
  return href(`/explore?${query}`);
}

function Body({ panel, data, error, choices, span, onZoom, sync }: Props & { data: PanelData | undefined; error: Error | undefined }) {
  if (panel.type === 'text') {
    const content = interpolateTitle(panel.options.content ?? '', choices, { span }, panel.scoped);
    return panel.options.mode === 'html' ? <div class="prose">{textOfHtml(content)}</div> : <Markdown text={content} />;
  }
  if (!DATA_TYPES.has(panel.type)) {
    return <p class="panel-note"><Icon name="info" size={16} />{t('panel_unsupported', { type: panel.type || '?' })}</p>;
  }
  if (error) return <Failure error={error} />;
  if (!data) return <Loading />;
  if (data.errors.length > 0 && isEmpty(data)) return <Failure error={new Error(data.errors[0])} />;
  if (isEmpty(data)) {
    return (
      <p class="panel-note" title={data.emptyBecause}>
        <strong>{panel.fieldConfig.defaults.noValue ?? t('no_data')}</strong>
        <span>{data.emptyBecause}</span>
      </p>
    );
  }
  switch (panel.type) {
    case 'timeseries': case 'graph': return <TimeSeries panel={panel} data={data} onZoom={onZoom} sync={sync} />;
    case 'stat': case 'singlestat': return <Stat panel={panel} data={data} />;
    case 'gauge': return <Gauge panel={panel} data={data} />;
    case 'bargauge': return <BarGauge panel={panel} data={data} />;
    case 'piechart': return <Pie panel={panel} data={data} />;
    case 'logs': return data.streams.length > 0
      ? <LogList lines={flatten(data.streams, panel.options.sortOrder === 'Ascending' ? 'forward' : 'backward')} wrap={panel.options.wrapLogMessage ?? false} />
      : <p class="panel-note"><strong>{t('no_data')}</strong>{t('empty_logs')}</p>;
  }
  return <Table panel={panel} data={data} />;
}
