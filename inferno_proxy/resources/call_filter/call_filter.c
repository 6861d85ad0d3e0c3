/* Reads what routing needs out of the first bytes of an inference call, inside Envoy (Proxy-Wasm ABI 0.2.1).
 *
 * Sets two request headers and lets Envoy choose the route again:
 *   x-inferno-model     the model's name, unless the client sent the header itself (gRPC only: REST names it in the path)
 *   x-inferno-sequence  the sequence id, removed when the call has none
 *   x-inferno-fingerprint  a hash of the tensors' beginning, where it is wanted (see fingerprint.h)
 *
 * Where the route's metadata has aliases, a call that names one is made a call of the alias's target before all else: in
 * the model header, in each message (gRPC) or in the path (REST). See alias.h.
 *
 * A call is held back only until its model name and parameters have arrived. Protobuf writers emit fields in the order
 * of their numbers, so for the Open Inference Protocol that is a few dozen bytes; the tensors behind them are never
 * copied and never waited for. What this module keeps between two calls into it is the set of stream ids that are still
 * held back, or whose later messages have to be renamed.
 *
 * Built by tools/build_filters.py into call_filter.wasm; no libc, no floating point, no allocation besides two static buffers.
 */

enum { HOLD_LIMIT = 512 * 1024, FIRST_LOOK = 2 * 1024, VALUE_LIMIT = 1024 };

#define ARENA_SIZE (HOLD_LIMIT + 64 * 1024)
#include "../proxy_wasm/abi.h"

IMPORT(proxy_replace_header_map_value)
u32 proxy_replace_header_map_value(u32 map, const char *key, u32 key_size, const u8 *value, u32 size);
IMPORT(proxy_set_buffer_bytes) u32 proxy_set_buffer_bytes(u32 type, u32 start, u32 size, const u8 *at, u32 new_size);
IMPORT(proxy_get_property) u32 proxy_get_property(const u8 *path, u32 path_size, const u8 **at, u32 *size);
IMPORT(proxy_set_property) u32 proxy_set_property(const char *path, u32 path_size, const u8 *value, u32 size);
IMPORT(proxy_remove_header_map_value) u32 proxy_remove_header_map_value(u32 map, const char *key, u32 key_size);

/* --------------------------------------------------------------------------------------------------------- streams */

/* The streams that concern us still. One is held back until `renamed`; `rest` is then how many bytes of a message are to
 * come that pass as they are, and `held` how many of the next one's beginning were taken out of the body until more of
 * it arrives. `hashed`: what a REST call is held back for (see fingerprint.h). */
typedef struct {
  u32 stream, renamed, rest, held, hashed;
} place;
#define PLACE_BITS 16
#include "../proxy_wasm/streams.h"

/* --------------------------------------------------------------------------------------------------------- headers */

static const char MODEL[] = "x-inferno-model";
static const char SEQUENCE[] = "x-inferno-sequence";

/* A header carries printable ASCII only: every other byte, and '%', is percent-encoded as in a URL path. */
static void set_header(const char *name, u32 name_size, span value) {
  static const char digits[] = "0123456789ABCDEF";
  static u8 encoded[3 * VALUE_LIMIT];
  u32 size = 0;
  for (u32 i = 0; i < value.size; i++) {
    u8 c = value.at[i];
    if (c > 0x20 && c < 0x7f && c != '%') {
      encoded[size++] = c;
    } else {
      encoded[size++] = '%';
      encoded[size++] = (u8)digits[c >> 4];
      encoded[size++] = (u8)digits[c & 15];
    }
  }
  proxy_replace_header_map_value(REQUEST_HEADERS, name, name_size, encoded, size);
}

#define REFUSE(status, grpc_status, text) \
  (proxy_send_local_response(status, "inferno_call", 12, text, sizeof text - 1, 0, 0, grpc_status), PAUSE)

/* -------------------------------------------------------------------------------------------------------- protobuf */

enum { DONE, MORE, BROKEN };

typedef struct {
  span model, version;
  const u8 *named; /* where the field with the model's name begins */
  span tensors;      /* what has arrived of the fields behind the parameters */
  u32 tensors_size;  /* bytes of them in all, 0 when unknown */
  span sequence; /* string form; digits[] holds it when the id is a number */
  u8 digits[20];
} call;

static void set_number(call *found, u64 number) {
  u32 at = sizeof found->digits;
  if (number == 0) return; /* 0 means "no sequence" in the protocol */
  while (number) {
    found->digits[--at] = (u8)('0' + number % 10);
    number /= 10;
  }
  found->sequence.at = found->digits + at;
  found->sequence.size = sizeof found->digits - at;
}

