// The shell: a rail on a desktop, a bar at the bottom on a phone, the page between.
import { useEffect, useRef } from 'preact/hooks';
import { Empty, Page } from './components/bits';
import { Icon, type IconName } from './components/Icon';
import { t, type Key } from './lib/i18n';
import { GO_TO, helpOpen } from './lib/keys';
import { firing, offline, status } from './lib/live';
import { chooseLang, chooseTheme, lang, theme } from './lib/prefs';
import { href, path } from './lib/router';
import { Alerts } from './pages/Alerts';
import { Dashboard } from './pages/Dashboard';
import { Dashboards } from './pages/Dashboards';
import { Explore } from './pages/Explore';
import { Home } from './pages/Home';
import { RunbookPage, Runbooks } from './pages/Runbooks';
import { System } from './pages/System';

const NAV: { to: string; icon: IconName; text: Key; short: Key; match: RegExp }[] = [
  { to: '/', icon: 'home', text: 'nav_home', short: 'nav_home', match: /^\/$/ },
  { to: '/explore', icon: 'explore', text: 'nav_explore', short: 'nav_explore', match: /^\/explore/ },
  { to: '/dashboards', icon: 'dashboards', text: 'nav_dashboards', short: 'nav_dashboards_short', match: /^\/(dashboards|d\/)/ },
  { to: '/alerts', icon: 'alerts', text: 'nav_alerts', short: 'nav_alerts', match: /^\/alerts/ },
  { to: '/runbooks', icon: 'runbooks', text: 'nav_runbooks', short: 'nav_runbooks_short', match: /^\/runbooks/ },
  { to: '/system', icon: 'system', text: 'nav_system', short: 'nav_system', match: /^\/system/ },
];

function Current() {
  const at = path.value.replace(/\/+$/, '') || '/';
  const dashboard = /^\/d\/([^/]+)/.exec(at);
  if (dashboard?.[1]) return <Dashboard uid={decodeURIComponent(dashboard[1])} key={dashboard[1]} />;
  const runbook = /^\/runbooks\/([^/]+)/.exec(at);
  if (runbook?.[1]) return <RunbookPage slug={decodeURIComponent(runbook[1])} key={runbook[1]} />;
  if (at.startsWith('/alerts/')) return <Alerts />;
  if (at.startsWith('/system/')) return <System />;
  switch (at) {
    case '/': case '/help': return <Home />;
    case '/explore': return <Explore />;
    case '/dashboards': return <Dashboards />;
    case '/alerts': return <Alerts />;
    case '/runbooks': return <Runbooks />;
    case '/system': return <System />;
  }
  return (
    <Page title={t('not_found')}>
      <Empty icon="search" title={t('not_found')}><a href={href('/')}>{t('back_home')}</a></Empty>
    </Page>
  );
}

export function App() {
  // The language is read here so that every text is written anew when it changes.
  const language = lang.value;
  const at = path.value;
  const alerts = firing.value.length;
  const main = useRef<HTMLElement>(null);
  useEffect(() => {
    const page = NAV.find((n) => n.match.test(at));
    const heading = main.current?.querySelector('h1')?.textContent;
    document.title = `${alerts > 0 ? `(${alerts}) ` : ''}${page ? t(page.text) : (heading ?? '')} · Vigie`;
  }, [at, alerts, language]);
  const shown = useRef(at);
  useEffect(() => {
    // A screen reader starts at the new page, not at the link that led there.
    if (shown.current !== at) main.current?.focus({ preventScroll: true });
    shown.current = at;
  }, [at]);
  return (
    <div class="shell">
      <a class="skip" href="#main">{t('skip')}</a>
      <nav class="rail" aria-label={t('navigation')}>
        <a class="brand" href={href('/')} aria-label="Vigie">
          <Logo />
          <span>Vigie</span>
        </a>
        <ul>
          {NAV.map(({ to, icon, text, short, match }) => (
            <li key={to}>
              <a href={href(to)} aria-current={match.test(at) ? 'page' : undefined} title={t(text)}>
                <Icon name={icon} size={18} />
                <span class="long">{t(text)}</span>
                <span class="short">{t(short)}</span>
                {to === '/alerts' && alerts > 0 && <b class="nav-count" aria-label={t('home_alerts', { n: alerts })}>{alerts}</b>}
              </a>
            </li>
          ))}
        </ul>
        <div class="rail-foot">
          <Switches />
          {status.value && <span class="rail-version">Vigie {status.value.version}</span>}
        </div>
      </nav>
      <div class="column">
        <div class="phone-top">
          <a class="brand" href={href('/')} aria-label="Vigie"><Logo /><span>Vigie</span></a>
          <Switches />
        </div>
        {offline.value && <div class="offline" role="alert"><Icon name="warn" size={14} />{t('offline')}</div>}
        <main id="main" ref={main} tabIndex={-1}><Current /></main>
      </div>
      <Help />
    </div>
  );
}

