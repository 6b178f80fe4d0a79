// Foreign text of any length: shortened in the middle, whole on hover, with a button that copies it.
import { html, useState } from '../lib.js';
import { t } from '../i18n.js';
import { Icon } from './icons.js';

/** Put text on the clipboard; also where the page is served without TLS and the browser offers no clipboard. */
export async function copyText(text) {
  if (navigator.clipboard && isSecureContext) return navigator.clipboard.writeText(text);
  const area = document.createElement('textarea');
  area.value = text;
  (document.querySelector('dialog[open]') ?? document.body).append(area);
  area.select();
  document.execCommand('copy');
  area.remove();
  return undefined;
}

/** The beginning and the end of a long text. */
export function shorten(text, most) {
  const letters = [...text];
  if (letters.length <= most) return text;
  const tail = Math.floor(most / 3);
  return `${letters.slice(0, most - tail - 1).join('')}…${letters.slice(-tail).join('')}`;
}

/** Text with a copy button; `href` makes it a link. */
export function Copyable({ text, href, most = 40, mono = true }) {
  const [done, setDone] = useState(false);
  const copy = async (event) => {
    event.preventDefault();
    event.stopPropagation();
    await copyText(text);
    setDone(true);
    setTimeout(() => setDone(false), 1200);
  };
  const shown = shorten(String(text ?? ''), most);
  const body = href ? html`<a href=${href} title=${text}>${shown}</a>` : html`<span title=${text}>${shown}</span>`;
  return html`<span class="copyable ${mono ? 'mono' : ''}"><bdi>${body}</bdi>
    <button type="button" class="copy" aria-label=${t('action.copy')} title=${t('action.copy')} onClick=${copy}><${Icon} name=${done ? 'check' : 'copy'} size=${14} /></button>
  </span>`;
}
