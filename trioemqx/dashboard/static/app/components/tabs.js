// Tabs; the one that is open stands in the address.
import { html } from '../lib.js';
import { route, setQuery } from '../router.js';

/** `tabs`: [[name, title, () => content]]. The arrow keys go along them. */
export function Tabs({ tabs, name = 'tab' }) {
  const { query } = route.use();
  const open = tabs.find((tab) => tab[0] === query[name]) ?? tabs[0];
  const choose = (tab) => setQuery({ [name]: tab === tabs[0] ? '' : tab[0], _page: '' });
  const move = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = (tabs.indexOf(open) + step + tabs.length) % tabs.length;
    choose(tabs[next]);
    event.currentTarget.children[next].focus();
  };
  return html`<div>
    <div class="tabs" role="tablist" onKeyDown=${move}>${tabs.map((tab) => html`
      <button key=${tab[0]} role="tab" aria-selected=${tab === open} tabindex=${tab === open ? 0 : -1} onClick=${() => choose(tab)}>${tab[1]}</button>`)}</div>
    <div role="tabpanel" key=${open[0]}>${open[2]()}</div>
  </div>`;
}