typedef struct {
  const u8 *at, *end;
} cursor;

static int varint(cursor *in, u64 *value) {
  *value = 0;
  for (u32 shift = 0; shift < 70; shift += 7) {
    if (in->at == in->end) return MORE;
    u8 byte = *in->at++;
    *value |= (u64)(byte & 0x7f) << (shift & 63);
    if (!(byte & 0x80)) return DONE;
  }
  return BROKEN;
}

/* One field: its number and, for a length-delimited one, its bytes; for a varint, its value. */
typedef struct {
  u32 number, wire;
  u64 value;
  span bytes;
} field;

static int next_field(cursor *in, field *out) {
  u64 key;
  int state = varint(in, &key);
  if (state != DONE) return state;
  out->number = (u32)(key >> 3);
  out->wire = (u32)(key & 7);
  if (key >> 32 || out->number == 0) return BROKEN;
  if (out->wire == 0) return varint(in, &out->value);
  u64 size;
  if (out->wire == 1) size = 8;
  else if (out->wire == 5) size = 4;
  else if (out->wire != 2) return BROKEN;
  else if ((state = varint(in, &size)) != DONE) return state;
  if (size > (u64)(in->end - in->at)) return MORE;
  out->bytes.at = in->at;
  out->bytes.size = (u32)size;
  in->at += size;
  return DONE;
}

/* An entry of map<string, InferParameter>: key = 1, value = 2 {int64_param = 2, string_param = 3}. */
static int read_parameter(span entry, call *found) {
  cursor in = {entry.at, entry.at + entry.size};
  field part;
  int ours = 0;
  span value = {0, 0};
  while (in.at < in.end) {
    if (next_field(&in, &part) != DONE) return BROKEN;
    if (part.number == 1 && part.wire == 2) ours = IS(part.bytes, "sequence_id");
    if (part.number == 2 && part.wire == 2) value = part.bytes;
  }
  if (!ours) return DONE;
  in.at = value.at;
  in.end = value.at + value.size;
  while (in.at < in.end) {
    if (next_field(&in, &part) != DONE) return BROKEN;
    if (part.number == 2 && part.wire == 0) set_number(found, part.value);
    if (part.number == 3 && part.wire == 2) found->sequence = part.bytes;
  }
  return DONE;
}

/* The five model calls agree on fields 1 (the model's name) and 2 (its version); in ModelInferRequest, parameters are field 4. */
static int read_fields(cursor in, int whole, call *found) {
  while (in.at < in.end) {
    field part;
    cursor start = in;
    int state = next_field(&in, &part);
    if (state == MORE && !whole) {
      u64 key;
      cursor again = start;
      /* Past the parameters nothing concerns us: do not wait for the tensors. */
      if (!found->model.size || varint(&again, &key) != DONE || key >> 3 <= 4) return MORE;
      part.number = (u32)(key >> 3);
    } else if (state != DONE) {
      return BROKEN;
    }
    if (part.number > 4 && found->model.size) {
      found->tensors = (span){start.at, (u32)(in.end - start.at)};
      return DONE;
    }
    if (part.number == 1 && part.wire == 2) {
      found->model = part.bytes;
      found->named = start.at;
    }
    if (part.number == 2 && part.wire == 2) found->version = part.bytes;
    if (part.number == 4 && part.wire == 2 && read_parameter(part.bytes, found) != DONE) return BROKEN;
  }
  return whole ? DONE : MORE;
}

#include "inflate.h"

/* A gRPC frame: one byte that says whether it is compressed, four bytes of length, the message. */
static __attribute__((noinline)) int read_frame(const u8 *at, u32 size, call *found) {
  if (size < 5) return MORE;
  u64 length = (u64)at[1] << 24 | (u64)at[2] << 16 | (u64)at[3] << 8 | at[4];
  int whole = length <= size - 5;
  cursor in = {at + 5, at + 5 + (whole ? (u32)length : size - 5)};
  if (at[0] == 1) {
    int state = inflate(in, &size);
    if (state == BROKEN) return BROKEN;
    if (state == MORE && whole && size < UNPACKED_LIMIT) return BROKEN; /* cut short */
    whole = state == DONE;
    in.at = unpacked;
    in.end = unpacked + size;
    state = read_fields(in, whole, found);
    if (whole) found->tensors_size = found->tensors.size;
    return state == MORE && size == UNPACKED_LIMIT ? BROKEN : state;
  }
  int state = read_fields(in, whole, found);
  if (found->tensors.size) found->tensors_size = (u32)length - (u32)(found->tensors.at - in.at);
  return state;
}

