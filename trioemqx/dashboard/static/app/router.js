// Hash routes: `#/clients/<id>?tab=queue`. Everything a page shows is in the address, so that it can be sent to a colleague.
import { store } from './lib.js';

function parse() {
  const [path, search = ''] = location.hash.replace(/^#\/?/, '').split('?');
  const decode = (part) => { try { return decodeURIComponent(part); } catch { return part; } };
  return { path: path.split('/').filter(Boolean).map(decode), query: Object.fromEntries(new URLSearchParams(search)) };
}

/** {path: ['clients', 'id'], query: {…}} of the address, decoded. */
export const route = store(parse());
addEventListener('hashchange', () => route.set(parse()));
addEventListener('popstate', () => route.set(parse()));

/** The address of a page: link(['clients', id], {tab: 'queue'}). Values that are empty are left out. */
export function link(path, query = {}) {
  const kept = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== '');
  return `#/${path.map(encodeURIComponent).join('/')}${kept.length ? `?${new URLSearchParams(kept)}` : ''}`;
}

/** Go there. */
export const go = (path, query) => { location.hash = link(path, query); };

/** Change some of the query of the page that is shown. What is typed makes no new entry in the browser's history; a `step`, such as the
 *  next page of a list, does, so that one goes back to the one before. */
export function setQuery(changes, { step = false } = {}) {
  const { path, query } = route.get();
  const to = link(path, { ...query, ...changes });
  if (step) history.pushState(null, '', to);
  else history.replaceState(null, '', to);
  route.set(parse());
}

// The pages: name in the address, string of its title, file in pages/, icon. A group without a title comes first.
export const GROUPS = [
  [null, [
    ['overview', 'nav.overview', 'overview', 'gauge'],
    ['clients', 'nav.clients', 'clients', 'plug'],
    ['topics', 'nav.topics', 'topics', 'tree'],
    ['subscriptions', 'nav.subscriptions', 'subscriptions', 'inbox'],
  ]],
  ['nav.messages', [
    ['retained', 'nav.retained', 'retained', 'pin'],
    ['delayed', 'nav.delayed', 'delayed', 'clock'],
  ]],
  ['nav.ruleEngine', [
    ['rules', 'nav.rules', 'rules', 'branch'],
    ['resources', 'nav.resources', 'resources', 'database'],
  ]],
  ['nav.analysis', [
    ['topic-metrics', 'nav.topicMetrics', 'topic_metrics', 'bars'],
    ['slow-subscriptions', 'nav.slow', 'slow', 'snail'],
    ['trace', 'nav.trace', 'trace', 'search'],
    ['alarms', 'nav.alarms', 'alarms', 'bell'],
  ]],
  ['nav.extensions', [
    ['plugins', 'nav.plugins', 'plugins', 'puzzle'],
    ['modules', 'nav.modules', 'modules', 'box'],
  ]],
  ['nav.access', [
    ['access', 'nav.usersAcl', 'access', 'key'],
    ['bans', 'nav.bans', 'bans', 'ban'],
  ]],
  ['nav.tools', [
    ['mqtt-client', 'nav.mqttClient', 'mqtt_client', 'send'],
    ['api', 'nav.api', 'api_page', 'code'],
  ]],
  ['nav.general', [
    ['nodes', 'nav.nodes', 'nodes', 'server'],
    ['listeners', 'nav.listeners', 'listeners', 'ear'],
    ['applications', 'nav.applications', 'applications', 'app'],
    ['users', 'nav.users', 'users', 'user'],
    ['backup', 'nav.backup', 'backup', 'archive'],
    ['settings', 'nav.settings', 'settings', 'sliders'],
    ['audit', 'nav.audit', 'audit', 'list'],
  ]],
];

// Pages of one thing, reached from a list: first part of the path → file, when there is a second part.
export const DETAILS = { clients: 'client', nodes: 'node', rules: 'rule', plugins: 'plugin', modules: 'plugin' };

const PAGES = new Map(GROUPS.flatMap(([, pages]) => pages.map((page) => [page[0], page])));

const NOWHERE = [null, 'shell.nowhere', 'nowhere'];

/** {name, title (string key), load()} of the page of a route; the overview where the address names none. */
export function pageOf({ path }) {
  const [name, title, file] = PAGES.get(path[0] ?? 'overview') ?? NOWHERE;
  const wanted = path.length > 1 && DETAILS[path[0]] ? DETAILS[path[0]] : file;
  return { name, title, file: wanted, load: () => import(`./pages/${wanted}.js`) };
}
