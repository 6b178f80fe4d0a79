// Dialogs: the browser's own <dialog>, which keeps the focus inside and closes on Escape. `confirm({...})` asks a question.
import { html, store, useLayoutEffect, useRef } from '../lib.js';
import { useId } from './tabs.js';
import { t } from '../i18n.js';
import { Icon } from './icons.js';

/** A window over the page. `side`: as a drawer at the right. `onClose` is called on Escape, the cross and a click beside it. */
export function Dialog({ title, onClose, children, footer, wide, side }) {
  const box = useRef(null);
  const id = useId('dialog');
  useLayoutEffect(() => { // at once: the next key is the dialog's
    const before = document.activeElement;
    const shown = box.current;
    shown.showModal();
    (shown.querySelector('[data-autofocus]') ?? shown.querySelector('.dialog-body :is(input, select, textarea)'))?.focus();
    return () => { shown.close(); before?.focus?.(); }; // closed first: what lies behind a modal dialog takes no focus
  }, []);
  const cancel = (event) => { event.preventDefault(); onClose(); };
  return html`<dialog ref=${box} class="dialog ${wide ? 'wide' : ''} ${side ? 'side' : ''}" aria-labelledby=${id} onCancel=${cancel} onMouseDown=${(event) => event.target === box.current && onClose()}>
    <div class="dialog-box">
      <div class="dialog-head"><h2 class="grow" id=${id}>${title}</h2><button type="button" class="btn icon ghost" aria-label=${t('action.close')} onClick=${onClose}><${Icon} name="close" /></button></div>
      <div class="dialog-body">${children}</div>
      ${footer && html`<div class="dialog-foot">${footer}</div>`}
    </div>
  </dialog>`;
}

/** The same at the right edge, for looking at one thing of a list. */
export const Drawer = (props) => html`<${Dialog} ...${props} side=${true} />`;

const question = store(null);

/** Ask before something is destroyed: title, text (what will happen), action (the word on the button). Resolves to true or false. */
export function confirm({ title, text, action, danger = true, children }) {
  return new Promise((resolve) => question.set({ title, text, action, danger, children, resolve }));
}

export function DialogHost() {
  const asked = question.use();
  if (!asked) return null;
  const answer = (yes) => { question.set(null); asked.resolve(yes); };
  return html`<${Dialog} title=${asked.title} onClose=${() => answer(false)} footer=${html`
      <button type="button" class="btn" onClick=${() => answer(false)}>${t('action.cancel')}</button>
      <button type="button" class="btn ${asked.danger ? 'danger' : 'primary'}" data-autofocus onClick=${() => answer(true)}>${asked.action}</button>`}>
    <p>${asked.text}</p>${asked.children}
  <//>`;
}
