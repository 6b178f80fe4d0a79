// Messages by the levels of their topics, the latest of each: what a connection of the MQTT client has seen.
import { html, useMemo, useState } from '../lib.js';
import { t } from '../i18n.js';
import { short } from '../format.js';
import { shorten } from './copyable.js';

const MOST = 300; // branches that are drawn at a time

/** {name, count, latest, below: Map} of messages, the newest first. */
function treeOf(messages) {
  const root = { below: new Map(), count: 0 };
  for (const message of messages) {
    let at = root;
    for (const name of message.topic.split('/')) {
      if (!at.below.has(name)) at.below.set(name, { name, below: new Map(), count: 0 });
      at = at.below.get(name);
      at.count += 1;
    }
    at.latest ??= message;
  }
  return root;
}

/** Rows to draw: [path, depth, branch], those below an open one after it. */
function rowsOf(branch, open, path = '', depth = 0, rows = []) {
  for (const one of [...branch.below.values()].sort((a, b) => a.name.localeCompare(b.name))) {
    if (rows.length >= MOST) break;
    const at = depth ? `${path}/${one.name}` : one.name;
    rows.push([at, depth, one]);
    if (open(at, one)) rowsOf(one, open, at, depth + 1, rows);
  }
  return rows;
}

/** `show(message)` is called with the message of a branch; `preview(message)` is its beginning. */
export function TopicTree({ messages, changes, show, preview }) {
  const [closed, setClosed] = useState(new Set());
  const root = useMemo(() => treeOf(messages), [changes]);
  const rows = rowsOf(root, (at, one) => one.below.size > 0 && !closed.has(at));
  const toggle = (at) => { const next = new Set(closed); if (!next.delete(at)) next.add(at); setClosed(next); };
  return html`<ul class="tree" aria-label=${t('tool.tree')}>${rows.map(([at, depth, one]) => html`<li key=${at} style=${{ paddingLeft: `${Math.min(depth, 12) * 16}px` }}>
    ${one.below.size > 0 ? html`<button class="branch" aria-expanded=${!closed.has(at)} onClick=${() => toggle(at)}><span aria-hidden="true">${closed.has(at) ? '▸' : '▾'}</span> <b class="mono">${shorten(one.name, 40) || '∅'}</b> <span class="muted">${short(one.count)}</span></button>`
      : html`<span class="branch"><b class="mono">${shorten(one.name, 40) || '∅'}</b> <span class="muted">${short(one.count)}</span></span>`}
    ${one.latest && html`<button class="leaf mono" title=${one.latest.topic} onClick=${() => show(one.latest)}>${preview(one.latest)}</button>`}</li>`)}
    ${rows.length >= MOST && html`<li class="muted">${t('tool.treeMore', { count: MOST })}</li>`}</ul>`;
}
