// Short messages at the edge. `toast.ok(text)`, `toast.error(error)`.
import { html, store } from '../lib.js';
import { t, wrong } from '../i18n.js';
import { Icon } from './icons.js';

const shown = store([]);
let next = 1;

function show(kind, title, more, seconds) {
  const id = next++;
  shown.set([...shown.get().slice(-3), { id, kind, title, more }]);
  setTimeout(() => dismiss(id), seconds * 1000);
}

const dismiss = (id) => shown.set(shown.get().filter((one) => one.id !== id));

export const toast = {
  ok: (text) => show('ok', text, '', 4),
  warn: (text) => show('warn', text, '', 8),
  /** An ApiError, with what to do; stays longer, because it is to be read. */
  error: (error) => show('danger', wrong(error.message), [wrong(error.reason), error.hint].filter(Boolean).join(' '), 12),
};

/** Do it and say so: a toast with `done` or with the error. Answers whether it went well. */
export async function attempt(act, done) {
  try {
    await act();
    if (done) toast.ok(done);
    return true;
  } catch (error) {
    toast.error(error);
    return false;
  }
}

export function ToastHost() {
  return html`<div class="toasts" role="status" aria-live="polite">${shown.use().map((one) => html`
    <div key=${one.id} class="toast ${one.kind}"><${Icon} name=${one.kind === 'ok' ? 'check' : 'warning'} />
      <div class="grow"><div>${one.title}</div>${one.more && html`<div class="muted">${one.more}</div>`}</div>
      <button class="btn icon ghost" aria-label=${t('action.close')} onClick=${() => dismiss(one.id)}><${Icon} name="close" size=${16} /></button>
    </div>`)}</div>`;
}
