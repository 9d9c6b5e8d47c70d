// The list of dashboards, with a filter by title and tag.
import { useState } from 'preact/hooks';
import { Empty, Failure, Loading, Page } from '../components/bits';
import { Icon } from '../components/Icon';
import { grafana } from '../lib/api';
import { useLoad } from '../lib/hooks';
import { said, t } from '../lib/i18n';
import { href } from '../lib/router';

export function Dashboards() {
  const [text, setText] = useState('');
  const { data, error, reload } = useLoad('dashboards', (signal) => grafana.search(signal));
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const hits = (data ?? []).filter((d) => words.every((w) => `${d.title} ${d.title_fr ?? ''} ${d.tags?.join(' ')}`.toLowerCase().includes(w)));
  return (
    <Page
      title={t('nav_dashboards')}
      actions={
        <label class="search">
          <Icon name="search" size={14} />
          <input data-search type="search" value={text} placeholder={t('search')} aria-label={t('search')} onInput={(e) => setText(e.currentTarget.value)} />
          <kbd>/</kbd>
        </label>
      }
    >
      {error && <Failure error={error} retry={reload} />}
      {!data && !error && <Loading />}
      {data && data.length === 0 && <Empty icon="dashboards" title={t('dashboards_none')}>{t('dashboards_none_why')}</Empty>}
      {data && data.length > 0 && hits.length === 0 && <Empty icon="search" title={t('search_none', { text })} />}
      <div class="cards">
        {hits.map((d) => (
          <a class="card" key={d.uid} href={href(d.url || `/d/${d.uid}`)}>
            <Icon name="dashboards" size={18} />
            <span class="card-title">
              <strong>{said(d, 'title')}</strong>
              {said(d, 'title') !== d.title && <small>{d.title}</small>}
            </span>
            <span class="tags">{d.tags?.map((tag) => <span class="tag" key={tag}>{tag}</span>)}</span>
          </a>
        ))}
      </div>
    </Page>
  );
}
