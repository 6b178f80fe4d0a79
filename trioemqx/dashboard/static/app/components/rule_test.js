// Trying the SQL of a rule: with sample columns that can be edited, or with messages caught from the broker.
import { html, useEffect, useState } from '../lib.js';
import { t } from '../i18n.js';
import { api } from '../api.js';
import { shorten } from './copyable.js';
import { Card, ErrorBox, Notice } from './states.js';
import { Editor } from './editor.js';
import { Icon } from './icons.js';

const NO_RESULT = /no.?result/i;

function Capture({ topic, use }) {
  const [filter, setFilter] = useState(topic);
  const [seconds, setSeconds] = useState('5');
  const [state, setState] = useState({});
  useEffect(() => setFilter(topic), [topic]);
  const run = async () => {
    setState({ busy: true });
    try { setState({ messages: (await api.post('rules/capture', { topic: filter, seconds: Number(seconds), limit: 20 })).data }); } catch (error) { setState({ error }); }
  };
  return html`<div class="capture"><div class="row">
      <input class="input grow" aria-label=${t('word.filter')} value=${filter} onInput=${(event) => setFilter(event.target.value)} />
      <select class="input capture-time" aria-label=${t('rule.howLong')} value=${seconds} onChange=${(event) => setSeconds(event.target.value)}>${[2, 5, 10, 30].map((n) => html`<option value=${String(n)}>${n} s</option>`)}</select>
      <button type="button" class="btn" disabled=${state.busy || !filter} data-capture onClick=${run}>${state.busy ? t('rule.listening') : t('rule.capture')}</button></div>
    ${state.error && html`<${ErrorBox} error=${state.error} />`}
    ${state.messages?.length === 0 && html`<p class="muted">${t('rule.nothingCaught', { filter })}</p>`}
    ${state.messages?.length > 0 && html`<ul class="caught">${state.messages.map((message, n) => html`<li key=${n}><button type="button" onClick=${() => use(message)}>
      <span class="mono">${shorten(message.topic ?? message.event, 50)}</span><span class="muted mono">${shorten(String(message.payload ?? ''), 60)}</span></button></li>`)}</ul>`}
  </div>`;
}

/** `sql` is tried as it stands; `event` gives the sample columns; `messages`: whether the rule is about messages of `topic`. */
export function RuleTest({ sql, event, messages, topic, runs }) {
  const [context, setContext] = useState('{}');
  const [result, setResult] = useState(null);
  const sample = JSON.stringify(event?.test_columns ?? {}, null, 2);
  useEffect(() => setContext(sample), [sample]);
  const run = async () => {
    try {
      const ctx = JSON.parse(context);
      setResult({ data: (await api.post('rules?test=true', { rawsql: sql, ctx })).data });
    } catch (error) {
      setResult({ error: error instanceof SyntaxError ? new Error(t('form.json', { error: error.message })) : error });
    }
  };
  useEffect(() => { if (runs) run(); }, [runs]);
  return html`<${Card} title=${t('rule.test')} actions=${html`<button type="button" class="btn primary" data-run-test onClick=${run}><${Icon} name="play" size=${16} /> ${t('rule.run')}</button>`}>
    <div class="two"><div class="stack">
        <div><h3>${t('rule.context')}</h3><p class="muted">${t('rule.contextNote')}</p></div>
        <${Editor} mode="json" rows=${8} label=${t('rule.context')} value=${context} onChange=${setContext} onRun=${run} />
        ${messages && html`<div><h3>${t('rule.captured')}</h3><p class="muted">${t('rule.capturedNote')}</p></div>
        <${Capture} topic=${topic} use=${(message) => setContext(JSON.stringify(message, null, 2))} />`}
      </div>
      <div class="stack"><h3>${t('rule.result')}</h3><div class="result" aria-live="polite" data-result>
        ${!result && html`<p class="muted">${t('rule.noRun')}</p>`}
        ${result?.error && (NO_RESULT.test(result.error.message) ? html`<${Notice}>${t('rule.noResult')}<//>` : html`<${ErrorBox} error=${result.error} />`)}
        ${result && !result.error && html`<${Notice} kind="ok">${t('rule.matched')}<//><pre class="block">${JSON.stringify(result.data, null, 2)}</pre>`}
      </div></div>
    </div><//>`;
}
