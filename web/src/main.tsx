// The entry: preferences, router, keyboard and polling start, then the page is drawn.
import { render } from 'preact';
import './styles/main.css';
import { App } from './app';
import { startKeys } from './lib/keys';
import { startLive } from './lib/live';
import { startPrefs } from './lib/prefs';
import { startRouter } from './lib/router';

startPrefs();
startRouter();
startKeys();
startLive();

const root = document.getElementById('app');
if (root) render(<App />, root);
