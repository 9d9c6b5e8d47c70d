// Small parts that every page uses.
import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import { t } from '../lib/i18n';
import type { Severity } from '../lib/live';
import { Icon, type IconName } from './Icon';

export function Page({ title, actions, children, wide }: {
  title: ComponentChildren;
  actions?: ComponentChildren;
  children: ComponentChildren;
  wide?: boolean;
}) {
  return (
    <div class={wide ? 'page wide' : 'page'}>
      <header class="page-head">
        <h1>{title}</h1>
        {actions && <div class="page-actions">{actions}</div>}
      </header>
      {children}
    </div>
  );
}

/** An empty state: what is missing, why, and what to do about it. */
export function Empty({ icon = 'info', title, children }: { icon?: IconName; title: string; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <Icon name={icon} size={20} />
      <strong>{title}</strong>
      {children && <div class="empty-text">{children}</div>}
    </div>
  );
}

export function Failure({ error, retry }: { error: Error; retry?: () => void }) {
  return (
    <div class="failure" role="alert">
      <Icon name="warn" />
      <span>{error.message}</span>
      {retry && (
        <button type="button" class="button small" onClick={retry}>
          {t('retry')}
        </button>
      )}
    </div>
  );
}

export function Loading() {
  return (
    <div class="loading" role="status">
      <span class="visually-hidden">{t('loading')}</span>
    </div>
  );
}

type Tone = 'good' | 'warn' | 'bad' | 'info' | 'plain';

/** A state in words with its colour and a mark: colour never says it alone. */
export function Badge({ tone, icon, children }: { tone: Tone; icon?: IconName; children: ComponentChildren }) {
  return (
    <span class={`badge ${tone}`}>
      {icon ? <Icon name={icon} size={12} /> : <i class={`dot ${tone}`} aria-hidden="true" />}
      {children}
    </span>
  );
}

export function AlertBadge({ state }: { state: string }) {
  if (state === 'firing') return <Badge tone="bad" icon="fire">{t('state_firing')}</Badge>;
  if (state === 'pending') return <Badge tone="warn" icon="clock">{t('state_pending')}</Badge>;
  if (state === 'inactive') return <Badge tone="good" icon="check">{t('state_inactive')}</Badge>;
  return <Badge tone="plain">{t('state_unknown')}</Badge>;
}

export function SeverityTag({ severity }: { severity: Severity }) {
  const bars = { high: 3, medium: 2, low: 1 }[severity];
  return (
    <span class={`severity ${severity}`} title={t(`severity_${severity}`)}>
      <svg width="12" height="12" viewBox="0 0 12 12" aria-hidden="true">
        {[1, 2, 3].map((n) => (
          <rect key={n} x={(n - 1) * 4.2} y={12 - n * 4} width="3" height={n * 4} rx="1" class={n <= bars ? 'on' : 'off'} />
        ))}
      </svg>
      {t(`severity_${severity}`)}
    </span>
  );
}

export function CopyButton({ text, label }: { text: string; label?: string }) {
  const [done, setDone] = useState(false);
  const copy = async (): Promise<void> => {
    await copyText(text);
    setDone(true);
    window.setTimeout(() => setDone(false), 1500);
  };
  return (
    <button type="button" class="button ghost small" onClick={copy} aria-label={label ?? t('copy')} title={t('copy')}>
      <Icon name={done ? 'check' : 'copy'} size={14} />
    </button>
  );
}

/** Copies even where the page is not served over TLS, which the clipboard API asks for. */
export async function copyText(text: string): Promise<void> {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(text);
    return;
  }
  const field = document.createElement('textarea');
  field.value = text;
  field.className = 'visually-hidden';
  document.body.append(field);
  field.select();
  document.execCommand('copy');
  field.remove();
}

export function Labels({ labels, omit = [], onPick }: {
  labels: Record<string, string>;
  omit?: string[];
  onPick?: (name: string, value: string) => void;
}) {
  const shown = Object.entries(labels).filter(([name]) => !omit.includes(name));
  if (shown.length === 0) return null;
  return (
    <span class="labels">
      {shown.map(([name, value]) =>
        onPick ? (
          <button type="button" class="label" key={name} onClick={() => onPick(name, value)} title={t('filter_on')}>
            <b>{name}</b>
            {value}
          </button>
        ) : (
          <span class="label" key={name}>
            <b>{name}</b>
            {value}
          </span>
        ),
      )}
    </span>
  );
}

export function Tabs<T extends string>({ value, options, onChange, label }: {
  value: T;
  options: readonly (readonly [T, ComponentChildren])[];
  onChange: (value: T) => void;
  label: string;
}) {
  return (
    <div class="tabs" role="group" aria-label={label}>
      {options.map(([key, text]) => (
        <button type="button" key={key} aria-pressed={key === value} class={key === value ? 'on' : ''} onClick={() => onChange(key)}>
          {text}
        </button>
      ))}
    </div>
  );
}

/** PromQL's template in a summary may still hold "{{ $labels.x }}": rules are shown as written. */
export function Code({ children, wrap }: { children: string; wrap?: boolean }) {
  return <code class={wrap ? 'code wrap' : 'code'}>{children}</code>;
}
