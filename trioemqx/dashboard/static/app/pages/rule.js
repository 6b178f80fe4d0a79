// Writing a rule: SQL with completion, a test, the actions; and how it has done.
import { html, useEffect, useMemo, useRef, useState } from '../lib.js';
import { language, said, t } from '../i18n.js';
import { api, url, useApi } from '../api.js';
import { go, link } from '../router.js';
import { short } from '../format.js';
import { FUNCTIONS, KEYWORDS } from '../sql_words.js';
import { Actions, actionsOf, draftOf } from '../components/actions.js';
import { RuleTest } from '../components/rule_test.js';
import { Editor } from '../components/editor.js';
import { Field } from '../components/form.js';
import { Card, ErrorBox, Num, PageHead, Skeleton, useBusy } from '../components/states.js';
import { Copyable } from '../components/copyable.js';
import { Gone } from '../components/gone.js';
import { NeedsPlugin, notFound, notLoaded } from '../components/needs.js';
import { confirm } from '../components/dialog.js';
import { attempt, toast } from '../components/toast.js';

const START = 'SELECT\n  *\nFROM\n  "t/#"';
const MESSAGE = '$events/message_publish';

/** What was written last: another language draws the page anew, and nothing of it may be lost. */
let written = null;

/** What stands behind FROM, and the event that it is about. */
function sourceOf(sql, events) {
  const from = sql.match(/\bFROM\s+(?:"([^"]*)"|'([^']*)')/i);
  const topic = from?.[1] ?? from?.[2] ?? '';
  const event = events.find((one) => one.event === topic) ?? events.find((one) => one.event === MESSAGE);
  return { topic, event, messages: !topic.startsWith('$events/') };
}

const Metrics = ({ row, reset }) => html`<${Card} title=${t('rules.metrics')} flush actions=${html`<button class="btn small" onClick=${reset}>${t('action.reset')}</button>`}>
  <div class="stat-grid">${['matched', 'passed', 'failed', 'exception', 'no_result'].map((name) => html`<div key=${name}><span class="muted">${t(`rules.${name}`)}</span><b><${Num} value=${row.metrics.reduce((sum, one) => sum + (one[name] ?? 0), 0)} /></b></div>`)}
    <div><span class="muted">${t('rules.speed')}</span><b>${short(row.metrics.reduce((sum, one) => sum + one.speed, 0))}/s</b><small class="muted">${t('word.max')} ${short(row.metrics.reduce((sum, one) => sum + one.speed_max, 0))}/s</small></div></div><//>`;

