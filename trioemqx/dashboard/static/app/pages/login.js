// Logging in, and the new password that the well-known one asks for.
import { html, useState } from '../lib.js';
import { t } from '../i18n.js';
import { changePassword, ended, login, session, logout } from '../session.js';
import { Form } from '../components/form.js';
import { LanguageButton, ThemeButton } from '../components/shell.js';
import { Mark } from '../components/icons.js';
import { Notice } from '../components/states.js';
import { toast } from '../components/toast.js';

const Frame = ({ title, note, children }) => html`<div class="login">
  <div class="login-corner"><${LanguageButton} /><${ThemeButton} /></div>
  <main class="login-box">
    <div class="login-brand"><${Mark} size=${44} /><div><strong>trioemqx</strong><div class="muted">${t('login.note')}</div></div></div>
    <h1>${title}</h1>${note && html`<p class="muted">${note}</p>`}
    ${children}
  </main>
</div>`;

export function Login() {
  return html`<${Frame} title=${t('login.title')}>
    ${ended.use() && html`<${Notice}>${t('login.ended')}<//>`}
    <${Form} submit=${t('login.title')} onSubmit=${({ username, password }) => login(username, password)} fields=${[
      { name: 'username', label: t('word.username'), kind: 'string', required: true, autocomplete: 'username', autofocus: true },
      { name: 'password', label: t('word.password'), kind: 'password', required: true, autocomplete: 'current-password' },
    ]} />
    <p class="muted login-hint">${t('login.hint')}</p>
  <//>`;
}

/** Fields of a change of password: shared with the page of users. */
export const passwordFields = () => [
  { name: 'old', label: t('login.old'), kind: 'password', required: true, autocomplete: 'current-password', autofocus: true },
  { name: 'fresh', label: t('login.fresh'), kind: 'password', required: true, autocomplete: 'new-password' },
  { name: 'again', label: t('login.again'), kind: 'password', required: true, autocomplete: 'new-password' },
];

export function NewPassword() {
  const [user] = useState(session.get().username);
  const change = async ({ old, fresh, again }) => {
    if (fresh !== again) throw new Error(t('login.differ'));
    await changePassword(old, fresh);
    toast.ok(t('login.changed'));
  };
  return html`<${Frame} title=${t('login.change')} note=${t('login.changeNote', { user })}>
    <${Form} submit=${t('action.save')} onSubmit=${change} fields=${passwordFields()} />
    <p class="login-hint"><button class="btn ghost" onClick=${logout}>${t('shell.logout')}</button></p>
  <//>`;
}