/* ------------------------------------------------------------------------------------------------------------ JSON */

/* After an opening quote: the string's raw bytes, escapes left as they are. */
static int json_string(cursor *in, span *text) {
  text->at = in->at;
  for (; in->at < in->end; in->at++) {
    if (*in->at == '\\') in->at++;
    else if (*in->at == '"') {
      text->size = (u32)(in->at++ - text->at);
      return DONE;
    }
  }
  return MORE;
}

/* Finds {"parameters": {"sequence_id": 1 or "a"}} without building anything. What is not JSON is passed on: the model
 * server explains what is wrong with it. */
static int read_json(const u8 *at, u32 size, call *found) {
  cursor in = {at, at + size};
  u32 depth = 0;
  int inside = 0;                  /* within the parameters object */
  span key = {0, 0}, text = {0, 0}; /* the last key on this level */
  int value = 0;                   /* the next scalar is a value */
  while (in.at < in.end) {
    u8 c = *in.at++;
    if (c == '"') {
      if (json_string(&in, &text) != DONE) return MORE;
      if (value && inside && depth == 2 && IS(key, "sequence_id")) found->sequence = text;
      if (!value) key = text;
    } else if (c == ':') {
      value = 1;
    } else if (c == ',') {
      value = 0;
    } else if (c == '{' || c == '[') {
      inside = inside || (c == '{' && depth == 1 && value && IS(key, "parameters"));
      depth++;
      value = c == '[';
    } else if (c == '}' || c == ']') {
      if (depth-- <= 1 || (inside && depth == 1)) return DONE;
      value = 0;
    } else if (c >= '0' && c <= '9' && value && inside && depth == 2 && IS(key, "sequence_id")) {
      u64 number = c - '0';
      while (in.at < in.end && *in.at >= '0' && *in.at <= '9') number = number * 10 + (*in.at++ - '0');
      if (in.at == in.end) return MORE;
      set_number(found, number);
    }
  }
  return MORE;
}

/* ------------------------------------------------------------------------------------------------------------ calls */

static int is_grpc(void) {
  span type = HEADER("content-type");
  if (type.at && type.size > 16) type.size = 16;
  return IS(type, "application/grpc");
}

static u32 json_length(u32 size, int *whole) {
  span text = HEADER("inference-header-content-length");
  u32 length = 0;
  if (!text.at) return size;
  for (u32 i = 0; i < text.size && i < 9; i++) length = length * 10 + (u32)(text.at[i] - '0');
  if (length > size) return size;
  *whole = 1;
  return length;
}

#include "fingerprint.h"

static void steer(call *found) {
  if (found->sequence.size) set_header(SEQUENCE, sizeof SEQUENCE - 1, found->sequence);
  else proxy_remove_header_map_value(REQUEST_HEADERS, SEQUENCE, sizeof SEQUENCE - 1);
  if (found->model.size) set_header(MODEL, sizeof MODEL - 1, found->model);
  set_fingerprint(found);
}

static u32 let_go(u32 stream, call *found) {
  release(stream);
  steer(found);
  return CONTINUE;
}

#include "alias.h"

static u32 grpc_body(u32 stream, const u8 *at, u32 size, u32 buffered, int last) {
  call found = {0};
  span coding = HEADER("grpc-encoding");
  if (size && at[0] && coding.at && !IS(coding, "gzip") && !IS(coding, "deflate")) {
    release(stream);
    return REFUSE(415, UNIMPLEMENTED, "messages may be compressed with gzip or deflate, or not at all");
  }
  if (size && at[0] > 1) {
    release(stream);
    return REFUSE(400, INVALID_ARGUMENT, "the call does not start with a gRPC message");
  }
  int state = read_frame(at, size, &found);
  if (state == MORE && !last) return PAUSE;
  if (state != DONE || found.model.size > VALUE_LIMIT || found.sequence.size > VALUE_LIMIT) {
    release(stream);
    return REFUSE(400, INVALID_ARGUMENT, "the first message is not a valid request of the Open Inference Protocol");
  }
  if (!may_be_fingerprinted(&found) && !last) return PAUSE;
  span named = HEADER(MODEL);
  if (find_alias(named.at ? named : found.model)) return rename_call(stream, at, size, buffered, last, &found);
  if (named.at) found.model.size = 0; /* what the client says in the header stands */
  else if (!found.model.size) {
    release(stream);
    return REFUSE(400, INVALID_ARGUMENT, "the request names no model: fill in its model_name (or name) field");
  }
  return let_go(stream, &found);
}

