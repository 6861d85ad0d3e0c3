/* Finds out who calls, inside Envoy: the first filter of the public port where clients are known.
 *
 * Takes the API key from `authorization: Bearer KEY` or `x-api-key`, or the subject of a token that Envoy's own JWT filter
 * has verified (x-inferno-subject), and looks for it in the virtual host's metadata:
 *   inferno.keys     {HEXADECIMAL SHA-256 OF THE KEY: RECORD}
 *   inferno.subjects {SUBJECT: RECORD}
 * A record is three lines: which models the client may call, its role, its name. They become headers, which routes and
 * the control plane read (outside_headers.py drops what a client sends by these names); the credential goes no further.
 * Clients stand in the routes and not in this filter's configuration, so that one can be added or taken away without
 * closing a connection. The configuration holds the paths that need no credential, one a line.
 *
 * A key is found by its hash, so how long that takes says nothing about other keys.
 */

#include "../proxy_wasm/abi.h"
#include "host_metadata.h"
#include "sha256.h"

IMPORT(proxy_replace_header_map_value)
u32 proxy_replace_header_map_value(u32 map, const char *key, u32 key_size, const u8 *value, u32 size);
IMPORT(proxy_remove_header_map_value) u32 proxy_remove_header_map_value(u32 map, const char *key, u32 key_size);

#define SET(name, value) proxy_replace_header_map_value(REQUEST_HEADERS, name, sizeof name - 1, (value).at, (value).size)
#define REMOVE(name) proxy_remove_header_map_value(REQUEST_HEADERS, name, sizeof name - 1)

static u8 open_paths[4096];
static u32 open_size;

static int is_open(void) {
  span path = HEADER(":path");
  for (u32 from = 0, at = 0; at <= open_size; at++) {
    if (at < open_size && open_paths[at] != '\n') continue;
    if (at > from && starts(path, (const char *)open_paths + from, at - from)) return 1;
    from = at + 1;
  }
  return 0;
}

/* The header names a credential scheme, which is written in any case, and then the credential. */
static span bearer(void) {
  static const char SCHEME[] = "bearer ";
  enum { SIZE = sizeof SCHEME - 1 };
  span value = HEADER("authorization");
  if (value.size <= SIZE) return (span){0, 0};
  for (u32 i = 0; i < SIZE; i++)
    if ((value.at[i] | 0x20) != SCHEME[i]) return (span){0, 0};
  return (span){value.at + SIZE, value.size - SIZE};
}

static span known_key(span key) {
  static const char digits[] = "0123456789abcdef";
  u8 hash[32], text[64];
  sha256(key.at, key.size, hash);
  for (u32 i = 0; i < sizeof hash; i++) {
    text[2 * i] = (u8)digits[hash[i] >> 4];
    text[2 * i + 1] = (u8)digits[hash[i] & 15];
  }
  return PROPERTY(IN_HOST("inferno.keys"), ((span){text, sizeof text}));
}

static span line(span *rest) {
  span first = *rest;
  for (first.size = 0; first.size < rest->size && rest->at[first.size] != '\n'; first.size++) {}
  u32 used = first.size + (first.size < rest->size);
  rest->at += used;
  rest->size -= used;
  return first;
}

static u32 refuse(const char *text, u32 size) {
  static const char HEADERS[] = "\1\0\0\0\x10\0\0\0\6\0\0\0www-authenticate\0Bearer"; /* with its final zero */
  proxy_send_local_response(401, "inferno_caller", 14, text, size, HEADERS, sizeof HEADERS, UNAUTHENTICATED);
  return PAUSE;
}
#define REFUSE(text) refuse(text, sizeof text - 1)

/* Why a credential was not accepted; of a token, in the words of Envoy's filter. */
static u32 refuse_credential(span given) {
  static const char REASON[] = "metadata\0filter_metadata\0envoy.filters.http.jwt_authn\0inferno.failure\0message";
  static u8 text[160];
  static const char BEFORE[] = "the token is not accepted: ", AFTER[] = "; send one that is valid, or an API key";
  span why = {0, 0};
  u32 dots = 0;
  for (u32 i = 0; i < given.size; i++) dots += given.at[i] == '.';
  if (dots != 2 || proxy_get_property((const u8 *)REASON, sizeof REASON - 1, &why.at, &why.size) || !why.size || why.size > 64)
    return REFUSE("the API key or token is not known here: send one that an operator of the mesh gave you");
  u32 size = sizeof BEFORE - 1;
  __builtin_memcpy(text, BEFORE, size);
  for (u32 i = 0; i < why.size; i++) text[size++] = why.at[i];
  __builtin_memcpy(text + size, AFTER, sizeof AFTER - 1);
  return refuse((const char *)text, size + sizeof AFTER - 1);
}

EXPORT(proxy_on_configure) u32 proxy_on_configure(u32 root, u32 size) {
  span paths = {0, 0};
  arena_used = open_size = 0;
  if (size > sizeof open_paths) return 0;
  if (size && proxy_get_buffer_bytes(PLUGIN_CONFIGURATION, 0, size, &paths.at, &paths.size)) return 0;
  __builtin_memcpy(open_paths, paths.at, paths.size);
  open_size = paths.size;
  return root | 1;
}

EXPORT(proxy_on_request_headers) u32 proxy_on_request_headers(u32 stream, u32 count, u32 last) {
  (void)stream, (void)count, (void)last;
  arena_used = 0;
  if (is_open()) {
    REMOVE("authorization");
    REMOVE("x-api-key");
    REMOVE("x-inferno-subject");
    return CONTINUE;
  }
  span subject = HEADER("x-inferno-subject"), token = bearer(), key = HEADER("x-api-key"), record;
  if (subject.size) {
    record = PROPERTY(IN_HOST("inferno.subjects"), subject);
    if (!record.size) return REFUSE("the token is valid, but its subject is no client here: ask an operator of the mesh");
    REMOVE("x-inferno-subject");
  } else if (token.size || key.size) {
    record = known_key(token.size ? token : key);
    if (!record.size) return refuse_credential(token.size ? token : key);
  } else {
    return REFUSE("who calls? Send an API key or a token as 'authorization: Bearer ...'");
  }
  if (token.size) REMOVE("authorization");
  if (key.size) REMOVE("x-api-key");
  span access = line(&record), role = line(&record);
  SET("x-inferno-access", access);
  SET("x-inferno-role", role);
  SET("x-inferno-client", record);
  return CONTINUE;
}
