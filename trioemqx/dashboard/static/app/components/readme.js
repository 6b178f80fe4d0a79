// The README of a plugin, as plain text.
import { html, useState } from '../lib.js';
import { t } from '../i18n.js';
import { url, useApi } from '../api.js';
import { Dialog } from './dialog.js';

/** A button that opens it; nothing where there is none. */
export function Readme({ name }) {
  const readme = useApi(url`plugins/${name}/readme`);
  const [open, setOpen] = useState(false);
  if (!readme.data?.text) return null;
  return html`<button class="btn" data-readme onClick=${() => setOpen(true)}>${t('plugin.readme')}</button>
    ${open && html`<${Dialog} wide title=${name} onClose=${() => setOpen(false)}><pre class="block" tabindex="0">${readme.data.text}</pre><//>`}`;
}
