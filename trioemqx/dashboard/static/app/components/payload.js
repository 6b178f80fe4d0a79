// A payload, which is foreign bytes: as text, as JSON, as hex. Never as anything a browser would execute.
import { html, useMemo, useState } from '../lib.js';
import { t } from '../i18n.js';
import { bytes as size } from '../format.js';
import { copyText } from './copyable.js';
import { toast } from './toast.js';
import { Icon } from './icons.js';

const MOST_HEX = 4096; // bytes of which each becomes four characters on the page
const MOST_TEXT = 65536;

/** Base64 to bytes. */
export const fromBase64 = (text) => Uint8Array.from(atob(text ?? ''), (letter) => letter.charCodeAt(0));

/** Bytes to base64. */
export function toBase64(data) {
  let text = '';
  for (let at = 0; at < data.length; at += 8192) text += String.fromCharCode(...data.subarray(at, at + 8192));
  return btoa(text);
}

/** The text, or null when the bytes are not UTF-8 (`cut`: the last character may be torn). */
export function textOf(data, cut = false) {
  try { return new TextDecoder('utf-8', { fatal: true }).decode(data, { stream: cut }); } catch { return null; }
}

/** Lines of a hex dump: offset, sixteen bytes, and what of them can be printed. */
export function hexDump(data) {
  const lines = [];
  for (let at = 0; at < Math.min(data.length, MOST_HEX); at += 16) {
    const row = [...data.subarray(at, at + 16)];
    const digits = row.map((byte) => byte.toString(16).padStart(2, '0'));
    const letters = row.map((byte) => (byte > 31 && byte < 127 ? String.fromCharCode(byte) : '·')).join('');
    lines.push(`${at.toString(16).padStart(6, '0')}  ${digits.slice(0, 8).join(' ').padEnd(23)}  ${digits.slice(8).join(' ').padEnd(23)}  ${letters}`);
  }
  return lines.join('\n');
}

/** Hex digits, with or without blanks, to bytes; throws an Error that says what is wrong. */
export function fromHex(text) {
  const digits = text.replace(/[\s:]|0x/g, '');
  if (digits.length % 2 || /[^0-9a-fA-F]/.test(digits)) throw new Error(t('payload.badHex'));
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

/** Give bytes to the user as a file. */
export function save(data, name, type = 'application/octet-stream') {
  const address = URL.createObjectURL(new Blob([data], { type }));
  const anchor = document.createElement('a');
  anchor.href = address;
  anchor.download = name;
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

/** `data`: Uint8Array. `truncated`: the broker sent the beginning only, of `total` bytes. */
export function Payload({ data, truncated, total, name = 'payload.bin' }) {
  const text = useMemo(() => textOf(data, truncated), [data, truncated]);
  const json = useMemo(() => { try { return text && /^\s*[[{]/.test(text) ? JSON.stringify(JSON.parse(text), null, 2) : null; } catch { return null; } }, [text]);
  const [wish, setForm] = useState(null);
  const form = wish ?? (json ? 'json' : text !== null ? 'text' : 'hex');
  const forms = [['text', t('payload.text'), text !== null], ['json', 'JSON', json !== null], ['hex', 'Hex', true]];
  const shown = data.length === 0 ? '' : form === 'json' ? json : form === 'text' ? text : hexDump(data);
  return html`<div class="payload">
    <div class="payload-bar"><div class="btn-group" role="group" aria-label=${t('payload.form')}>${forms.map(([key, label, possible]) => html`
        <button type="button" class="btn small" aria-pressed=${form === key} disabled=${!possible} onClick=${() => setForm(key)}>${label}</button>`)}</div>
      <span class="muted grow">${size(total ?? data.length)}${truncated ? ` · ${t('payload.truncated', { size: size(data.length) })}` : ''}</span>
      <button type="button" class="btn icon small" aria-label=${t('action.copy')} title=${t('action.copy')} onClick=${async () => { await copyText(shown); toast.ok(t('action.copied')); }}><${Icon} name="copy" size=${16} /></button>
      <button type="button" class="btn icon small" aria-label=${t('action.download')} title=${t('action.download')} onClick=${() => save(data, name)}><${Icon} name="download" size=${16} /></button>
    </div>
    ${data.length === 0 ? html`<p class="muted pad">${t('payload.empty')}</p>` : html`<pre tabindex="0" class="payload-text ${form}">${shown.slice(0, MOST_TEXT)}${shown.length > MOST_TEXT ? `\n… ${t('payload.cut')}` : ''}</pre>`}
    ${form === 'hex' && data.length > MOST_HEX && html`<p class="muted pad">${t('payload.cut')}</p>`}
  </div>`;
}
