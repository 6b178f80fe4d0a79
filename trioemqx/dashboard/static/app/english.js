// Words of the API that are no English: names of errors, which EMQX's clients compare. Shown as what they mean.
export const ERRORS = {
  UNAUTHORIZED: 'Nobody is logged in',
  UNAUTHORIZED_ROLE: 'This needs another role',
  already_existed: 'There is one of that name already',
  already_started: 'It runs already',
  bad_file: 'This file cannot be read',
  bad_filename: 'This is no name of a file',
  bad_json: 'This is not JSON',
  bad_license: 'This is no licence',
  bad_params: 'Something is missing or wrong in this form',
  bad_qos: 'QoS is 0, 1 or 2',
  bad_topic: 'This topic is not valid',
  busy: 'The broker is busy: try again',
  channel_not_found: 'The client is not connected',
  full: 'There is no room for one more',
  import_failed: 'The import failed',
  invalid_topic: 'This topic is not valid',
  invalid_topic_name: 'This topic is not valid',
  invalid_username: 'This user name is not valid',
  missing_required_params: 'Something that is needed is missing',
  module_not_loaded: 'The module is not loaded',
  no_existent_node: 'There is no such node',
  nodedown: 'The node cannot be reached',
  not_found: 'It is not here any more',
  NOT_FOUND: 'It is not here any more',
  not_saved: 'It could not be saved',
  not_started: 'It does not run',
  parse_config_file_failed: 'The settings are wrong',
  quota_exceeded: 'There are as many as there may be',
  store_failed: 'It could not be written to the disk',
  timeout: 'It took too long',
  topic_not_found: 'This topic is not here',
  unsupported_version: 'This version is not supported',
};

const NAME = /^[a-z]+(_[a-z]+)+$/;
const TERM = /^(?:Bad Arguments: )?\{([a-z]+(?:_[a-z]+)*),(.*)\}$/s; // Erlang's: {required_field_missing,url}
const PAIR = /^\{(\w+),(.*)\}$/s;
const BINARY = /<<"(.*?)">>/gs;

/** A text with Erlang's texts in it as they are read. */
export const withoutBinaries = (text) => text.replace(BINARY, '$1');

const inWords = (name) => { const words = name.replaceAll('_', ' '); return words[0].toUpperCase() + words.slice(1); };

/** An error in words. */
export function inEnglish(text) {
  if (Object.hasOwn(ERRORS, text)) return ERRORS[text];
  const term = text.match(TERM);
  if (term) return `${inWords(term[1])}: ${term[2].replace(PAIR, '$1, $2')}`;
  return NAME.test(text) ? inWords(text) : text;
}
