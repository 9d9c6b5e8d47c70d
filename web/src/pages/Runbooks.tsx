// The runbooks: the list, and one of them with a copy button on every block of commands.
import { useEffect, useRef } from 'preact/hooks';
import { Empty, Failure, Loading, Page, SeverityTag, copyText } from '../components/bits';
import { AlertBadge } from '../components/bits';
import { Icon } from '../components/Icon';
import { ApiError, vigie, type Runbook } from '../lib/api';
import { useLoad } from '../lib/hooks';
import { said, t } from '../lib/i18n';
import { activeAlerts, severityOf } from '../lib/live';
import { lang } from '../lib/prefs';
import { href } from '../lib/router';

const plain = (text: string): string => text.toLowerCase().replace(/[^a-z0-9]/g, '');

export function Runbooks() {
  const { data, error, reload } = useLoad(`runbooks ${lang.value}`, (signal) => vigie.runbooks(lang.value, signal));
  return (
    <Page title={t('nav_runbooks')}>
      {error && <Failure error={error} retry={reload} />}
      {!data && !error && <Loading />}
      {data?.length === 0 && <Empty icon="runbooks" title={t('runbooks_none')} />}
      <div class="cards">
        {data?.map((r) => {
          const active = activeAlerts.value.find((a) => plain(a.rule.name) === plain(r.alert ?? '') || plain(a.rule.name) === plain(r.slug));
          return (
            <a class="card" key={r.slug} href={href(`/runbooks/${r.slug}`)}>
              <Icon name="runbooks" size={18} />
              <strong>{r.title}</strong>
              <span class="card-side">
                {active && <AlertBadge state={active.alert.state} />}
                {r.severity && <SeverityTag severity={severityOf({ severity: r.severity })} />}
              </span>
              {r.alert && !plain(r.title).startsWith(plain(r.alert)) && <code class="card-code">{r.alert}</code>}
            </a>
          );
        })}
      </div>
    </Page>
  );
}

/** A runbook that is not there in the reader's language is better read in the other than not at all. */
async function eitherLanguage(slug: string, signal: AbortSignal): Promise<Runbook> {
  try {
    return await vigie.runbook(slug, lang.peek(), signal);
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 404) throw error;
    return vigie.runbook(slug, lang.peek() === 'fr' ? 'en' : 'fr', signal).catch(() => { throw error; });
  }
}

export function RunbookPage({ slug }: { slug: string }) {
  const { data, error, reload } = useLoad(`runbook ${slug} ${lang.value}`, (signal) => eitherLanguage(slug, signal));
  const body = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const blocks = [...(body.current?.querySelectorAll('pre') ?? [])];
    for (const block of blocks) addCopy(block, block.textContent ?? '');
    // Runbooks open with their title, which the page shows already.
    const first = body.current?.querySelector('h1');
    if (first) first.hidden = true;
  }, [data]);
  const active = activeAlerts.value.filter((a) => data && (plain(a.rule.name) === plain(data.alert ?? '') || plain(a.rule.name) === plain(data.slug)));
  return (
    <Page title={<><a class="crumb" href={href('/runbooks')}>{t('nav_runbooks')}</a><span class="crumb-sep">/</span>{data?.title ?? '\u00a0'}</>}>
      {error && !data && <Failure error={error} retry={reload} />}
      {!data && !error && <Loading />}
      {active.map((a) => (
        <a class="runbook-alert" key={JSON.stringify(a.alert.labels)} href={href(`/alerts?open=${encodeURIComponent(a.rule.name)}`)}>
          <AlertBadge state={a.alert.state} /> {said(a.alert.annotations, 'summary') ?? a.rule.name}
        </a>
      ))}
      {data && data.lang && data.lang !== lang.value && <p class="note">{t('runbook_other_lang')}</p>}
      {/* The server rendered and sanitised this; the page's content policy forbids scripts besides. */}
      {data && <article class="prose runbook" lang={data.lang} ref={body} key={data.slug + data.lang} dangerouslySetInnerHTML={{ __html: data.html }} />}
    </Page>
  );
}

function addCopy(block: HTMLPreElement, text: string): void {
  if (block.querySelector('.copy')) return;
  const button = document.createElement('button');
  button.type = 'button';
  button.className = 'button small copy';
  button.textContent = t('copy');
  button.addEventListener('click', () => {
    void copyText(text.trimEnd()).then(() => {
      button.textContent = t('copied');
      window.setTimeout(() => { button.textContent = t('copy'); }, 1500);
    });
  });
  block.append(button);
}