static u32 json_body(u32 stream, const u8 *at, u32 size, int last) {
  call found = {0};
  int whole = last;
  u32 hashed = find(stream)->hashed;
  if (hashed) {
    if (!hash_body(at, size, &found) && !last) return PAUSE;
    if (hashed == ONLY_HASHED) return let_go(stream, &found);
  }
  span coding = HEADER("content-encoding");
  if (coding.at && !IS(coding, "identity")) {
    cursor in = {at, at + size};
    int unpacking = IS(coding, "gzip") || IS(coding, "deflate") ? inflate(in, &size) : BROKEN;
    whole = unpacking == DONE;
    if (unpacking == BROKEN || (last && !whole && size < UNPACKED_LIMIT)) {
      release(stream);
      return REFUSE(415, INVALID_ARGUMENT, "a request to a stateful model may be compressed with gzip or deflate only");
    }
    at = unpacked;
  }
  int state = read_json(at, json_length(size, &whole), &found);
  if (state == MORE && !whole && size < HOLD_LIMIT && !(at == unpacked && size == UNPACKED_LIMIT)) return PAUSE;
  if (state == MORE && !whole) {
    release(stream);
    return REFUSE(400, INVALID_ARGUMENT, "put parameters before the tensors, or send the tensors as binary data");
  }
  if (found.sequence.size > VALUE_LIMIT) {
    release(stream);
    return REFUSE(400, INVALID_ARGUMENT, "the sequence_id is longer than 1024 bytes");
  }
  return let_go(stream, &found);
}

EXPORT(proxy_on_configure) u32 proxy_on_configure(u32 root, u32 size) {
  span words = {0, 0};
  arena_used = 0;
  aliases = fingerprints = 0;
  if (size && proxy_get_buffer_bytes(PLUGIN_CONFIGURATION, 0, size, &words.at, &words.size)) return 0;
  for (u32 i = 0; i < words.size; i++) { /* words that begin with different letters */
    int first = i == 0 || words.at[i - 1] == ' ';
    aliases |= first && words.at[i] == 'a';
    fingerprints |= first && words.at[i] == 'f';
  }
  return root | 1;
}
EXPORT(proxy_on_delete) void proxy_on_delete(u32 stream) { release(stream); }

EXPORT(proxy_on_request_headers) u32 proxy_on_request_headers(u32 stream, u32 count, u32 last) {
  (void)count;
  arena_used = 0;
  int grpc = is_grpc();
  u32 hashed = grpc ? NOT_HASHED : hashing();
  if (!grpc && rename_path() && !alias.stateful) return CONTINUE;
  if (last) {
    if (grpc) return REFUSE(400, INVALID_ARGUMENT, "the call ended before its first message");
    proxy_remove_header_map_value(REQUEST_HEADERS, SEQUENCE, sizeof SEQUENCE - 1);
    return CONTINUE;
  }
  if (taken >= PLACES / 2) return REFUSE(503, RESOURCE_EXHAUSTED, "too many calls wait for their first message");
  place *its = find(stream);
  its->stream = stream;
  its->renamed = 0;
  its->hashed = hashed;
  taken++;
  return PAUSE;
}

EXPORT(proxy_on_request_body) u32 proxy_on_request_body(u32 stream, u32 buffered, u32 last) {
  place *its = find(stream);
  if (its->stream == 0) return CONTINUE;
  arena_used = 0;
  if (its->renamed) return rename_more(its, buffered, last);
  int grpc = is_grpc();
  for (u32 look = FIRST_LOOK;; look = HOLD_LIMIT) {
    u32 checkpoint = arena_used;
    const u8 *at = 0;
    u32 size = 0;
    if (buffered && proxy_get_buffer_bytes(REQUEST_BODY, 0, look, &at, &size)) size = 0;
    int all = last && size >= buffered;
    u32 action = grpc ? grpc_body(stream, at, size, buffered, all) : json_body(stream, at, size, all);
    if (action == CONTINUE || find(stream)->stream == 0) return action;
    if (size >= HOLD_LIMIT) {
      release(stream);
      return REFUSE(400, INVALID_ARGUMENT,
                    "the first 512 KiB of the request hold no model name or parameters: put them before the tensors");
    }
    if (size < look) return PAUSE; /* everything that has arrived was looked at */
    arena_used = checkpoint;
  }
}
