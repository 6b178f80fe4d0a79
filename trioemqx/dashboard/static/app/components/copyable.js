// Foreign text of any length: cut in the middle to what there is room for, whole on hover, with a button that copies it.
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

// Two pieces are two lines for a browser: who selects them and copies wants one.
document.addEventListener('copy', (event) => {
  const selection = getSelection();
  const pieces = [...document.querySelectorAll('.copyable .end')].filter((end) => selection.containsNode(end, true)).map((end) => [end.previousSibling.textContent, end.textContent]);
  if (!pieces.length || event.target.closest?.('input, textarea')) return;
  event.clipboardData.setData('text/plain', pieces.reduce((text, [begin, end]) => text.replaceAll(`${begin}\n${end}`, () => begin + end), selection.toString()));
  event.preventDefault();
});

/** The beginning and the end of a long text. */
export function shorten(text, most) {
  const letters = [...text];
  if (letters.length <= most) return text;
  const tail = Math.floor(most / 3);
  return `${letters.slice(0, most - tail - 1).join('')}…${letters.slice(-tail).join('')}`;
}

/** Foreign text that needs no button: as much of it as there is room for, on one line (`clip`) or on a few (`lines`). */
export const Clip = ({ text, className = 'clip' }) => html`<div class=${className} title=${text}>${shorten(String(text ?? ''), 300)}</div>`;

const TAIL = 6; // letters of the end that stay to be seen
const LONG = 28; // a shorter text is in one piece, which the browser's search finds

/** The two pieces of a long text: in a table the first gives way, so that the end is seen as well. */
function Shown({ text }) {
  const letters = [...text];
  if (letters.length <= LONG) return text;
  return html`<span class="begin">${letters.slice(0, -TAIL).join('')}</span><span class="end">${letters.slice(-TAIL).join('')}</span>`;
}

/** Text with a copy button; `href` makes it a link. `most` letters are in the page at all. */
export function Copyable({ text, href, most = 120, mono = true }) {
  const [done, setDone] = useState(false);
  const copy = async (event) => {
    event.preventDefault();
    event.stopPropagation();
    await copyText(text);
    setDone(true);
    setTimeout(() => setDone(false), 1200);
  };
  const shown = shorten(String(text ?? ''), most);
  const kind = [...shown].length > LONG ? 'pieces' : 'begin';
  const body = href ? html`<a class=${kind} href=${href} title=${text}><${Shown} text=${shown} /></a>` : html`<span class=${kind} title=${text}><${Shown} text=${shown} /></span>`;
  return html`<span class="copyable ${mono ? 'mono' : ''}"><bdi>${body}</bdi>
    <button type="button" class="copy" aria-label=${t('action.copy')} title=${t('action.copy')} onClick=${copy}><${Icon} name=${done ? 'check' : 'copy'} size=${14} /></button>
  </span>`;
}