function Logo() {
  return (
    <svg class="logo" width="24" height="24" viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="8" class="logo-back" />
      <path d="M8 11l8 13 8-13" fill="none" stroke="#fff" stroke-width="3.2" stroke-linecap="round" stroke-linejoin="round" />
      <circle cx="16" cy="9.600" r="2.800" fill="#fbbf24" />
    </svg>
  );
}

function Switches() {
  const dark = theme.value === 'dark';
  return (
    <div class="switches">
      <button type="button" class="button ghost icon-only" onClick={() => chooseTheme(dark ? 'light' : 'dark')} aria-label={t(dark ? 'to_light' : 'to_dark')} title={t(dark ? 'to_light' : 'to_dark')}>
        <Icon name={dark ? 'sun' : 'moon'} />
      </button>
      <button type="button" class="button ghost lang" onClick={() => chooseLang(lang.value === 'fr' ? 'en' : 'fr')} aria-label={t('other_language')} title={t('other_language')}>
        {lang.value === 'fr' ? 'FR' : 'EN'}
      </button>
      <button type="button" class="button ghost icon-only hide-phone" onClick={() => { helpOpen.value = true; }} aria-label={t('keyboard')} title={t('keyboard')}>
        <Icon name="help" />
      </button>
    </div>
  );
}

const GO_NAMES: Record<string, Key> = {
  '/': 'nav_home', '/explore': 'nav_explore', '/dashboards': 'nav_dashboards', '/alerts': 'nav_alerts', '/runbooks': 'nav_runbooks', '/system': 'nav_system',
};

function Help() {
  const dialog = useRef<HTMLDialogElement>(null);
  const open = helpOpen.value;
  useEffect(() => {
    if (open) dialog.current?.showModal();
    else dialog.current?.close();
  }, [open]);
  const keys: [string, string][] = [
    ...Object.entries(GO_TO).map(([k, to]): [string, string] => [`g ${k}`, t(GO_NAMES[to] ?? 'nav_home')]),
    ['/', t('key_search')],
    ['t', t('time_range')],
    ['+ −', t('key_zoom')],
    ['r', t('refresh')],
    ['Ctrl ↵', t('run')],
    ['?', t('keyboard')],
  ];
  return (
    <dialog class="help" ref={dialog} aria-label={t('keyboard')} onClose={() => { helpOpen.value = false; }} onClick={(e) => { if (e.target === dialog.current) helpOpen.value = false; }}>
      <header><h2>{t('keyboard')}</h2><button type="button" class="button ghost icon-only" onClick={() => { helpOpen.value = false; }} aria-label={t('close')}><Icon name="close" /></button></header>
      <dl>{keys.map(([k, what]) => (<div key={k}><dt>{k.split(' ').map((x) => <kbd key={x}>{x}</kbd>)}</dt><dd>{what}</dd></div>))}</dl>
    </dialog>
  );
}
