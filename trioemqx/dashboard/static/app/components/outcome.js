// What the broker made of settings that were saved: at once, after a restart, or nothing because the environment holds.
import { said, t } from '../i18n.js';
import { toast } from './toast.js';

/** `answer`: {results: {key: 'applied' | 'after restart' | 'covered by the environment'}, problems: [line]}. */
export function outcome(answer) {
  const results = Object.entries(answer?.results ?? {});
  const keys = (word) => results.filter(([, result]) => result === word).map(([key]) => key).join(', ');
  const [restart, covered] = [keys('after restart'), keys('covered by the environment')];
  if (restart) toast.warn(t('outcome.restart', { keys: restart }));
  if (covered) toast.warn(t('outcome.covered', { keys: covered }));
  for (const line of answer?.problems ?? []) toast.warn(said(line));
  if (!restart && !covered) toast.ok(t('action.saved'));
}
