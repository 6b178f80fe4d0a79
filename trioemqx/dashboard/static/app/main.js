// Starts: who is here? Then the login page, or the shell around a page.
import { html, render, useEffect, useInterval, useState } from './lib.js';
import { language } from './i18n.js';
import { recheck, resume, session } from './session.js';
import { startFeed, stopFeed } from './feed.js';
import { Shell } from './components/shell.js';
import { ErrorBox, Skeleton } from './components/states.js';
import { DialogHost } from './components/dialog.js';
import { ToastHost } from './components/toast.js';
import { Login, NewPassword } from './pages/login.js';
import './theme.js';

const RETRY = 5; // seconds between two questions who is here, while nobody answers

function App() {
  const code = language.use();
  const who = session.use();
  const [error, setError] = useState(null);
  const begin = () => resume().then(() => setError(null), setError);
  useEffect(() => { begin(); }, []);
  useInterval(begin, error && !who ? RETRY : 0);
  useEffect(() => {
    if (who && !who.change_password) startFeed(recheck);
    else stopFeed();
  }, [who]);
  // The key makes all strings new when the language changes.
  return html`<div key=${code}>
    ${error && !who && html`<div class="main"><${ErrorBox} error=${error} retry=${begin} /></div>`}
    ${!error && who === null && html`<div class="main"><${Skeleton} lines=${6} /></div>`}
    ${!error && who === false && html`<${Login} />`}
    ${who && who.change_password && html`<${NewPassword} />`}
    ${who && !who.change_password && html`<${Shell} />`}
    <${DialogHost} /><${ToastHost} />
  </div>`;
}

render(html`<${App} />`, document.getElementById('app'));
