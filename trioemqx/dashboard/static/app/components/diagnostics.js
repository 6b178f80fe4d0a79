// A file for whoever helps: what this broker is and does, without payloads and without secrets. Those of settings are hidden by the API,
// those of rules and resources here.
import { html, useState } from '../lib.js';
import { t } from '../i18n.js';
import { api } from '../api.js';
import { save } from './payload.js';
import { Icon } from './icons.js';
import { toast } from './toast.js';

const PARTS = ['brokers', 'nodes', 'stats', 'metrics', 'listeners', 'plugins', 'modules', 'hooks', 'configs', 'alarms/activated', 'alarms/deactivated', 'rules', 'resources', 'audit'];

const SECRET = /pass|secret|token|cookie|auth|headers|key/i;
const HIDDEN = '******';

/** Without what could be a secret, by its name, and without users in addresses. */
function plain(value, name = '') {
  if (SECRET.test(name) && value) return HIDDEN;
  if (Array.isArray(value)) return value.map((one) => plain(one));
  if (value && typeof value === 'object') return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner, key)]));
  return typeof value === 'string' ? value.replace(/\/\/[^/@\s]*@/g, `//${HIDDEN}@`) : value;
}

async function collect() {
  const found = { made: new Date().toISOString(), browser: navigator.userAgent };
  for (const part of PARTS) {
    try { found[part] = (await api.get(part, part === 'audit' ? { _limit: 200 } : undefined)).data; } catch (error) { found[part] = { error: error.message }; }
  }
  return { ...found, rules: plain(found.rules), resources: plain(found.resources) };
}

export function Diagnostics() {
  const [busy, setBusy] = useState(false);
  const make = async () => {
    setBusy(true);
    try {
      const found = await collect();
      save(JSON.stringify(found, null, 2), `trioemqx-diagnostics-${found.made.slice(0, 19).replace(/\D/g, '')}.json`, 'application/json');
    } catch (error) { toast.error(error); }
    setBusy(false);
  };
  return html`<button class="btn" data-diagnostics disabled=${busy} title=${t('nodes.diagnosticsNote')} onClick=${make}><${Icon} name="download" size=${16} /> ${t('nodes.diagnostics')}</button>`;
}
