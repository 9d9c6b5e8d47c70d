// One dashboard: variables and range in the URL, sections that fold, panels on Grafana's grid.
import type { ComponentChildren } from 'preact';
import { useEffect, useMemo, useState } from 'preact/hooks';
import { Empty, Failure, Loading, Page } from '../components/bits';
import { Icon } from '../components/Icon';
import { TimePicker } from '../components/TimePicker';
import { grafana } from '../lib/api';
import { inLanguage, readDashboard, sections, type Dashboard as Model, type Panel, type Section } from '../lib/dashboard';
import { useLoad } from '../lib/hooks';
import { t } from '../lib/i18n';
import { lang } from '../lib/prefs';
import { href, navigate, place, setQuery } from '../lib/router';
import { durationMs, resolve, type Range, type Span } from '../lib/time';
import { ALL, interpolateTitle, resolveVariables, type Choice, type Choices } from '../lib/vars';
import { PanelFrame } from '../panels/PanelFrame';

export function Dashboard({ uid }: { uid: string }) {
  const { data, error, reload } = useLoad(`dashboard ${uid}`, async (signal) => {
    const { dashboard, meta } = await grafana.dashboard(uid, signal);
    return { model: readDashboard(dashboard), slug: meta?.slug ?? '' };
  });
  useEffect(() => {
    // The address gets its readable end.
    const { path, query } = place.peek();
    if (data?.slug && /^\/d\/[^/]+\/?$/.test(path)) navigate(`/d/${uid}/${data.slug}${query.size ? `?${query}` : ''}`, { replace: true });
  }, [data]);
  if (error && !data) {
    return <Page title={t('nav_dashboards')}><Failure error={error} retry={reload} /></Page>;
  }
  if (!data || data.model.uid !== uid && data.model.uid) return <Page title={'\u00a0'} wide><Loading /></Page>;
  return <View model={data.model} key={uid} />;
}

function View({ model: read }: { model: Model }) {
  const model = useMemo(() => inLanguage(read), [read, lang.value]);
  const { query } = place.value;
  const range: Range = { from: query.get('from') ?? model.time.from, to: query.get('to') ?? model.time.to };
  const refresh = query.get('refresh') ?? model.refresh;
  const [now, setNow] = useState(() => Date.now());
  const span = useMemo(() => resolve(range, now), [range.from, range.to, now]);

  useEffect(() => {
    const every = durationMs(refresh);
    if (!every) return undefined;
    const timer = window.setInterval(() => {
      if (document.visibilityState === 'visible') setNow(Date.now());
    }, Math.max(1000, every));
    return () => window.clearInterval(timer);
  }, [refresh]);

  const chosen = [...query].filter(([k]) => k.startsWith('var-')).map(([k, v]) => `${k}=${v}`).join('&');
  // Variables follow the range when it is changed, not with every refresh.
  const variables = useLoad(`${model.uid} ${chosen} ${range.from} ${range.to}`, (signal) => resolveVariables(model.variables, query, span, signal));
  const choices = variables.data;
  const setRange = (next: Range): void => {
    setNow(Date.now());
    setQuery({ from: next.from, to: next.to }, { push: true });
  };
  const zoom = (to: Span): void => setRange({ from: String(Math.round(to.from)), to: String(Math.round(to.to)) });
  return (
    <Page
      wide
      title={<><a class="crumb" href={href('/dashboards')}>{t('nav_dashboards')}</a><span class="crumb-sep">/</span>{model.title}</>}
      actions={<TimePicker range={range} onRange={setRange} refresh={refresh} onRefresh={(r) => setQuery({ refresh: r || '0' })} onReload={() => setNow(Date.now())} />}
    >
      {choices && <Variables choices={choices} />}
      {!choices && <Loading />}
      {choices && model.panels.length === 0 && <Empty icon="dashboards" title={t('dashboard_empty')} />}
      {choices && <Sections model={model} choices={choices} span={span} turn={`${span.from} ${span.to} ${chosenText(choices)}`} onZoom={zoom} />}
    </Page>
  );
}

const chosenText = (choices: Choices): string => [...choices.values()].map((c) => c.values.join('|')).join('\u0000');

function Variables({ choices }: { choices: Choices }) {
  const shown = [...choices.values()].filter(({ variable }) => variable.hide !== 2 && variable.type !== 'constant');
  if (shown.length === 0) return null;
  return (
    <div class="variables">
      {shown.map((choice) => <VariableField key={choice.variable.name} choice={choice} />)}
    </div>
  );
}

function VariableField({ choice }: { choice: Choice }) {
  const { variable, options, values } = choice;
  const label = variable.label || variable.name;
  const set = (next: string[]): void => setQuery({ [`var-${variable.name}`]: next }, { push: true });
  const named = variable.hide !== 1;
  let field: ComponentChildren;
  if (variable.type === 'textbox') {
    field = <input class="field" value={values[0]} onChange={(e) => set([e.currentTarget.value])} aria-label={label} />;
  } else if (variable.multi) {
    field = <MultiSelect label={label} options={options} values={values} onChange={set} all={variable.includeAll ?? false} />;
  } else {
    const known = options.some((o) => o.value === values[0]);
    field = (
      <select class="field" value={values[0]} onChange={(e) => set([e.currentTarget.value])} aria-label={label}>
        {!known && <option value={values[0]}>{values[0] || t('none')}</option>}
        {options.map((o) => <option key={o.value} value={o.value}>{o.value === ALL ? t('all') : o.text}</option>)}
      </select>
    );
  }
  return <div class="variable">{named && <span>{label}</span>}{field}</div>;
}

