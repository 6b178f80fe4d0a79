// Who is here. `session` holds null (not asked yet), false (nobody) or {username, tags, csrf, change_password}.
import { store } from './lib.js';
import { api, ask, url, useToken } from './api.js';
import { toast } from './components/toast.js';

export const session = store(null);
/** Whether somebody was here and has to log in again. */
export const ended = store(false);
const PATIENCE = 20000; // ms until the broker has said who is here

function enter(data) {
  useToken(data.csrf);
  ended.set(false);
  session.set(data);
}

/** The session is over, but not because its user wanted that. */
export function lose() {
  if (!session.get()) return;
  ended.set(true);
  session.set(false);
}

/** Ask whether the session still holds; who has none any more is asked to log in. Answers whether it is that of the same user. */
export async function recheck() {
  const mine = session.get();
  try {
    const { data } = await ask('GET', 'session');
    if (data.csrf !== session.get()?.csrf) enter(data);
    return data.username === mine?.username;
  } catch (error) {
    if (error.status === 401) lose();
    return false;
  }
}

useToken('', lose, recheck);

/** Find out whether the cookie of this browser is still good. */
export async function resume() {
  try {
    enter((await ask('GET', 'session', { signal: AbortSignal.timeout(PATIENCE) })).data);
  } catch (error) {
    session.set(false);
    if (error.status !== 401) throw error;
  }
}

/** Log in; throws ApiError. */
export async function login(username, password) {
  enter((await ask('POST', 'session', { body: { username, password } })).data);
}

/** Log out; the browser forgets the session even when the server cannot be reached. */
export async function logout() {
  try { await ask('DELETE', 'session'); } catch (error) { toast.error(error); }
  session.set(false);
}

/** Change one's own password, and log in with the new one: the old sessions end with the old password. */
export async function changePassword(old, fresh) {
  const { username } = session.get();
  await api.put(url`change_pwd/${username}`, { old_pwd: old, new_pwd: fresh });
  await login(username, fresh);
}