function Write({ row, events, definitions, resources, reload }) {
  const [before] = useState(() => (written?.id === row?.id && written?.code !== language.get() ? written : null));
  const [sql, setSql] = useState(before?.sql ?? row?.rawsql ?? START);
  const [description, setDescription] = useState(before?.description ?? row?.description ?? '');
  const [enabled, setEnabled] = useState(before?.enabled ?? row?.enabled ?? true);
  const [drafts, setDrafts] = useState(() => before?.drafts ?? (row?.actions ?? []).map((action) => draftOf(action, definitions)));
  const left = useRef(false); // a new rule that is saved, and on its way to its own page
  useEffect(() => { written = left.current ? null : { id: row?.id, code: language.get(), sql, description, enabled, drafts }; });
  const [failure, setFailure] = useState(null);
  const [runs, setRuns] = useState(0);
  const { topic, event, messages } = sourceOf(sql, events);
  const words = () => [
    ...(event?.columns ?? []).map((text) => ({ text, kind: t('rule.field') })),
    ...FUNCTIONS.map((text) => ({ text, insert: `${text}(`, kind: t('rule.function') })),
    ...KEYWORDS.map((text) => ({ text, kind: 'SQL' })),
    ...events.filter((one) => one.event !== MESSAGE).map((one) => ({ text: one.event, kind: t('rule.event') })),
  ];
  const [busy, save] = useBusy(async () => {
    setFailure(null);
    try {
      const body = { rawsql: sql, description, enabled, actions: actionsOf(drafts, definitions) };
      const { data } = row ? await api.put(url`rules/${row.id}`, body) : await api.post('rules', body);
      toast.ok(t('action.saved'));
      left.current = !row;
      if (row) reload(); else go(['rules', data.id]);
    } catch (error) { setFailure(error); }
  });
  const remove = async () => {
    if (!await confirm({ title: t('rules.deleteTitle'), text: t('rules.deleteText', { id: row.id }), action: t('action.delete') })) return;
    if (await attempt(() => api.delete(url`rules/${row.id}`), t('action.deleted'))) go(['rules']);
  };
  const reset = () => attempt(() => api.put(url`rules/${row.id}/reset_metrics`), t('action.saved')).then(reload);
  const example = (event_) => { const found = events.find((one) => one.event === event_.target.value); event_.target.value = ''; if (found) setSql(found.sql_example.replace(/ (FROM|WHERE) /g, '\n$1 ')); };
  return html`<div class="stack">
    <${PageHead} title=${row ? html`<${Copyable} text=${row.id} most=${60} />` : t('rules.create')} note=${html`<a href=${link(['rules'])}>${t('nav.rules')}</a>`}>
      ${row && html`<button class="btn danger" onClick=${remove}>${t('action.delete')}</button>`}<button class="btn primary" data-save aria-busy=${busy} onClick=${save}>${t('action.save')}</button><//>
    ${failure && html`<${ErrorBox} error=${failure} />`}
    ${row && html`<${Metrics} row=${row} reset=${reset} />`}
    <${Card} title="SQL" actions=${html`<select class="input example" aria-label=${t('rule.examples')} onChange=${example}><option value="">${t('rule.examples')}</option>${events.map((one) => html`<option value=${one.event}>${said(one.title)}</option>`)}</select>`}>
      <${Editor} mode="sql" label="SQL" value=${sql} onChange=${setSql} words=${words} onRun=${() => setRuns(runs + 1)} />
      <p class="muted field-note">${t('rule.keys')} ${event && html`${t('rule.fields', { event: said(event.title) })} <span class="mono">${event.columns.join(', ')}</span>`}</p><//>
    <${RuleTest} sql=${sql} event=${event} messages=${messages} topic=${topic} runs=${runs} />
    <${Card} title=${t('rule.actions')}><p class="muted field-note">${t('rule.actionsNote')}</p>
      <${Actions} drafts=${drafts} definitions=${definitions} resources=${resources} onChange=${setDrafts} /><//>
    <${Card} title=${t('rule.about')}><div class="form">
      <${Field} field=${{ name: 'description', label: t('word.description'), kind: 'string' }} text=${description} onChange=${setDescription} />
      <${Field} field=${{ name: 'enabled', label: t('rules.on'), kind: 'boolean', help: t('rule.onNote') }} text=${enabled} onChange=${setEnabled} /></div><//>
    <div class="form-foot"><a class="btn" href=${link(['rules'])}>${t('action.cancel')}</a><button class="btn primary" aria-busy=${busy} onClick=${save}>${t('action.save')}</button></div>
  </div>`;
}

export default function Rule({ path: [, id] }) {
  const fresh = id === 'new';
  const rule = useApi(fresh ? null : url`rules/${id}`);
  const events = useApi('rule_events');
  const actions = useApi('actions');
  const resources = useApi('resources');
  const definitions = useMemo(() => new Map((actions.data ?? []).map((one) => [one.name, one])), [actions.data]);
  const head = html`<${PageHead} title=${fresh ? t('rules.create') : html`<${Copyable} text=${id} most=${60} />`} note=${html`<a href=${link(['rules'])}>${t('nav.rules')}</a>`} />`;
  const parts = [events, actions, resources, rule];
  const again = () => Promise.all(parts.map((one) => one.reload()));
  if (notLoaded(events.error)) return html`${head}<${NeedsPlugin} name="emqx_rule_engine" reload=${again} />`;
  if (notFound(rule.error)) return html`${head}<${Gone} icon="branch" title=${t('rule.gone')} to=${['rules']} label=${t('nav.rules')} />`;
  const failed = parts.find((one) => one.error && !one.data);
  if (failed) return html`${head}<${ErrorBox} error=${failed.error} retry=${again} />`;
  if (![events, actions, resources].every((one) => one.data) || (!fresh && !rule.data)) return html`<${Skeleton} lines=${8} />`;
  return html`<${Write} key=${id} row=${fresh ? null : rule.data} events=${events.data} definitions=${definitions} resources=${resources.data} reload=${rule.reload} />`;
}
