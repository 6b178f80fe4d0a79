// In place of a page whose subject is not there: what was asked for, and the way to the list of what is.
import { html } from '../lib.js';
import { link } from '../router.js';
import { EmptyState } from './states.js';

/** `to`, `label`: path and name of the list. */
export const Gone = ({ icon, title, text, to, label }) => html`<div class="table-box"><${EmptyState} icon=${icon} title=${title}>
  ${text && html`<p>${text}</p>`}<p><a class="btn" href=${link(to)}>${label}</a></p><//></div>`;
