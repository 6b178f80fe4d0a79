// What a page shows instead of its content: nothing there, an error, still loading. And small words: badges, numbers, headings.
import { html, useState } from '../lib.js';
import { t, wrong } from '../i18n.js';
import { full, short, time, ago } from '../format.js';
import { Icon } from './icons.js';

/** Nothing to show: what would be here, and how it gets here. */
export const EmptyState = ({ icon = 'inbox', title, children }) => html`
  <div class="empty"><${Icon} name=${icon} size=${32} /><p class="empty-title">${title ?? t('state.empty')}</p>${children && html`<div class="muted">${children}</div>`}</div>`;

/** [whether it is on its way, a function that does it]: for a button that must not be pressed twice. */
export function useBusy(act) {
  const [busy, setBusy] = useState(false);
  const run = async (...values) => {
    if (busy) return;
    setBusy(true);
    try { await act(...values); } finally { setBusy(false); }
  };
  return [busy, run];
}

/** An error with what to do about it. A 404 of an endpoint says that this broker lacks it. */
export function ErrorBox({ error, retry }) {
  const [busy, again] = useBusy(() => retry());
  return html`<div class="notice danger" role="alert"><${Icon} name="warning" />
    <div class="grow"><strong>${wrong(error.message)}</strong>${error.reason && html`<div>${wrong(error.reason)}</div>`}${error.hint && html`<div>${error.hint}</div>`}</div>
    ${retry && html`<button class="btn small" aria-busy=${busy} onClick=${again}>${t('action.retry')}</button>`}
  </div>`;
}

/** `kind`: info, ok, warn, danger. */
export const Notice = ({ kind = 'info', children }) => html`
  <div class="notice ${kind}"><${Icon} name=${kind === 'info' ? 'info' : kind === 'ok' ? 'check' : 'warning'} /><div class="grow">${children}</div></div>`;

/** Grey lines in place of text that is on its way. */
export const Skeleton = ({ lines = 4 }) => html`
  <div class="skeleton" aria-busy="true" aria-label=${t('state.loading')}>${Array.from({ length: lines }, (_, n) => html`<i class="w${n % 3}" />`)}</div>`;

/** One of: loading, the error, or the children; with the error above them when they are what it was before. */
export const Loaded = ({ of, lines, children }) => html`
  ${of.error && html`<${ErrorBox} error=${of.error} retry=${of.reload} />`}
  ${of.data !== undefined ? children() : !of.error && html`<${Skeleton} lines=${lines} />`}`;

/** A word on a ground. `kind`: ok, warn, danger, info, or none. */
export const Badge = ({ kind = '', children }) => html`<span class="badge ${kind}">${children}</span>`;

/** A number that stays readable at ten million; all digits on hover. */
export const Num = ({ value }) => html`<span class="nowrap" title=${full(value)}>${short(value)}</span>`;

/** How long ago, with the exact time on hover. */
export const Ago = ({ value }) => html`<time title=${time(value)}>${ago(value)}</time>`;

/** Title of a page with its actions at the right. */
export const PageHead = ({ title, note, children }) => html`
  <div class="page-head"><div class="grow"><h1>${title}</h1>${note && html`<p class="muted">${note}</p>`}</div><div class="actions">${children}</div></div>`;

/** A box with a heading. */
export const Card = ({ title, actions, children, flush, className = '' }) => html`
  <section class="card ${flush ? 'flush' : ''} ${className}">
    ${(title || actions) && html`<div class="card-head"><h2 class="grow">${title}</h2>${actions}</div>`}
    ${children}
  </section>`;

/** Pairs of name and value; pairs that are null are left out. */
export const Facts = ({ rows }) => html`
  <dl class="facts">${rows.filter(Boolean).map(([name, value]) => html`<div><dt>${name}</dt><dd>${value ?? '–'}</dd></div>`)}</dl>`;
