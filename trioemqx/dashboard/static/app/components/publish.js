// Publishing one message through the API: a button with a dialog.
import { html, useState } from '../lib.js';
import { t } from '../i18n.js';
import { api } from '../api.js';
import { session } from '../session.js';
import { Dialog } from './dialog.js';
import { Form } from './form.js';
import { toast } from './toast.js';

const fields = () => [
  { name: 'topic', label: t('word.topic'), kind: 'string', required: true, autofocus: true },
  { name: 'payload', label: t('word.payload'), kind: 'text', rows: 5 },
  { name: 'qos', label: t('word.qos'), kind: 'select', options: [[0, '0'], [1, '1'], [2, '2']], default: 0, half: true },
  { name: 'retain', label: t('word.retain'), kind: 'boolean', half: true },
];

/** `topic` fills in the form; `done` is called after each message. */
export function Publish({ topic = '', done }) {
  const [open, setOpen] = useState(false);
  const publish = async (values) => {
    await api.post('mqtt/publish', { ...values, clientid: `dashboard-${session.get().username}` });
    toast.ok(t('publish.done', { topic: values.topic }));
    setOpen(false);
    done?.();
  };
  return html`<button class="btn" onClick=${() => setOpen(true)}>${t('publish.title')}</button>
    ${open && html`<${Dialog} title=${t('publish.title')} onClose=${() => setOpen(false)}>
      <${Form} fields=${fields()} values=${{ topic }} submit=${t('publish.title')} onCancel=${() => setOpen(false)} onSubmit=${publish} /><//>`}`;
}
