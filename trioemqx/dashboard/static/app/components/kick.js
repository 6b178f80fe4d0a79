// Disconnecting a client, asked for in the list and on the client's own page.
import { t } from '../i18n.js';
import { api, url } from '../api.js';
import { confirm } from './dialog.js';
import { attempt } from './toast.js';
import { shorten } from './copyable.js';

/** Ask, then kick; `done` is called when it is gone. */
export async function kick(row, done) {
  const id = shorten(row.clientid, 60);
  const action = row.connected ? t('clients.kick') : t('clients.drop');
  if (!await confirm({ title: t('clients.kickTitle'), text: t('clients.kickText', { id }), action })) return;
  if (await attempt(() => api.delete(url`clients/${row.clientid}`), t('clients.kicked', { id }))) done?.();
}
