/* Holds a gRPC call to the model that it was let in for: every message of the call must name that model, and only it.
 *
 * For clients that may call some models alone (x-inferno-access is not "*"). Their permission is decided by the route,
 * and the route by the header x-inferno-model; but the node executes what the message says. So each message is walked
 * through as it passes, field by field, and each field with the model's name (number 1) is compared: protobuf takes the
 * last one of several. Tensors are neither copied nor waited for. A node never gets the end of a message that names
 * another model, so it never runs it.
 *
 * REST names the model in the path alone, which is also what the route is chosen by.
 */

#include "../proxy_wasm/abi.h"

IMPORT(proxy_get_property) u32 proxy_get_property(const char *path, u32 path_size, const u8 **at, u32 *size);
IMPORT(proxy_set_property) u32 proxy_set_property(const char *path, u32 path_size, const u8 *value, u32 size);

enum { SLICE = 4096 }; /* bytes of a message that are looked at together */

/* The property that holds a call's model: headers cannot be read any more when its messages come. */
static const char KEPT[] = "inferno.model";

/* ------------------------------------------------------------------------------------------------------ one message */

enum { HEAD, KEY, VARINT, LENGTH, SKIP, NAME };
enum { GOOD, OTHER, PACKED, BROKEN };

typedef struct {
  u32 stream;
  u8 phase, shift, field; /* `shift` counts the bits of a number, or the bytes of a frame's head */
  u32 left;               /* bytes of the message to come */
  u32 part;               /* bytes of the field to come */
  u32 compared;           /* bytes of the header that the name has matched */
  u64 number;
} walk;

static void begin(walk *of, u8 phase) {
  of->phase = of->left || phase == SKIP ? phase : HEAD;
  of->shift = 0;
  of->number = 0;
}

static int number(walk *of, u8 byte, u32 bits) {
  of->number |= (u64)(byte & 0x7f) << of->shift;
  of->shift += 7;
  if (!(byte & 0x80)) return 1;
  return of->shift >= bits || !of->left ? -1 : 0;
}

static int take_key(walk *of, u8 byte) {
  int done = number(of, byte, 35);
  if (done <= 0) return done ? BROKEN : GOOD;
  u32 wire = of->number & 7, field = (u32)(of->number >> 3);
  if (of->number >> 32 || !field) return BROKEN;
  of->field = field == 1;
  of->part = wire == 1 ? 8 : 4;
  if (wire == 0 || wire == 2) {
    if (!of->left) return BROKEN;
    begin(of, wire ? LENGTH : VARINT);
    return GOOD;
  }
  if ((wire != 1 && wire != 5) || of->part > of->left) return BROKEN; /* groups are not of the protocol */
  of->phase = SKIP;
  return GOOD;
}

static int take_length(walk *of, u8 byte) {
  int done = number(of, byte, 35);
  if (done <= 0) return done ? BROKEN : GOOD;
  if (of->number > of->left) return BROKEN;
  of->part = (u32)of->number;
  of->compared = 0;
  if (of->field) of->phase = NAME;
  else if (of->part) of->phase = SKIP;
  else begin(of, KEY);
  return GOOD;
}

/* One byte of the name against the header, where it may stand percent-encoded (call_filter.c, set_header). */
static int compare(walk *of, span model, u8 byte) {
  static const char digits[] = "0123456789ABCDEF";
  int plain = byte > 0x20 && byte < 0x7f && byte != '%';
  u32 size = plain ? 1 : 3;
  if (size > model.size - of->compared) return OTHER;
  const u8 *at = model.at + of->compared;
  of->compared += size;
  if (plain) return *at == byte ? GOOD : OTHER;
  return at[0] == '%' && at[1] == (u8)digits[byte >> 4] && at[2] == (u8)digits[byte & 15] ? GOOD : OTHER;
}

