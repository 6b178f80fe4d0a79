// What completion in the SQL editor offers beside the fields of the event. A test compares the functions with the rule engine's.
export const FUNCTIONS = (
  'abs acos acosh ascii asin asinh atan atanh base64_decode base64_encode bin2hexstr bitand bitnot bitor bitsize bitsl bitsr bitxor bool ceil clientid ' +
  'clientip concat contains contains_topic contains_topic_match cos cosh date_to_unix_ts div eq exp find first flag flags float float2str floor fmod ' +
  'format_date gunzip gzip hexstr2bin int is_array is_bool is_float is_int is_map is_not_null is_not_null_var is_null is_null_var is_num is_str ' +
  'join_to_sql_values_string join_to_string json_decode json_encode kv_store_del kv_store_get kv_store_put last length log log10 log2 lower ltrim map ' +
  'map_get map_keys map_new map_put map_to_entries map_values md5 mget mod mongo_date mput msgid now_rfc3339 now_timestamp nth null pad payload peerhost ' +
  'power proc_dict_del proc_dict_get proc_dict_put qos random regex_match regex_replace replace reverse rfc3339_to_unix_ts round rtrim sha sha256 sin ' +
  'sinh split sprintf sprintf_s sqrt str str_utf8 strlen subbits sublist substr tan tanh term_decode term_encode timezone_to_second tokens topic trim ' +
  'unix_ts_to_rfc3339 unzip upper username uuid_v4 uuid_v4_no_hyphen zip zip_compress zip_uncompress'
).split(' ');
export const KEYWORDS = 'SELECT FROM WHERE AS AND OR NOT CASE WHEN THEN ELSE END FOREACH DO INCASE IN DIV MOD'.split(' ');
