// What the broker made of settings that were saved: at once, after a restart, or nothing because the environment holds.
import { t } from '../i18n.js';
import { toast } from './toast.js';

/** `said`: {results: {key: 'applied' | 'after restart' | 'covered by the environment'}, problems: [line]}. */
export function outcome(said) {
  const results = Object.entries(said?.results ?? {});
  const keys = (word) => results.filter(([, result]) => result === word).map(([key]) => key).join(', ');
  const [restart, covered] = [keys('after restart'), keys('covered by the environment')];
  if (restart) toast.warn(t('outcome.restart', { keys: restart }));
  if (covered) toast.warn(t('outcome.covered', { keys: covered }));
  for (const line of said?.problems ?? []) toast.warn(line);
  if (!restart && !covered) toast.ok(t('action.saved'));
}
