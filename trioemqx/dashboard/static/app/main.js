// Starts: who is here? Then the login page, or the shell around a page.
import { html, render, useEffect, useState } from './lib.js';
import { language } from './i18n.js';
import { resume, session } from './session.js';
import { startFeed, stopFeed } from './feed.js';
import { Shell } from './components/shell.js';
import { ErrorBox } from './components/states.js';
import { DialogHost } from './components/dialog.js';
import { ToastHost } from './components/toast.js';
import { Login, NewPassword } from './pages/login.js';
import './theme.js';

function App() {
  const code = language.use();
  const who = session.use();
  const [error, setError] = useState(null);
  useEffect(() => { resume().catch(setError); }, []);
  useEffect(() => {
    if (who && !who.change_password) startFeed(() => session.set(false));
    else stopFeed();
  }, [who]);
  // The key makes all strings new when the language changes.
  return html`<div key=${code}>
    ${error && !who && html`<div class="main"><${ErrorBox} error=${error} retry=${() => location.reload()} /></div>`}
    ${!error && who === false && html`<${Login} />`}
    ${who && who.change_password && html`<${NewPassword} />`}
    ${who && !who.change_password && html`<${Shell} />`}
    <${DialogHost} /><${ToastHost} />
  </div>`;
}

render(html`<${App} />`, document.getElementById('app'));
