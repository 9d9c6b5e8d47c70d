// Explore: free questions to the metrics and the logs. The whole state is in the URL.
import { Page, Tabs } from '../components/bits';
import { TimePicker } from '../components/TimePicker';
import { t } from '../lib/i18n';
import { place, setQuery } from '../lib/router';
import { ExploreLogs } from './ExploreLogs';
import { ExploreMetrics } from './ExploreMetrics';
import { useState } from 'preact/hooks';

export function Explore() {
  const { query } = place.value;
  const tab = query.get('tab') === 'logs' ? 'logs' : 'metrics';
  const range = { from: query.get('from') ?? 'now-1h', to: query.get('to') ?? 'now' };
  const [turn, setTurn] = useState(0);
  return (
    <Page
      wide
      title={t('nav_explore')}
      actions={
        <>
          <Tabs
            label={t('nav_explore')}
            value={tab}
            options={[['metrics', t('metrics')], ['logs', t('logs')]] as const}
            onChange={(next) => setQuery({ tab: next, expr: undefined }, { push: true })}
          />
          <TimePicker range={range} onRange={(r) => setQuery({ from: r.from, to: r.to }, { push: true })} onReload={() => setTurn(turn + 1)} />
        </>
      }
    >
      {tab === 'logs' ? <ExploreLogs range={range} turn={turn} /> : <ExploreMetrics range={range} turn={turn} />}
    </Page>
  );
}
