// Who is here. `session` holds null (not asked yet), false (nobody) or {username, tags, csrf, change_password}.
import { store } from './lib.js';
import { api, ask, url, useToken } from './api.js';

export const session = store(null);

function enter(data) {
  useToken(data.csrf);
  session.set(data);
}

useToken('', () => { if (session.get()) session.set(false); });

/** Find out whether the cookie of this browser is still good. */
export async function resume() {
  try {
    enter((await ask('GET', 'session')).data);
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
  try { await ask('DELETE', 'session'); } finally { session.set(false); }
}

/** Change one's own password, and log in with the new one: the old sessions end with the old password. */
export async function changePassword(old, fresh) {
  const { username } = session.get();
  await api.put(url`change_pwd/${username}`, { old_pwd: old, new_pwd: fresh });
  await login(username, fresh);
}