static int take(walk *of, span model, u8 byte) {
  if (of->phase == HEAD) {
    if (of->shift == 0 && byte) return byte == 1 ? PACKED : BROKEN;
    of->number = of->number << 8 | byte;
    if (++of->shift < 5) return GOOD;
    of->left = (u32)of->number;
    begin(of, KEY);
    return GOOD;
  }
  of->left--;
  if (of->phase == KEY) return take_key(of, byte);
  if (of->phase == LENGTH) return take_length(of, byte);
  if (of->phase == VARINT) {
    int done = number(of, byte, 70);
    if (done > 0) begin(of, KEY);
    return done < 0 ? BROKEN : GOOD;
  }
  of->part--;
  return compare(of, model, byte);
}

/* Between two bytes: a name, even an empty one, that has ended must be the model's. */
static int settle(walk *of, span model) {
  if (of->phase != NAME || of->part) return GOOD;
  if (of->compared != model.size) return OTHER;
  begin(of, KEY);
  return GOOD;
}

/* ---------------------------------------------------------------------------------------------------------- streams */

typedef walk place;
#define PLACE_BITS 15
#include "../proxy_wasm/streams.h"

static u32 refuse(u32 stream, u32 status, int grpc_status, const char *text, u32 size) {
  release(stream);
  proxy_send_local_response(status, "inferno_names", 13, text, size, 0, 0, grpc_status);
  return PAUSE;
}
#define REFUSE(stream, status, grpc_status, text) refuse(stream, status, grpc_status, text, sizeof text - 1)

EXPORT(proxy_on_configure) u32 proxy_on_configure(u32 root, u32 size) { return root | size | 1; }
EXPORT(proxy_on_delete) void proxy_on_delete(u32 stream) { release(stream); }

EXPORT(proxy_on_request_headers) u32 proxy_on_request_headers(u32 stream, u32 count, u32 last) {
  (void)count;
  arena_used = 0;
  span access = HEADER("x-inferno-access");
  if (last || (access.size == 1 && access.at[0] == '*')) return CONTINUE;
  span path = HEADER(":path");
  if (!STARTS(path, "/inference.GRPCInferenceService/Model") ||
      STARTS(path, "/inference.GRPCInferenceService/ModelStatistics"))
    return CONTINUE;
  if (taken >= PLACES / 2) return REFUSE(stream, 503, RESOURCE_EXHAUSTED, "too many calls are under way");
  walk *its = find(stream);
  *its = (walk){.stream = stream};
  taken++;
  span model = HEADER("x-inferno-model");
  proxy_set_property(KEPT, sizeof KEPT - 1, model.at, model.size);
  return CONTINUE;
}

EXPORT(proxy_on_request_body) u32 proxy_on_request_body(u32 stream, u32 buffered, u32 last) {
  (void)last;
  walk *its = find(stream);
  if (its->stream == 0) return CONTINUE;
  u32 at = 0;
  while (at < buffered) {
    if (its->phase == SKIP) {
      u32 step = its->part < buffered - at ? its->part : buffered - at;
      at += step;
      its->left -= step;
      its->part -= step;
      if (!its->part) begin(its, KEY);
      continue;
    }
    arena_used = 0;
    span model = {0, 0}, slice = {0, 0};
    if (proxy_get_property(KEPT, sizeof KEPT - 1, &model.at, &model.size)) model.size = 0;
    if (proxy_get_buffer_bytes(REQUEST_BODY, at, SLICE, &slice.at, &slice.size) || !slice.size) break;
    int state = GOOD;
    u32 used = 0;
    while (state == GOOD && used < slice.size && its->phase != SKIP) {
      state = take(its, model, slice.at[used++]);
      if (state == GOOD) state = settle(its, model);
    }
    at += used;
    if (state == OTHER)
      return REFUSE(stream, 403, PERMISSION_DENIED,
                    "a message names another model than the one this call was let in for: name one model in "
                    "x-inferno-model, if you send it, and in every message");
    if (state == PACKED)
      return REFUSE(stream, 415, UNIMPLEMENTED,
                    "a client that may call some models alone cannot send compressed messages: do not compress");
    if (state == BROKEN)
      return REFUSE(stream, 400, INVALID_ARGUMENT, "a message is not a valid request of the Open Inference Protocol");
  }
  if (at < buffered) return REFUSE(stream, 500, 13, "the request could not be read");
  return CONTINUE;
}
