// Tabs; the one that is open stands in the address.
import { html, useState } from '../lib.js';
import { route, setQuery } from '../router.js';

let ids = 0;
/** A name for the elements of a part, which refer to one another by it. */
export const useId = (prefix) => useState(() => `${prefix}${ids += 1}`)[0];

/** The row of tabs alone. `items`: [[key, title]]; the arrow keys, Home and End go along them. `id` begins the ids of the tabs and of the panel. */
export function TabList({ id, items, open, choose, label }) {
  const keys = items.map(([key]) => key);
  const move = (event) => {
    const at = keys.indexOf(open);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: keys.length - 1 }[event.key];
    if (to === undefined) return;
    const next = (to + keys.length) % keys.length;
    event.preventDefault();
    choose(keys[next]);
    event.currentTarget.children[next].focus();
  };
  return html`<div class="tabs" role="tablist" aria-label=${label} onKeyDown=${move}>${items.map(([key, title]) => html`
    <button key=${key} id="${id}-${key}" role="tab" aria-selected=${key === open} aria-controls=${key === open ? `${id}-panel` : undefined} tabindex=${key === open ? 0 : -1} onClick=${() => choose(key)}>${title}</button>`)}</div>`;
}

/** What the open tab is about. */
export const TabPanel = ({ id, open, children }) => html`<div role="tabpanel" id="${id}-panel" aria-labelledby="${id}-${open}" key=${open}>${children}</div>`;

/** `tabs`: [[name, title, () => content]]. */
export function Tabs({ tabs, name = 'tab' }) {
  const { query } = route.use();
  const id = useId('tabs');
  const open = tabs.find((tab) => tab[0] === query[name]) ?? tabs[0];
  const choose = (key) => setQuery({ [name]: key === tabs[0][0] ? '' : key, _page: '' }, { step: true });
  return html`<div><${TabList} id=${id} items=${tabs} open=${open[0]} choose=${choose} /><${TabPanel} key=${open[0]} id=${id} open=${open[0]}>${open[2]()}<//></div>`;
}