function MultiSelect({ label, options, values, onChange, all }: {
  label: string; options: Choice['options']; values: string[]; onChange: (values: string[]) => void; all: boolean;
}) {
  const text = values[0] === ALL ? t('all') : values.filter(Boolean).join(', ') || t('none');
  const toggle = (value: string): void => {
    if (value === ALL) return onChange([ALL]);
    const now = values.filter((v) => v !== ALL && v !== '');
    const next = now.includes(value) ? now.filter((v) => v !== value) : [...now, value];
    onChange(next.length === 0 && all ? [ALL] : next);
  };
  return (
    <details class="multi">
      <summary class="field" aria-label={`${label}: ${text}`}>{text}</summary>
      <div class="multi-list">
        {options.map((o) => (
          <label key={o.value}>
            <input type="checkbox" checked={values.includes(o.value)} onChange={() => toggle(o.value)} />
            {o.value === ALL ? t('all') : o.text}
          </label>
        ))}
      </div>
    </details>
  );
}

interface SectionsProps { model: Model; choices: Choices; span: Span; turn: string; onZoom: (span: Span) => void }

function Sections({ model, choices, span, turn, onZoom }: SectionsProps) {
  const parts = useMemo(() => sections(model.panels).flatMap((s) => repeated(s, choices)), [model, turn]);
  const [folded, setFolded] = useState<Record<string, boolean>>({});
  return (
    <>
      {parts.map(({ row, panels }, index) => {
        const key = row ? `${row.id} ${index}` : 'top';
        const closed = folded[key] ?? (row?.collapsed === true);
        const top = Math.min(...panels.map((p) => p.gridPos.y));
        return (
          <section key={key}>
            {row && (
              <button type="button" class="row-head" aria-expanded={!closed} onClick={() => setFolded({ ...folded, [key]: !closed })}>
                <Icon name={closed ? 'chevronRight' : 'chevronDown'} size={14} />
                {interpolateTitle(row.title, choices, { span }, row.scoped)}
                {closed && <small>{t('panels_count', { n: panels.length })}</small>}
              </button>
            )}
            {!closed && (
              <div class="grid">
                {panels.map((panel) => (
                  <div
                    key={`${panel.id} ${JSON.stringify(panel.scoped ?? '')}`}
                    class={panel.gridPos.w <= 6 ? 'cell small' : 'cell'}
                    style={{
                      '--x': panel.gridPos.x + 1, '--w': panel.gridPos.w, '--y': panel.gridPos.y - top + 1, '--h': panel.gridPos.h,
                    }}
                  >
                    <PanelFrame panel={panel} span={span} choices={choices} turn={turn} sync={model.sharedCrosshair ? model.uid : undefined} onZoom={onZoom} />
                  </div>
                ))}
              </div>
            )}
          </section>
        );
      })}
    </>
  );
}

const valuesOf = (choice: Choice | undefined): string[] =>
  !choice ? [] : choice.values[0] === ALL ? choice.options.map((o) => o.value).filter((v) => v !== ALL) : choice.values;

/** Rows and panels that repeat for each value of a variable. */
function repeated(section: Section, choices: Choices): Section[] {
  const { row } = section;
  const each = row?.repeat ? valuesOf(choices.get(row.repeat)) : [];
  if (!row?.repeat || each.length === 0) return [{ row, panels: repeatPanels(section.panels, choices) }];
  const name = row.repeat;
  return each.map((value) => {
    const scoped = { [name]: value };
    return {
      row: { ...row, scoped },
      panels: repeatPanels(section.panels.map((p) => ({ ...p, scoped: { ...p.scoped, ...scoped } })), choices),
    };
  });
}

function repeatPanels(panels: Panel[], choices: Choices): Panel[] {
  const out: Panel[] = [];
  let pushed = 0;
  for (const panel of panels) {
    const each = panel.repeat ? valuesOf(choices.get(panel.repeat)) : [];
    const at = { ...panel.gridPos, y: panel.gridPos.y + pushed };
    if (!panel.repeat || each.length === 0) {
      out.push({ ...panel, gridPos: at });
      continue;
    }
    const name = panel.repeat;
    const across = panel.repeatDirection === 'v' ? 1 : Math.min(panel.maxPerRow ?? 4, each.length);
    const width = panel.repeatDirection === 'v' ? at.w : Math.floor(24 / across);
    each.forEach((value, i) => {
      out.push({
        ...panel,
        scoped: { ...panel.scoped, [name]: value },
        gridPos: { x: panel.repeatDirection === 'v' ? at.x : (i % across) * width, y: at.y + Math.floor(i / across) * at.h, w: width, h: at.h },
      });
    });
    pushed += (Math.ceil(each.length / across) - 1) * at.h;
  }
  return out;
}
