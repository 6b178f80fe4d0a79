// The frame around every page: navigation at the left (a drawer on a phone), a bar at the top, the page.
import { html, useEffect, useErrorBoundary, useRef, useState, useCallback } from '../lib.js';
import { language, LANGUAGES, setLanguage, t } from '../i18n.js';
import { GROUPS, link, pageOf, route } from '../router.js';
import { feed } from '../feed.js';
import { logout, session } from '../session.js';
import { isDark, theme, toggleTheme } from '../theme.js';
import { Icon, Mark } from './icons.js';
import { Badge, ErrorBox, Num, Skeleton } from './states.js';

function Nav({ current, open, close }) {
  const { last } = feed.use();
  const list = useRef(null);
  useEffect(() => { list.current.querySelector('[aria-current]')?.scrollIntoView({ block: 'nearest' }); }, [current]);
  return html`<nav ref=${list} class="nav ${open ? 'open' : ''}" aria-label=${t('nav.label')}>
    <a class="brand" href=${link(['overview'])} onClick=${close}><${Mark} /><span>trioemqx</span></a>
    ${GROUPS.map(([title, pages]) => html`<div key=${title ?? 'first'}>
      ${title && html`<div class="nav-group">${t(title)}</div>`}
      <ul>${pages.map(([name, label, , icon]) => html`<li key=${name}>
        <a class="nav-link" title=${t(label)} href=${link([name])} aria-current=${name === current ? 'page' : undefined} onClick=${close}>
          <${Icon} name=${icon} /><span>${t(label)}</span>
          ${name === 'alarms' && last?.alarms > 0 && html`<span class="count"><${Badge} kind="danger"><${Num} value=${last.alarms} /><//></span>`}
        </a></li>`)}</ul>
    </div>`)}
  </nav>`;
}

/** The button that switches between the two languages: it shows the other one. */
export function LanguageButton() {
  const code = language.use();
  const [next, name] = LANGUAGES.find(([other]) => other !== code);
  return html`<button class="btn ghost" lang=${next} data-language=${next} title=${t('shell.language')} onClick=${() => setLanguage(next)}><${Icon} name="language" /><span class="wide-only">${name}</span></button>`;
}

/** Light or dark. */
export function ThemeButton() {
  theme.use();
  return html`<button class="btn icon ghost" aria-label=${t('shell.theme')} title=${t('shell.theme')} onClick=${toggleTheme}><${Icon} name=${isDark() ? 'sun' : 'moon'} /></button>`;
}

function Live() {
  const { status } = feed.use();
  const kind = { live: 'ok', connecting: 'warn', lost: 'danger' }[status];
  return html`<span class="live" role="status" title=${t(`shell.${status}Note`)}><i class="dot ${kind}" /> <span class="wide-only">${t(`shell.${status}`)}</span></span>`;
}

function Bar({ title, openNav }) {
  const who = session.use();
  return html`<header class="bar">
    <button class="btn icon ghost burger" aria-label=${t('shell.menu')} onClick=${openNav}><${Icon} name="menu" /></button>
    <span class="bar-title">${title}</span><span class="bar-space" />
    <${Live} /><${LanguageButton} /><${ThemeButton} />
    <a class="btn ghost wide-only" href=${link(['users'])}><${Icon} name="user" /> ${who.username}</a>
    <button class="btn icon ghost" aria-label=${t('shell.logout')} title=${t('shell.logout')} onClick=${logout}><${Icon} name="out" /></button>
  </header>`;
}

/** Draws a page and keeps its crash to itself: the navigation still works. */
function Guard({ Page, at }) {
  const [error, reset] = useErrorBoundary((thrown) => console.error(thrown));
  if (error) return html`<${ErrorBox} error=${{ message: t('shell.crashed'), reason: String(error.message) }} retry=${reset} />`;
  return html`<${Page} path=${at.path} query=${at.query} />`;
}

function Page({ at }) {
  const [page, setPage] = useState({});
  const { file, load } = pageOf(at);
  const fetchPage = useCallback(() => {
    load().then((module) => setPage({ file, Page: module.default }), (error) => setPage({ file, error }));
  }, [file]);
  useEffect(fetchPage, [file]);
  if (page.file !== file) return html`<${Skeleton} lines=${6} />`;
  if (page.error) return html`<${ErrorBox} error=${{ message: t('shell.noPage'), reason: String(page.error.message) }} retry=${fetchPage} />`;
  return html`<${Guard} key=${at.path.join('/')} Page=${page.Page} at=${at} />`;
}

export function Shell() {
  const at = route.use();
  const { name, title } = pageOf(at);
  const [open, setOpen] = useState(false);
  const main = useRef(null);
  const address = at.path.join('/');
  useEffect(() => {
    document.title = `${t(title)} · trioemqx`;
    scrollTo(0, 0);
    setOpen(false);
    main.current?.focus({ preventScroll: true });
  }, [address]);
  useEffect(() => {
    const close = (event) => event.key === 'Escape' && setOpen(false);
    addEventListener('keydown', close);
    return () => removeEventListener('keydown', close);
  }, []);
  return html`<div class="shell">
    <a class="skip" href="#main" onClick=${(event) => { event.preventDefault(); main.current.focus(); }}>${t('shell.skip')}</a>
    <${Nav} current=${name} open=${open} close=${() => setOpen(false)} />
    <button class="scrim" tabindex="-1" aria-label=${t('action.close')} onClick=${() => setOpen(false)} />
    <div><${Bar} title=${t(title)} openNav=${() => setOpen(true)} />
      <main class="main" id="main" tabindex="-1" ref=${main}><${Page} at=${at} /></main>
    </div>
  </div>`;
}
