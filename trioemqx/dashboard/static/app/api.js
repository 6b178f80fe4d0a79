// The HTTP API: one function that asks, and a hook for what a page shows.
import { useCallback, useEffect, useRef, useState, useInterval } from './lib.js';
import { has, t } from './i18n.js';

const PATIENCE = 60; // seconds for an answer that a page shows
const AGAIN = 5; // seconds after which a broker that was away, or failed, is asked again
let csrf = '';
let onLost = () => {};
let onStale = async () => false;

/** Said by session.js: the token that changes need, what happens when the session has ended, and how to find out whether another tab has
 *  logged in meanwhile, which makes the token of this one an old one. */
export function useToken(token, lost, stale) { csrf = token; if (lost) onLost = lost; if (stale) onStale = stale; }

/** What the API refused: `status` (HTTP), `code` (EMQX's), `message`, and `hint`, what to do about it. */
export class ApiError extends Error {
  constructor(status, code, message, reason) {
    const tooLong = status === 414 || status === 431;
    super(message || (tooLong ? t('error.tooLong') : t('error.http', { status })));
    this.status = tooLong ? 414 : status;
    this.code = code;
    this.reason = reason && reason !== message ? reason : '';
    const bug = code === 500 && status !== 500; // EMQX's word for other failures, too
    this.hint = !bug && has(`hint.${code}`) ? t(`hint.${code}`) : has(`hint.http${this.status}`) ? t(`hint.http${this.status}`) : '';
  }
}

// A name of a node or a listener (emqx@host, mqtt:tcp:external) is compared as it is sent; these two may stand in a path. A name that is
// all dots is encoded twice: browsers take `..` out of an address, however it is written.
const encoded = (value) => (/^\.{1,2}$/.test(value) ? value.replaceAll('.', '%252E') : encodeURIComponent(value).replaceAll('%40', '@').replaceAll('%3A', ':'));

/** A path whose `${values}` are percent-encoded: url`clients/${id}`. */
export const url = (parts, ...values) => parts.reduce((text, part, n) => text + encoded(values[n - 1]) + part);

const query = (params) => {
  const kept = Object.entries(params ?? {}).filter(([, value]) => value !== undefined && value !== null && value !== '');
  return kept.length ? `?${new URLSearchParams(kept)}` : '';
};

/** Ask, outside or inside of api/v4. Answers the whole envelope; throws ApiError. */
export async function ask(method, path, { params, body, signal, last } = {}) {
  const headers = { Accept: 'application/json' };
  const file = body instanceof Blob; // sent as it is
  const used = csrf;
  if (body !== undefined) headers['Content-Type'] = file ? 'application/octet-stream' : 'application/json';
  if (method !== 'GET' && csrf) headers['X-CSRF-Token'] = csrf;
  let answer;
  try {
    answer = await fetch(path + query(params), { method, headers, body: body === undefined || file ? body : JSON.stringify(body), signal, credentials: 'same-origin' });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new ApiError(0, 'network', t('error.network'));
  }
  const envelope = await answer.json().catch(() => ({}));
  if (answer.status === 401 && path !== 'session') onLost();
  if (answer.status === 403 && method !== 'GET' && !last && await onStale() && csrf !== used) return ask(method, path, { params, body, signal, last: true });
  if (!answer.ok || (envelope.code !== undefined && envelope.code !== 0)) throw new ApiError(answer.status, envelope.code, envelope.message, envelope.reason);
  return envelope;
}

const within = (method) => (path, body, options) => ask(method, `api/v4/${path}`, { ...options, body });
export const api = {
  get: (path, params, options) => ask('GET', `api/v4/${path}`, { ...options, params }),
  post: within('POST'),
  put: within('PUT'),
  delete: (path, params, options) => ask('DELETE', `api/v4/${path}`, { ...options, params }),
};

const passing = (error) => error && (error.status === 0 || error.status >= 500);

/** What a page shows of `path`: {data, meta, error, loading, reload}. `path` null asks nothing; `every` in seconds asks again. What was shown
 *  stays when it cannot be asked for again. A broker that is away or fails is asked again in any case. */
export function useApi(path, params, { every = 0 } = {}) {
  const [state, setState] = useState({ loading: path !== null });
  const running = useRef(null);
  const key = path === null ? null : path + query(params);
  const shown = useRef(null);
  const load = useCallback(async (quiet) => {
    running.current?.abort();
    if (key === null) { setState({ loading: false }); return; }
    const mine = new AbortController();
    running.current = mine;
    if (!quiet) setState((old) => (shown.current === path ? { ...old, loading: true } : { loading: true }));
    try {
      const { data, meta } = await ask('GET', `api/v4/${key}`, { signal: AbortSignal.any([mine.signal, AbortSignal.timeout(PATIENCE * 1000)]) });
      shown.current = path;
      setState({ data, meta, loading: false });
    } catch (error) {
      if (error.name !== 'AbortError') setState((old) => ({ ...(quiet ? old : {}), error, loading: false }));
    } finally {
      if (running.current === mine) running.current = null;
    }
  }, [key]);
  useEffect(() => { load(false); return () => running.current?.abort(); }, [load]);
  // An answer that is on its way is waited for: it may take longer than the time between two questions.
  useInterval(() => { if (!running.current) load(true); }, key === null ? 0 : passing(state.error) ? AGAIN : every);
  return { ...state, reload: useCallback(() => load(true), [load]) };
}
